"""What the limits page shows: every limit by scope, one limit with its history, what applies at a place. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from escalations.limit_changes import Plan
from escalations.limit_lines import rows_of
from escalations.models import LimitProposal
from escalations.proposals import waiting
from runs import registry
from runs.engine import limits as in_force
from runs.limits import fixed
from runs.limits.applying import Applied, applies
from runs.limits.kinds import ASKED, KEYS, PLACE, TABLE, LimitScope, Mode, key, says
from runs.limits.names import names_of
from runs.limits.rows import Row, Where
from runs.limits.units import EXAMPLES, shown
from runs.models import Limit

MOST = 400  # rows of the table; beyond, it must be narrowed
MOST_HISTORY = 100
PEOPLE, DEFINITIONS, OVER = "people", "definitions", "over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the table is narrowed to; empty is everything."""

    scope_kind: str = ""
    what: str = ""
    by: str = ""
    text: str = ""

    def takes(self, row: Row) -> bool:
        words = f"{row.scope} {row.what} {row.within} {row.scope_kind.value}".lower()
        return (
            self.scope_kind in ("", row.scope_kind.value)
            and self.what in ("", key(row.kind, row.window))
            and (self.by not in (PEOPLE, DEFINITIONS, OVER) or (self.by == DEFINITIONS) == bool(row.origin))
            and all(word in words for word in self.text.lower().split())
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A row of the table: what holds now, or first. `limit` is None for what stands in a definition or setting."""

    row: Row
    planned: tuple[Row, ...] = ()
    limit: Limit | None = None
    proposed: bool = False

    @property
    def ahead(self) -> bool:
        """Whether it has not begun yet: its beginning is worth saying."""
        return self.limit is not None and self.row.since > self.limit.set_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The limits of one scope."""

    scope_kind: LimitScope
    scope: str
    rows: tuple[Listed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The groups from wide to narrow; how many rows are shown, match, are there, and are people's."""

    groups: tuple[Group, ...]
    people: int
    shown: int
    matching: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the forms offer."""

    whats: tuple[tuple[str, str, str], ...]  # key, words, an example of a value
    names: Mapping[str, Sequence[str]]  # by scope, as far as they are known
    scopes: tuple[LimitScope, ...] = tuple(LimitScope)
    modes: tuple[Mode, ...] = tuple(Mode)


def fixed_rows() -> tuple[Row, ...]:
    """The bounds of the newest version of every workflow, and of the settings. No query."""
    bounds = fixed.of_workflows(registry.all_newest())
    return (*bounds, *fixed.built_in(), fixed.intake(int(settings.RUNS_INTAKE_LIMIT)))


def table(limits: Iterable[Limit], proposals: Iterable[LimitProposal], wanted: Wanted) -> Table:
    """Everything that is limited, as wanted. No query."""
    asked = {one.line_id for one in proposals}
    lines: dict[int, list[Limit]] = {}
    for limit in limits:
        lines.setdefault(limit.line, []).append(limit)
    every = [_listed(line, rows, asked) for line, rows in lines.items()]
    every += [Listed(row=row) for row in fixed_rows()]
    matching = sorted((one for one in every if wanted.takes(one.row)), key=_order)
    groups: dict[tuple[LimitScope, str], list[Listed]] = {}
    for one in matching[:MOST]:
        groups.setdefault((one.row.scope_kind, one.row.scope), []).append(one)
    return Table(
        groups=tuple(
            Group(scope_kind=kind, scope=name, rows=tuple(rows)) for (kind, name), rows in groups.items()
        ),
        people=len(lines),
        shown=min(MOST, len(matching)),
        matching=len(matching),
        total=len(every),
    )


def _listed(line: int, limits: Sequence[Limit], asked: set[int]) -> Listed:
    first, *planned = limits
    return Listed(
        row=first.row, planned=tuple(one.row for one in planned), limit=first, proposed=line in asked
    )


def _order(one: Listed) -> tuple[int, str, bool, int, int, str]:
    row = one.row
    mode = -row.mode.strength
    return (
        row.scope_kind.specific,
        row.scope,
        bool(row.origin),
        PLACE[row.kind, row.window],
        mode,
        row.within,
    )


def open_proposals(at: datetime) -> list[LimitProposal]:
    """What waits for a second admin, the oldest first. One query."""
    return list(waiting(LimitProposal, at).select_related("line").order_by("at")[:MOST])


def history(line: int) -> list[Limit]:
    """Every row of a limit, the newest first. One query."""
    return list(rows_of(line).order_by("-pk")[:MOST_HISTORY])


def effective(limits: Iterable[Limit], to: Where, at: datetime) -> list[Applied]:
    """What applies at a place, the definitions' bounds among it. No query."""
    rows = (*(limit.row for limit in limits), *fixed_rows())
    return list(applies(rows, to=to, at=at).values())


def place(given: Mapping[str, str]) -> Where:
    """The place that a form names; a workflow's team goes with it, whatever else was chosen there."""
    named = {
        name: given.get(name, "").strip()[:150] for name in ("team", "workflow", "agent", "tool", "model")
    }
    found = registry.newest(named["workflow"]) if named["workflow"] else None
    if found:
        named["team"] = found.team
    return Where(
        team=named["team"],
        workflow=named["workflow"],
        agent=named["agent"],
        tool=named["tool"],
        model=named["model"],
    )


def because(applied: Applied) -> str:
    """Why this value and no other, in a sentence."""
    why = applied.why
    if why is None:
        return "Nothing is enforced."
    others = [row for row in applied.holding[1:] if row.value != why.value]
    if others:
        told = ", ".join(f"{row.scope_words} {row.amount}" for row in others[:3])
        return f"Strictest of {len(applied.holding)}: {told}."
    if len(applied.holding) > 1:
        return f"Most specific of {len(applied.holding)} equal ones."
    return "The only one that is enforced here."


def asks(plan: Plan, at: datetime) -> tuple[str, str]:
    """What a change asks for: the tone and the sentence that its form shows."""
    if plan.changes_nothing(at):
        return "", "Nothing would change."
    if not plan.more:
        if not any(row.mode is Mode.ENFORCE for row in plan.rows.made):
            return "sound", "It allows nothing more: done at once, without a reason."
        if plan.found.rows[0].mode is not Mode.ENFORCE:
            return "sound", "It allows nothing more: rehearsed first, then done without a reason."
        return "sound", (
            "It allows nothing more: done at once, without a reason; what it would have stopped is shown first, where "
            "a rehearsal knows of any."
        )
    told = "; ".join(dict.fromkeys(one.says for one in plan.more))
    if not plan.needs_another:
        return "hand", f"It allows more ({told}) and asks for a reason. You may do it alone."
    row = plan.more[0].row
    most = settings.LIMITS_ALONE.get((row.kind, row.window))
    amount = shown(TABLE[row.kind].unit, most) if most is not None else ""
    hours = settings.LIMITS_PROPOSAL_HOURS
    return "care", (
        f"It allows more ({told}) than one admin may allow alone ({amount}): it asks for a reason, and another admin "
        f"must agree within {hours} hours. Until then everything stays as it is."
    )


def not_asked() -> tuple[str, ...]:
    """What people can limit and no guard asks about yet. The page says so: an enforced limit would be believed."""
    return tuple(says(*what) for what in KEYS.values() if what not in ASKED)


def choices() -> Choices:
    """What the forms offer, from the definitions. No query."""
    names = names_of((one for one, _ in registry.versions()), settings.MODEL_PRICES)
    return Choices(
        whats=tuple((name, says(*what), EXAMPLES[TABLE[what[0]].unit]) for name, what in KEYS.items()),
        names={scope.value: sorted(found) for scope, found in names.items() if found},
    )


def rows_now_and_over(at: datetime) -> tuple[list[Limit], list[Limit]]:
    """Every row that holds or will hold, and the last row of every limit that is over, the newest ones of them. One
    query."""
    ended = Limit.objects.filter(valid_until__lte=at).order_by("-valid_until", "-pk")[: MOST * 2]
    found = list(in_force.opened(at).union(ended, all=True))
    open_now = in_force.by_line(one for one in found if one.valid_until is None or one.valid_until > at)
    there = {limit.line for limit in open_now}
    last: dict[int, Limit] = {}
    for limit in sorted(found, key=lambda one: (one.valid_until or at, one.pk), reverse=True):
        if limit.line not in there:
            last.setdefault(limit.line, limit)
    return open_now, list(last.values())[:MOST]


def rows_now() -> list[Limit]:
    """Every row that holds or will hold. One query."""
    return in_force.open_rows()
