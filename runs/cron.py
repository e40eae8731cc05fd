"""When a cron expression is due, in a time zone, over the changes of summer time. Pure; knows no present.

The fields are read by Celery's own parser; its `crontab` only answers "is it due, seen from now", so the moments are
found here. A year has two days that are not like the others:

- Hours that are stated (`30 2 * * *`): a time that is left out in spring comes when as much of the day has passed
  (02:30 is then 03:30 on the clock); a time that comes twice in autumn counts once, the first time.
- Every hour (`*/15 * * * *`): what comes is what the clock shows, so nothing is left out and nothing stands still.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from celery.schedules import ParseException, crontab_parser

_END = datetime.max.replace(tzinfo=UTC)
FARTHEST_DAYS = 8 * 366 + 2  # from one 29 February to the next over a year like 2100
_ITEM = r"(\*|{name}(-{name})?)(/[0-9]{{1,2}})?"
_NUMBER, _WORD = r"[0-9]{1,2}", r"([0-9]{1,2}|[a-zA-Z]{3})"
_FIELDS = (  # name, how many values, the least, what a value looks like
    ("minute", 60, 0, _NUMBER),
    ("hour", 24, 0, _NUMBER),
    ("day of the month", 31, 1, _NUMBER),
    ("month", 12, 1, _WORD),
    ("day of the week", 7, 0, _WORD),
)


class BadCron(ValueError):
    """The expression or the time zone cannot be understood; the text says which part and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """An expression, read. Moments are aware and in UTC."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 0 is Sunday
    either: bool  # days of the month and of the week are both given: one of them is enough
    zone: ZoneInfo

    def next(self, after: datetime) -> datetime | None:
        """The first moment after that one; None when there is none within eight years."""
        day = _local_day(after, self.zone) - timedelta(days=1)
        for _ in range(FARTHEST_DAYS):
            if found := self._beside(day, after=after, upto=_END):
                return found[0]
            day += timedelta(days=1)
        return None

    def latest(self, *, after: datetime, upto: datetime) -> datetime | None:
        """The newest moment that is later than `after` and not later than `upto`."""
        day, last = _local_day(upto, self.zone), _local_day(after, self.zone)
        while day >= last - timedelta(days=1):
            if found := self._beside(day, after=after, upto=upto):
                return found[-1]
            day -= timedelta(days=1)
        return None

    def between(self, after: datetime, before: datetime, *, most: int) -> int:
        """How many moments lie strictly between two; counts no further than `most`."""
        found: set[datetime] = set()
        day, last = _local_day(after, self.zone), _local_day(before, self.zone)
        while day <= last and len(found) < most:
            found.update(one for one in self._beside(day, after=after, upto=before) if one < before)
            day += timedelta(days=1)
        return min(len(found), most)

    def _beside(self, day: date, *, after: datetime, upto: datetime) -> list[datetime]:
        """The moments of this day and the next, in order; where clocks change at midnight the two overlap."""
        both = {*_on(self, day), *_on(self, day + timedelta(days=1))}
        return sorted(one for one in both if after < one <= upto)

    def has(self, day: date) -> bool:
        """Whether it is due at some time of that day."""
        if day.month not in self.months:
            return False
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return in_month or in_week if self.either else in_month and in_week


@lru_cache(maxsize=128)
def _on(cron: Cron, day: date) -> tuple[datetime, ...]:
    """Its moments on one day of the clock."""
    if not cron.has(day):
        return ()
    every_hour = len(cron.hours) == 24
    times = (datetime.combine(day, time(hour, minute)) for hour in cron.hours for minute in cron.minutes)
    return tuple(moment for clock in times for moment in _moments(clock, cron.zone, twice=every_hour))


@lru_cache(maxsize=512)
def parse(text: str, timezone: str = "UTC") -> Cron:
    """Read an expression of five fields. Raises BadCron."""
    fields = text.split()
    if len(fields) != 5:
        raise BadCron(f"{text!r} has {len(fields)} fields, not five: minute hour day month weekday")
    minutes, hours, days, months, weekdays = (
        _values(field, *spec) for field, spec in zip(fields, _FIELDS, strict=True)
    )
    return Cron(
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=frozenset(days),
        months=frozenset(months),
        weekdays=frozenset(weekdays),
        either=not fields[2].startswith("*") and not fields[4].startswith("*"),
        zone=_zone(timezone),
    )


def _values(field: str, name: str, count: int, least: int, value: str) -> set[int]:
    item = _ITEM.format(name=value)
    if not re.fullmatch(rf"{item}(,{item})*", field):
        raise BadCron(f"{field!r} is no {name} of a cron expression")
    try:
        return set(crontab_parser(count, least).parse(field))
    except (ParseException, ValueError) as why:
        raise BadCron(f"{field!r} is no {name} of a cron expression: {why}") from why


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError) as why:  # ZoneInfoNotFoundError is a KeyError
        raise BadCron(f"there is no time zone {name!r}") from why


def _local_day(moment: datetime, zone: ZoneInfo) -> date:
    return moment.astimezone(zone).date()


def _moments(clock: datetime, zone: ZoneInfo, *, twice: bool) -> Iterator[datetime]:
    """When a clock in that zone shows this time: once, or (in autumn, if wanted) twice, or (in spring) not at all."""
    first = clock.replace(tzinfo=zone).astimezone(UTC)
    exists = first.astimezone(zone).replace(tzinfo=None) == clock
    if exists or not twice:
        yield first
    second = clock.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if twice and exists and second != first:
        yield second
