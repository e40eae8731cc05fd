"""When a limit will be crossed if it goes on like this. Pure.

The burn is that of the last uses: how much they took together, and how far apart they came. A use that does not fit any
more is the one that crosses: of 12 with 12 used it is the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

FARTHEST = timedelta(days=3650)  # beyond that nobody plans


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """Something that was used up, and when, in the smallest unit of its kind. A turn uses up 1 turn."""

    at: datetime
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """The use that will not fit: the how many-th from now, and when it comes; None when one use tells no pace."""

    turns: int
    at: datetime | None


def forecast(
    *, used: int, cap: int, uses: Sequence[Use], now: datetime, since: datetime | None = None
) -> Breach | None:
    """At the burn of these last uses (oldest first), the first one to come that does not fit under `cap`.

    `since`: from when the first of them was under way, if that is known. None when nothing is used up, or not within
    ten years. Already crossed: after no more turns, now.
    """
    if used > cap:
        return Breach(turns=0, at=now)
    total = sum(use.amount for use in uses)
    if total <= 0:
        return None
    turns = (cap - used) * len(uses) // total + 1
    apart = _apart(uses, since)
    if apart is None:
        return Breach(turns=turns, at=None)
    try:
        at = max(now, uses[-1].at + apart) + apart * (turns - 1)
    except OverflowError:
        return None
    return Breach(turns=turns, at=at) if at - now <= FARTHEST else None


def passing(*, used: int, cap: int, now: datetime) -> datetime | None:
    """When something that runs out by the clock (milliseconds) will have; None beyond ten years."""
    left = timedelta(milliseconds=max(0, cap - used))
    return now + left if left <= FARTHEST else None


def _apart(uses: Sequence[Use], since: datetime | None) -> timedelta | None:
    """The mean time from one use to the next."""
    first, number = (since, len(uses)) if since is not None else (uses[0].at, len(uses) - 1)
    return max(timedelta(), uses[-1].at - first) / number if number else None
