"""Times as people read them: one way to write a moment and one to write how long something took. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

_HOUR, _DAY = 3600, 86_400


def told(moment: datetime, now: datetime | None = None) -> str:
    """A moment to the second in UTC, as far as it takes from `now`: 23:16:04, 22 Nov 00:16:05, 3 Jan 2025 10:00:00.

    For what is written when it is read; a text that is kept says the whole date (`in_full`).
    """
    utc = moment.astimezone(UTC)
    today = (now or datetime.now(UTC)).astimezone(UTC)
    if utc.date() == today.date():
        return f"{utc:%H:%M:%S}"
    return f"{utc:%-d %b %H:%M:%S}" if utc.year == today.year else f"{utc:%-d %b %Y %H:%M:%S}"


def in_full(moment: datetime) -> str:
    """A moment with its date and zone, true whenever it is read: 22 Nov 2026 00:16:05 UTC."""
    return f"{moment.astimezone(UTC):%-d %b %Y %H:%M:%S} UTC"


def span(seconds: float) -> str:
    """How long: 0.4 s, 17 s, 6 min 50, 1 h 05, 3 d 4 h. Never negative."""
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f} s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // 60} min {whole % 60:02}"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // 60:02}"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def left(seconds: float) -> str:
    """The same in a list that counts down: above ten minutes without seconds, so that it does not flicker."""
    whole = max(0, int(seconds))
    return (
        f"{whole // 60} min" if 600 <= whole < _HOUR else span(float(whole)) if whole >= 10 else f"{whole} s"
    )
