"""Under which caps and behind which breakers one call has to pass, as its permit asks for them. Reserves nothing.

The book of limits is the one that this process read last; the permit compares its edition in its own transaction and
says when it is old (OG002). Accounts are asked in one order, the widest scope first: that is the order of their locks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from psycopg.types.json import Jsonb

from runs.engine import limits
from runs.engine.claimed import Claimed
from runs.engine.estimates import Estimate
from runs.engine.wanted import Wanted
from runs.limits.applying import Applied, Book
from runs.limits.kinds import OF_MODELS, OF_TOOLS, LimitKind, LimitScope, Window
from runs.limits.rows import Row, Where
from runs.models import CallKind

MOST_PLACES = 1000  # kept in mind at once
PROBE_SECONDS = 120  # a probe that has not ended by then was lost with its worker: another may pass
_RUN_WIDE = (LimitScope.ORGANISATION, LimitScope.TEAM, LimitScope.WORKFLOW, LimitScope.RUN)
_PER_TOOL = (LimitKind.REQUESTS, LimitKind.CONCURRENCY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asks:
    """What a permit is asked with. `rows` None: no cap covers the call. `edition` None: nothing guards it."""

    edition: int | None = None
    team: str = ""
    rows: Jsonb | None = None
    breakers: tuple[str, ...] = ()

    @property
    def values(self) -> tuple[Any, ...]:
        """As the SQL functions take them."""
        return (self.edition, self.team, self.rows, list(self.breakers), PROBE_SECONDS)


def asks(claimed: Claimed, wanted: Wanted) -> Asks:
    """What this call has to ask. A recorded run spends nothing, and a look at an effect is never refused."""
    if claimed.workflow.recorded or wanted.kind == CallKind.LOOK:
        return Asks()
    book = limits.known()
    to = where(claimed, wanted)
    rows = asked(covering(book, to, at=datetime.now(UTC)), wanted) if book.rows else []
    return Asks(
        edition=book.edition,
        team=claimed.workflow.team,
        rows=Jsonb(rows) if rows else None,
        breakers=breakers_of(to),
    )


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


def asked(rows: Sequence[Mapping[str, Any]], wanted: Wanted) -> list[dict[str, Any]]:
    """The accounts of a call with what it may use of each."""
    estimate = Estimate(wanted)
    return [{**row, "amount": estimate.of(row["kind"])} for row in rows]


class _Found:
    """What covers the places that were asked for, while the book is the same and no limit begins or ends."""

    def __init__(self, book: Book, at: datetime) -> None:
        self.edition = book.edition
        moments = [moment for row in book.rows for moment in (row.since, row.until) if moment and moment > at]
        self.until = min(moments, default=None)
        self.by_run = any(row.scope_kind is LimitScope.RUN for row in book.rows)
        self.places: dict[Where, list[dict[str, Any]]] = {}

    def holds(self, book: Book, at: datetime) -> bool:
        return self.edition == book.edition and (self.until is None or at < self.until)


_found: _Found | None = None


def covering(book: Book, to: Where, *, at: datetime) -> list[dict[str, Any]]:
    """One row for each account that covers the place, the widest scope first, with its caps."""
    global _found
    known = _found
    if known is None or not known.holds(book, at) or len(known.places) > MOST_PLACES:
        _found = known = _Found(book, at)
    place = to if known.by_run else replace(to, run=None)
    if place not in known.places:
        known.places[place] = _covering(book, to, at)
    return known.places[place]


def _covering(book: Book, to: Where, at: datetime) -> list[dict[str, Any]]:
    counted = OF_TOOLS if to.tool else OF_MODELS
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for what, applied in book.applies(to=to, at=at).items():
        if what in counted:
            _fill(found, applied, to)
    return [{**found[key], "n": n} for n, key in enumerate(sorted(found))]


def _fill(found: dict[tuple[Any, ...], dict[str, Any]], applied: Applied, to: Where) -> None:
    for name, rows in (("cap", applied.holding), ("warn", applied.warning), ("observe", applied.observing)):
        for row in rows:
            if to.tool and row.kind in _PER_TOOL and row.scope_kind is not LimitScope.TOOL:
                continue
            scope_kind, scope = account_scope(row)
            key = (scope_kind.specific, scope, row.kind.value, row.window.value)
            ask = found.setdefault(key, _blank(row, scope_kind, scope))
            if ask[name] is None or row.value < ask[name]:
                ask[name], ask["limit_id" if name == "cap" else f"{name}_id"] = row.value, row.id


def account_scope(row: Row) -> tuple[LimitScope, str]:
    """Whose account a limit is counted on. Within a run, what covers the whole run is one account of it."""
    if row.window is Window.RUN and row.scope_kind in _RUN_WIDE:
        return LimitScope.RUN, ""
    return row.scope_kind, row.scope


def _blank(row: Row, scope_kind: LimitScope, scope: str) -> dict[str, Any]:
    nothing: Iterable[str] = ("cap", "limit_id", "warn", "warn_id", "observe", "observe_id")
    return {
        "kind": row.kind.value,
        "window": row.window.value,
        "scope_kind": scope_kind.value,
        "scope": scope,
        **dict.fromkeys(nothing),
        "share": int(settings.RUNS_BUDGET_WARN_PERCENT),
        "chunk": int(settings.RUNS_BUDGET_CHUNK),
    }
