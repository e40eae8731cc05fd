"""Limits that count over many runs: sums within hours, days and months; rates and calls at once, as waits. Pure.

Fed with every call in the order of their beginnings, those of runs that are not looked at too. Everything counts as it
happened: a call that would not have been made keeps its place in the sum, for a person could have let its run go on.
So the figures are the most that could have happened, and a stricter value never does less. Calls that wait come as they
came then; what their waiting would have moved is not counted.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from runs.limits.kinds import LimitKind, Mode, Window
from runs.limits.rows import Where
from runs.rehearsal.crossings import Crossing, asks, milliseconds
from runs.rehearsal.drafts import Draft, Held
from runs.rehearsal.history import PastCall, PastRun

MINUTE = timedelta(seconds=60)
OVER_RUNS = (Window.MINUTE, Window.HOUR, Window.DAY, Window.MONTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A call as it comes in the stream: whose, and where."""

    key: str
    where: Where
    call: PastCall


@dataclass(slots=True, kw_only=True)
class Waited:
    """How many of a run's calls would have waited, and how long, in milliseconds."""

    calls: int = 0
    total: int = 0
    longest: int = 0

    def add(self, span: int) -> None:
        self.calls += 1
        self.total += span
        self.longest = max(self.longest, span)


@dataclass(slots=True, kw_only=True)
class Side:
    """What happens to one run on one side of the comparison: the first crossing a mode, and its waits."""

    first: dict[Mode, Crossing] = field(default_factory=dict)
    waited: Waited = field(default_factory=Waited)

    def add(self, one: Crossing) -> None:
        known = self.first.get(one.row.mode)
        if known is None or one.order < known.order:
            self.first[one.row.mode] = one


@dataclass(slots=True, kw_only=True)
class Both:
    before: Side = field(default_factory=Side)
    after: Side = field(default_factory=Side)

    def sides(self, held: Held) -> tuple[Side, ...]:
        return (*((self.before,) if held.before else ()), *((self.after,) if held.after else ()))


def begins(window: Window, at: datetime) -> datetime:
    """The beginning of the hour, day or month of the calendar in UTC that a moment is in."""
    hour = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if window is Window.HOUR:
        return hour
    return hour.replace(hour=0) if window is Window.DAY else hour.replace(hour=0, day=1)


def over_runs(draft: Draft) -> bool:
    """Whether it counts over many runs, so that a stream of all calls is needed."""
    return draft.window in OVER_RUNS or draft.kind is LimitKind.CONCURRENCY


def reaches_back(draft: Draft, since: datetime) -> datetime:
    """From when on calls have to be fed, so that every sum at `since` is whole."""
    if draft.window in (Window.HOUR, Window.DAY, Window.MONTH):
        return begins(draft.window, since)
    return since - (MINUTE if draft.window is Window.MINUTE else timedelta(days=1))


class _Counter(Protocol):
    def take(self, call: PastCall, at: datetime, asked: int) -> tuple[bool, int]:
        """Whether a call of that amount would have crossed, and the figure: of a sum what it came to, of a wait its
        milliseconds."""


@dataclass(slots=True)
class _Sum:
    value: int
    window: Window
    used: int = 0
    since: datetime | None = None

    def take(self, call: PastCall, at: datetime, asked: int) -> tuple[bool, int]:
        since = begins(self.window, at)
        if since != self.since:
            self.since, self.used = since, 0
        self.used += asked
        return self.used > self.value, self.used


@dataclass(slots=True)
class _Rate:
    """First come, first served; no more than `value` in any 60 seconds. What alone is more goes nowhere."""

    value: int
    within: int = 0
    let: deque[tuple[datetime, int]] = field(default_factory=deque)

    def take(self, call: PastCall, at: datetime, asked: int) -> tuple[bool, int]:
        if asked > self.value:
            return True, -1
        goes = max(at, self.let[-1][0]) if self.let else at
        self._forget(goes)
        while self.within + asked > self.value:
            goes = max(goes, self.let[0][0] + MINUTE)
            self._forget(goes)
        self.let.append((goes, asked))
        self.within += asked
        return goes > at, milliseconds(goes - at)

    def _forget(self, moment: datetime) -> None:
        while self.let and self.let[0][0] + MINUTE <= moment:
            self.within -= self.let.popleft()[1]


@dataclass(slots=True)
class _AtOnce:
    """First come, first served; no more than `value` under way at any moment."""

    value: int
    ends: list[datetime] = field(default_factory=list)

    def take(self, call: PastCall, at: datetime, asked: int) -> tuple[bool, int]:
        while self.ends and self.ends[0] <= at:
            heapq.heappop(self.ends)
        goes = at
        while len(self.ends) >= self.value:
            goes = max(goes, heapq.heappop(self.ends))
        heapq.heappush(self.ends, goes + ((call.ended or at) - at))
        return goes > at, milliseconds(goes - at)


class Streams:
    """The limits of a draft that count over many runs, fed call by call. `found` by run keeps those that would be
    stopped, warned of, noted or wait; their crossings have a moment, `placed` gives them step and place."""

    def __init__(self, draft: Draft, wanted: Iterable[str] | None = None) -> None:
        self.found: dict[str, Both] = {}
        self._waits = draft.window is Window.MINUTE or draft.kind is LimitKind.CONCURRENCY
        self._counters = [(held, _counter(held)) for held in draft.held] if over_runs(draft) else []
        self._wanted = None if wanted is None else frozenset(wanted)

    def feed(self, made: Made) -> None:
        """The next call, in order of beginnings. Raises nothing; a call without a moment or amount counts nothing."""
        at = made.call.begun
        if at is None:
            return
        longest: dict[int, tuple[Side, int]] = {}
        for held, counter in self._counters:
            asked = asks(held.row, made.call)
            if asked is None or not held.row.covers(made.where) or not held.row.holds(at):
                continue
            crosses, figure = counter.take(made.call, at, asked)
            if not crosses or (self._wanted is not None and made.key not in self._wanted):
                continue
            both = self.found.setdefault(made.key, Both())
            for side in both.sides(held):
                if self._waits and figure >= 0 and held.row.mode is Mode.ENFORCE:
                    known = longest.get(id(side), (side, 0))
                    longest[id(side)] = (side, max(known[1], figure))
                else:
                    value = asked if figure < 0 else figure
                    side.add(Crossing(row=held.row, position=0, step=0, at=at, value=value))
        for side, span in longest.values():
            side.waited.add(span)


def placed(both: Both, run: PastRun) -> Both:
    """The same with the place and step of each crossing in its run."""
    for side in (both.before, both.after):
        for mode, one in side.first.items():
            position = run.position_at(one.at)
            step = run.calls[position].step if position < len(run.calls) else 0
            side.first[mode] = replace(one, position=position, step=step)
    return both


def _counter(held: Held) -> _Counter:
    row = held.row
    if row.kind is LimitKind.CONCURRENCY:
        return _AtOnce(row.value)
    if row.window is Window.MINUTE:
        return _Rate(row.value)
    return _Sum(row.value, row.window)
