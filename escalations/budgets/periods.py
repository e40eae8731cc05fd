"""The periods that sums are counted in, in UTC: when they begin and end, and how finely they are drawn. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from runs.limits.kinds import Window

SUMS = (Window.HOUR, Window.DAY, Window.MONTH)
PERIODS = {one.value: one for one in SUMS}
SPAN = {Window.HOUR: 5, Window.DAY: 60, Window.MONTH: 1440}  # minutes, of the plot
_LENGTH = {Window.HOUR: timedelta(hours=1), Window.DAY: timedelta(days=1)}


def begins_of(window: Window, at: datetime) -> datetime:
    """When the period that `at` lies in began."""
    at = at.astimezone(UTC)
    hour = at.replace(minute=0, second=0, microsecond=0)
    if window is Window.HOUR:
        return hour
    day = hour.replace(hour=0)
    return day if window is Window.DAY else day.replace(day=1)


def ends_of(window: Window, begins: datetime) -> datetime:
    """When that period is over."""
    if window is Window.MONTH:
        return (begins.replace(day=1) + timedelta(days=32)).replace(day=1)
    return begins + _LENGTH[window]
