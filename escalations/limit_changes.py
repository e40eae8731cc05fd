"""What a change of a limit comes to: its plan, what it allows more, its rows. No act: nobody is asked
who he is, and nothing is journalled. The caller holds the edition's row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings

from escalations import proposals
from escalations.changes import Change, changes
from escalations.expected import IllegalMove
from escalations.limit_lines import Line, terms
from escalations.models import LimitProposal, ProposalState
from escalations.roles import Act
from runs.engine import limits as in_force
from runs.limits import written
from runs.limits.increasing import Increase, increases
from runs.limits.replacing import Replaced, replaced
from runs.limits.rows import Row
from runs.models import Limit

NOTHING = "nothing"  # what holds after a change that has an end; otherwise what was planned goes on


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A change as somebody asked for it: `new` None ends the limit."""

    act: Act
    new: Row | None
    then_as_before: bool = True
    written: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A wish over a limit's rows, and what it allows that was not allowed before."""

    found: Line
    rows: Replaced
    more: tuple[Increase, ...]

    @property
    def changes(self) -> list[Change]:
        """Before and after, by field. When the first row began is no news."""
        told = changes(terms(self.found.rows), terms(self.rows.after))
        return [one for one in told if one["field"] != "from"] or told

    @property
    def needs_another(self) -> bool:
        """Whether a second admin must agree, by the settings' amounts."""
        return any(one.above(settings.LIMITS_ALONE) for one in self.more)

    @property
    def details(self) -> dict[str, Any]:
        """For the journal."""
        told: dict[str, Any] = {"limit": self.found.line, "changes": self.changes}
        return told | {"allows_more": [one.says for one in self.more]} if self.more else told

    def changes_nothing(self, at: datetime) -> bool:
        """Whether from now on everything is as it was."""
        return _course(self.found.rows, at) == _course(self.rows.after, at)


def plan_of(found: Line, wish: Wish, at: datetime, known: Iterable[Limit] | None = None) -> Plan:
    """What comes of a wish now. `known`: every open row, if it has been read already; else one query."""
    rows = replaced(found.rows, wish.new, at=at, then_as_before=wish.then_as_before)
    beside = _beside(found, in_force.open_rows(at) if known is None else known)
    more = increases(found.rows, rows.after, at=at, beside=beside)
    return Plan(found=found, rows=rows, more=more)


def _course(rows: tuple[Row, ...], at: datetime) -> list[tuple[Any, ...]]:
    """What holds when, from now on; rows that say the same and follow each other are one."""
    course: list[tuple[Any, ...]] = []
    for row in rows:
        since = max(row.since, at)
        if course and course[-1][2:] == (row.value, row.mode) and course[-1][1] == since:
            since = course.pop()[0]
        course.append((since, row.until, row.value, row.mode))
    return course


def perform(plan: Plan, at: datetime, *, by: str, agreed_by: str, reason: str) -> None:
    """End what ends, then begin what begins: two rows never hold at once. Open proposals are overtaken by it."""
    ends = {row.id: row.until for row in plan.rows.kept}
    for limit in plan.found.limits:
        until = ends[limit.pk] if limit.pk in ends else max(at, limit.valid_from)
        if until != limit.valid_until:
            limit.valid_until, limit.ended_at, limit.ended_by, limit.end_reason = until, at, by, reason
            limit.save(update_fields=["valid_until", "ended_at", "ended_by", "end_reason"])
    for row in plan.rows.made:
        begin(row, plan.found.line, by=by, agreed_by=agreed_by, reason=reason)
    overtaken = proposals.open_of(LimitProposal, line=plan.found.line)
    overtaken.update(state=ProposalState.OVERTAKEN, closed_at=at)


def begin(row: Row, line: int | None, *, by: str, reason: str, agreed_by: str = "") -> Limit:
    """A new row of a line; None begins a line."""
    return Limit.objects.create(
        first_id=line,
        kind=row.kind.value,
        window=row.window.value,
        scope_kind=row.scope_kind.value,
        scope=row.scope,
        value=row.value,
        mode=row.mode.value,
        valid_from=row.since,
        valid_until=row.until,
        set_by=by,
        agreed_by=agreed_by,
        reason=reason,
    )


def wish_of(proposal: LimitProposal, found: Line, at: datetime) -> Wish:
    """What was proposed, from now on. Raises IllegalMove when its time has passed meanwhile."""
    if proposal.after is None:
        return Wish(act=Act.END_LIMIT, new=None)
    try:
        given = proposal.after | {"since": _not_past(proposal.after["since"], at)}
        new = written.changed(found.rows[0], given, at=at)
    except written.Wrong as why:
        raise IllegalMove(f"What was proposed cannot begin any more: {why.errors[0][1]}") from why
    return Wish(act=Act.CHANGE_LIMIT, new=new, then_as_before=proposal.after["then"] != NOTHING)


def _not_past(since: str, at: datetime) -> str:
    """A beginning that has passed while the proposal waited is at once."""
    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        return ""
    moment = moment.replace(tzinfo=at.tzinfo) if moment.tzinfo is None else moment
    return since if moment > at else ""


def _beside(found: Line, known: Iterable[Limit]) -> tuple[Row, ...]:
    """Every other limit of the same kind and window that holds or will hold."""
    if not found.rows:
        return ()
    same = (found.rows[0].kind, found.rows[0].window)
    others = (limit.row for limit in known if limit.line != found.line)
    return tuple(row for row in others if (row.kind, row.window) == same)
