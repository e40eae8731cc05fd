"""Under which caps and behind which breakers one call has to pass, as its permit asks for them. Reserves nothing.

The book of limits is the one that this process read last; the permit compares its edition in its own transaction and
says when it is old (OG002). Accounts are asked in one order, the widest scope first: that is the order of their locks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from itertools import count
from typing import Any

from django.conf import settings
from psycopg.types.json import Jsonb

from runs.engine import limits
from runs.engine.claimed import Claimed
from runs.engine.spend import estimates, lent
from runs.engine.spend.estimates import Estimate
from runs.engine.spend.lent import Drawn
from runs.engine.spend.wanted import Wanted
from runs.limits.applying import Applied, Book
from runs.limits.kinds import OF_MODELS, OF_TOOLS, LimitKind, LimitScope, Mode, Window
from runs.limits.rows import Row, Where
from runs.models import CallKind

MOST_PLACES = 1000  # kept in mind at once
PROBE_SECONDS = 120  # a probe that has not ended by then was lost with its worker: another may pass
_RUN_WIDE = (LimitScope.ORGANISATION, LimitScope.TEAM, LimitScope.WORKFLOW, LimitScope.RUN)
_PER_TOOL = (LimitKind.REQUESTS, LimitKind.CONCURRENCY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The accounts that cover a place, the widest scope first, each with its caps, as parallel lists for the database.

    `notes`: by position, the limits that only warn or observe.
    """

    kinds: list[str]
    windows: list[str]
    scope_kinds: list[str]
    scopes: list[str]
    caps: list[int | None]
    limits: list[int | None]
    notes: Mapping[str, Any]
    keys: list[str]  # as purses name the accounts
    measured: frozenset[str]  # the kinds of them of which a call may use more than one
    epoch: int  # of the book and the moment by which it was found


@dataclass(frozen=True, slots=True, kw_only=True)
class Asks:
    """What a permit is asked with. `place` None: no cap covers it. `edition` None: nothing guards it. `drawn`: the
    run's purse has all of it, as far as this process knows.
    """

    edition: int | None = None
    team: str = ""
    place: Place | None = None
    amounts: list[int] | None = None
    breakers: tuple[str, ...] = ()
    drawn: Drawn | None = None

    @property
    def values(self) -> tuple[Any, ...]:
        """As the SQL functions take them, from the accounts on."""
        share, chunk = int(settings.RUNS_BUDGET_WARN_PERCENT), int(settings.RUNS_BUDGET_CHUNK)
        behind = (share, chunk, _names(self.breakers), PROBE_SECONDS)
        if self.drawn is not None:
            return (None,) * 8 + (*behind, self.drawn.edition, _numbers(self.drawn.amounts))
        if self.place is None:
            return (None,) * 8 + (*behind, None, None)
        one = self.place
        notes = Jsonb(one.notes) if one.notes else None
        accounts = (one.kinds, one.windows, one.scope_kinds, one.scopes, self.amounts, one.caps, one.limits)
        return (*accounts, notes, *behind, None, None)


@lru_cache(maxsize=1024)
def _names(names: tuple[str, ...]) -> str:
    """A list of texts as PostgreSQL reads it; psycopg looks at each list anew, at every call."""
    escaped = (name.replace("\\", "\\\\").replace('"', '\\"') for name in names)
    return "{" + ",".join(f'"{name}"' for name in escaped) + "}"


def _numbers(numbers: Sequence[int | None]) -> str:
    return "{" + ",".join("NULL" if one is None else str(one) for one in numbers) + "}"


# How the lists and the rest stand in a statement: an empty list, or one of nulls, has no type of its own.
_LISTS = [*(["%s::text[]"] * 4), *(["%s::bigint[]"] * 3), "%s::jsonb"]
PLACES = ", ".join([*_LISTS, "%s", "%s", "%s::text[]", "%s", "%s::bigint", "%s::bigint[]"])


def asks(claimed: Claimed, wanted: Wanted, *, first: bool) -> Asks:
    """What this call has to ask; `first`: it was never sent before. A recorded run spends nothing, and a look at an
    effect is never refused."""
    if claimed.workflow.recorded or wanted.kind == CallKind.LOOK:
        return Asks()
    book = limits.known()
    place, breakers = _way(book, claimed, wanted)
    needs = amounts(place, wanted) if place else None
    return Asks(
        edition=book.edition,
        team=claimed.workflow.team,
        place=place,
        amounts=needs,
        breakers=breakers,
        drawn=lent.draw(claimed.run.pk, claimed.fence, place.keys, needs, epoch=place.epoch, first=first)
        if place and needs is not None
        else None,
    )


def _way(book: Book, claimed: Claimed, wanted: Wanted) -> tuple[Place | None, tuple[str, ...]]:
    """The accounts and the breakers of a call, found once for all calls of its kind."""
    known = _now(book, datetime.now(UTC))
    run = claimed.run.pk if known.by_run else 0
    key = (
        wanted.kind,
        wanted.name,
        wanted.model,
        claimed.attempt.agent,
        claimed.workflow.team,
        claimed.run.workflow,
        run,
    )
    way = known.ways.get(key)
    if way is None:
        to = where(claimed, wanted)
        known.ways[key] = way = (known.place(book, to), breakers_of(to))
    return way


def where(claimed: Claimed, wanted: Wanted) -> Where:
    """The place of a call. A tool's agent is the one that makes the attempt."""
    of_model = wanted.kind == CallKind.MODEL
    return Where(
        team=claimed.workflow.team,
        workflow=claimed.run.workflow,
        agent=wanted.name if of_model else claimed.attempt.agent,
        tool="" if of_model else wanted.name,
        model=wanted.model,
        run=claimed.run.pk,
    )


def breakers_of(to: Where) -> tuple[str, ...]:
    """The breakers that such a call has to pass, as the database names them: those of its model and agent, or tool."""
    if to.tool:
        return (f"tool:{to.tool}",)
    of_model = (f"model:{to.model}",) if to.model else ()
    return (*of_model, f"agent:{to.agent}") if to.agent else of_model


def amounts(place: Place, wanted: Wanted) -> list[int]:
    """What the call may use of each account."""
    estimate = Estimate(wanted)
    known = {kind: estimate.of(kind) for kind in place.measured}
    return [known.get(kind, 1) for kind in place.kinds]


class _Found:
    """What covers the places that were asked for, while the book is the same and no limit begins or ends."""

    def __init__(self, book: Book, at: datetime, epoch: int) -> None:
        self.edition = book.edition
        self.epoch = epoch
        moments = [moment for row in book.rows for moment in (row.since, row.until) if moment and moment > at]
        self.until = min(moments, default=None)
        self.by_run = any(row.scope_kind is LimitScope.RUN for row in book.rows)
        self.at = at
        self.ways: dict[tuple[object, ...], tuple[Place | None, tuple[str, ...]]] = {}
        self._places: dict[Where, Place | None] = {}

    def holds(self, book: Book, at: datetime) -> bool:
        return self.edition == book.edition and (self.until is None or at < self.until)

    def place(self, book: Book, to: Where) -> Place | None:
        """Every account that covers the place; None when none does."""
        near = to if self.by_run else replace(to, run=None)
        if near not in self._places:
            self._places[near] = _covering(book, to, self.at, self.epoch)
        return self._places[near]


_found: _Found | None = None
_epochs = count(1)


def _now(book: Book, at: datetime) -> _Found:
    global _found
    known = _found
    if known is None or not known.holds(book, at) or len(known.ways) > MOST_PLACES:
        _found = known = _Found(book, at, next(_epochs))
    return known


def _covering(book: Book, to: Where, at: datetime, epoch: int) -> Place | None:
    counted = OF_TOOLS if to.tool else OF_MODELS
    found: dict[tuple[Any, ...], _Caps] = {}
    for what, applied in book.applies(to=to, at=at).items():
        if what in counted:
            _fill(found, applied, to)
    rows = [found[key] for key in sorted(found)]
    if not rows:
        return None
    notes = {str(n): dict(row.noted) for n, row in enumerate(rows) if row.noted}
    return Place(
        kinds=[row.kind for row in rows],
        windows=[row.window for row in rows],
        scope_kinds=[row.scope_kind for row in rows],
        scopes=[row.scope for row in rows],
        caps=[row.cap for row in rows],
        limits=[row.limit for row in rows],
        notes=notes,
        keys=["|".join((row.kind, row.window, row.scope_kind, row.scope)) for row in rows],
        measured=frozenset(row.kind for row in rows) & estimates.MEASURED,
        epoch=epoch,
    )


@dataclass(slots=True, kw_only=True)
class _Caps:
    """One account's caps: the strictest of each mode."""

    kind: str
    window: str
    scope_kind: str
    scope: str
    cap: int | None = None
    limit: int | None = None
    noted: dict[str, int] = field(default_factory=dict)  # warn, observe, and the numbers of their limits


def _fill(found: dict[tuple[Any, ...], _Caps], applied: Applied, to: Where) -> None:
    for row in (*applied.holding, *applied.warning, *applied.observing):
        if to.tool and row.kind in _PER_TOOL and row.scope_kind is not LimitScope.TOOL:
            continue
        scope_kind, scope = account_scope(row)
        key = (scope_kind.specific, scope, row.kind.value, row.window.value)
        blank = _Caps(kind=row.kind.value, window=row.window.value, scope_kind=scope_kind.value, scope=scope)
        _strictest(found.setdefault(key, blank), row)


def _strictest(caps: _Caps, row: Row) -> None:
    """Of one mode the rows come with the strictest first."""
    if row.mode is Mode.ENFORCE:
        if caps.cap is None:
            caps.cap, caps.limit = row.value, row.id
    elif row.mode.value not in caps.noted:
        caps.noted |= {row.mode.value: row.value, f"{row.mode.value}_id": row.id}


def account_scope(row: Row) -> tuple[LimitScope, str]:
    """Whose account a limit is counted on. Within a run, what covers the whole run is one account of it."""
    if row.window is Window.RUN and row.scope_kind in _RUN_WIDE:
        return LimitScope.RUN, ""
    return row.scope_kind, row.scope
