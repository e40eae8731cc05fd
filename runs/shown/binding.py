"""What binds a run now: of every kind of limit the one it is nearest to, how much of it is used, and when it will be
crossed. Pure.

What a limit binds, it binds for the part of the run that its scope covers: a model's tokens are those of its own calls.
Where the guards keep an account of it, that says what is used, what is reserved and what people allowed beyond it. Sums
of an hour, a day or a month count when they are near; rates and figures of one moment are named alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil

from django.conf import settings

from runs.limits.applying import Book
from runs.limits.forecast import Breach, Use, forecast, passing
from runs.limits.kinds import PLACE, TABLE, LimitKind, LimitScope, Mode, Window
from runs.limits.rows import Row, Where
from runs.limits.units import Unit, about, shown
from runs.models import CallKind
from runs.shown.used import Account, Spent, Sum, Used

_RUN_WIDE = (LimitScope.ORGANISATION, LimitScope.TEAM, LimitScope.WORKFLOW, LimitScope.RUN)
_OF_MODELS = (LimitKind.TURNS, LimitKind.MODEL_CALLS, LimitKind.TOKENS, LimitKind.COST)


def near() -> int:
    """From which share of a cap on, in percent, people are warned: the setting by which permits tell of it."""
    return int(settings.RUNS_BUDGET_WARN_PERCENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A run as limits see it. `clock` is its wall time in milliseconds without the time it was held; `ticks`: it runs
    on; `going`: so does what is used up; `ends`: its deadline."""

    where: Where
    used: Used
    clock: int
    ticks: bool
    going: bool
    now: datetime
    ends: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """One limit and how far the run is. `used` is with what is `reserved`; `more`: what people allowed beyond it;
    `breach` is told while the run goes on, if it comes before the run's end."""

    row: Row
    used: int
    reserved: int = 0
    more: int = 0
    breach: Breach | None = None

    @property
    def cap(self) -> int:
        return self.row.value + self.more

    @property
    def share(self) -> float:
        """1 is all of it. Of a cap of nothing everything is too much."""
        return self.used / self.cap if self.cap else float(self.used > 0)

    @property
    def state(self) -> str:
        """reached, near or calm."""
        return "reached" if self.used >= self.cap else "near" if self.share * 100 >= near() else "calm"

    @property
    def amount(self) -> str:
        return amount(TABLE[self.row.kind].unit, self.used)

    @property
    def limit(self) -> str:
        return shown(TABLE[self.row.kind].unit, self.cap)

    @property
    def held(self) -> str:
        """What of it is reserved, as people read it."""
        return amount(TABLE[self.row.kind].unit, self.reserved) if self.reserved else ""

    @property
    def beyond(self) -> str:
        return shown(TABLE[self.row.kind].unit, self.more) if self.more else ""

    @property
    def what(self) -> str:
        return TABLE[self.row.kind].words if self.row.window is Window.RUN else self.row.what

    @property
    def most(self) -> int:
        """The end of its meter."""
        return max(self.cap, self.used, 1)

    @property
    def warns(self) -> int:
        """From where on its meter warns."""
        return max(0, ceil(near() * self.cap / 100) - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """`bounds` in the table's order, `beside` what else covers the run; without an account `used` says nothing."""

    bounds: tuple[Bound, ...] = ()
    beside: tuple[tuple[Row, Bound | None], ...] = ()

    @property
    def near(self) -> int:
        """How many of them the run is near to or has reached."""
        return sum(one.state != "calm" for one in self.bounds)


def binding(book: Book, fixed: Iterable[Row], place: Place) -> Binding:
    """Of each kind that counts over a run: the enforced limit it is nearest to, and beside it what warns or observes
    when that comes first. `fixed` are the definition's own bounds."""
    covering = [row for row in (*_covering(book, place), *fixed) if row.holds(place.now)]
    of_run = [row for row in covering if row.window is Window.RUN and row.kind is not LimitKind.STEPS_AT_ONCE]
    bounds = [_bound(row, place) for row in of_run]
    kinds = sorted({row.kind for row in of_run}, key=lambda kind: PLACE[kind, Window.RUN])
    nearest = [one for kind in kinds for one in _nearest([b for b in bounds if b.row.kind is kind])]
    others = [row for row in covering if row.window is not Window.RUN and not row.origin]
    others.sort(key=lambda row: (PLACE[row.kind, row.window], row.strictness))
    summed = {row.id: _bound(row, place) for row in others if _account(row, place.used)}
    near = [one for one in summed.values() if one.state != "calm" and one.row.mode is Mode.ENFORCE]
    return Binding(
        bounds=(*near, *nearest),
        beside=tuple((row, summed.get(row.id)) for row in others if summed.get(row.id) not in near),
    )


def latency_caps(book: Book, where: Where, agents: Iterable[str], now: datetime) -> tuple[Row, ...]:
    """Every limit of step latency that covers that place with one of these agents, or with none; strictest first."""
    places = [where, *(_with_agent(where, agent) for agent in agents)]
    what = (LimitKind.STEP_LATENCY, Window.NONE)
    found = {
        row.id: row for place in places for row in book.covering(place) if (row.kind, row.window) == what
    }
    return tuple(sorted((row for row in found.values() if row.holds(now)), key=lambda row: row.strictness))


def _with_agent(where: Where, agent: str) -> Where:
    return Where(team=where.team, workflow=where.workflow, run=where.run, agent=agent)


def amount(unit: Unit, value: int) -> str:
    """A value as people read it while it grows: times in two units, money to the digits that matter."""
    return about(unit, value)


def _covering(book: Book, place: Place) -> list[Row]:
    """What covers any part of the run, each once."""
    where = place.where
    known = place.used.places(where.team, where.workflow, where.run or 0)
    found = {row.id: row for to in (where, *(to for to, _ in known)) for row in book.covering(to)}
    return list(found.values())


def _bound(row: Row, place: Place) -> Bound:
    account = _account(row, place.used)
    if account is None:
        used = _used(row, place)
        return Bound(row=row, used=used, breach=_breach(row, used, row.value, place))
    used, more = account.spent + account.reserved, account.more
    return Bound(
        row=row,
        used=used,
        reserved=account.reserved,
        more=more,
        breach=_breach(row, account.spent, row.value + more, place),
    )


def _account(row: Row, used: Used) -> Account | None:
    """Where a limit is counted, if guards count it. Within a run, what covers the whole run is one account of it."""
    if row.window is Window.RUN and row.scope_kind in _RUN_WIDE:
        return used.accounts.get((row.kind.value, row.window.value, LimitScope.RUN.value, ""))
    return used.accounts.get((row.kind.value, row.window.value, row.scope_kind.value, row.scope))


def _used(row: Row, place: Place) -> int:
    match row.kind:
        case LimitKind.RETRIES:
            return place.used.retries
        case LimitKind.WALL_TIME:
            return place.clock
        case LimitKind.COST | LimitKind.TOKENS if row.covers(place.where):
            return place.used.cost_micros if row.kind is LimitKind.COST else place.used.tokens
    where = place.where
    known = place.used.places(where.team, where.workflow, where.run or 0)
    return sum(_amount(row.kind, one) for to, one in known if row.covers(to))


def _amount(kind: LimitKind, one: Sum) -> int:
    if kind is LimitKind.TOOL_CALLS:
        return one.sent if one.kind == CallKind.TOOL else 0
    if one.kind != CallKind.MODEL:
        return 0
    match kind:
        case LimitKind.TURNS:
            return one.first
        case LimitKind.MODEL_CALLS:
            return one.sent
        case LimitKind.TOKENS:
            return one.tokens
        case LimitKind.COST:
            return one.cost_micros
    return 0


def _breach(row: Row, used: int, cap: int, place: Place) -> Breach | None:
    """At the burn of the run's last calls, if it comes before the run must end anyway. Of what many runs use up
    together one run's burn tells nothing."""
    if row.window is not Window.RUN:
        return None
    if row.kind is LimitKind.WALL_TIME:
        at = passing(used=used, cap=cap, now=place.now) if place.ticks else None
        return None if at is None or _too_late(at, place) else Breach(turns=0, at=at)
    if not place.going or row.kind is LimitKind.RETRIES:
        return None
    kind = CallKind.MODEL if row.kind in _OF_MODELS else CallKind.TOOL
    last = [one for one in place.used.last if one.kind == kind and row.covers(_where(place.where, one))]
    uses = [_use(row.kind, one) for one in last]
    told = forecast(used=used, cap=cap, uses=uses, now=place.now)
    return None if told is None or (told.at and _too_late(told.at, place)) else told


def _too_late(at: datetime, place: Place) -> bool:
    return place.ends is not None and at >= place.ends


def _where(run: Where, one: Spent) -> Where:
    agent, tool = (one.name, "") if one.kind == CallKind.MODEL else ("", one.name)
    return Where(team=run.team, workflow=run.workflow, run=run.run, agent=agent, model=one.model, tool=tool)


def _use(kind: LimitKind, one: Spent) -> Use:
    match kind:
        case LimitKind.TOKENS:
            return Use(at=one.at, amount=one.tokens)
        case LimitKind.COST:
            return Use(at=one.at, amount=one.cost_micros)
    return Use(at=one.at, amount=1)


def _nearest(bounds: Sequence[Bound]) -> list[Bound]:
    """What is enforced and nearest; then what warns, and what observes, where that is nearer still."""
    found: list[Bound] = []
    for mode in (Mode.ENFORCE, Mode.WARN, Mode.OBSERVE):
        of_mode = [one for one in bounds if one.row.mode is mode]
        first = min(of_mode, key=lambda one: (-one.share, one.row.strictness), default=None)
        if first and all(first.row.value < one.row.value for one in found):
            found.append(first)
    return found
