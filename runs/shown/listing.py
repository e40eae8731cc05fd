"""Which runs somebody asks for, newest first, a page at a time by number. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.db.models import Case, Count, OuterRef, Q, QuerySet, Subquery, When

from runs.canonical import plain
from runs.models import Hold, Run, RunState, Step, StepState
from runs.models.run import ACTIVE

PAGE = 50
HELD = "held"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Everything given must hold. `before` and `upto` are run numbers: strictly below, and at most."""

    state: str = ""  # a state, or HELD
    workflow: str = ""
    version: int | None = None
    team: str = ""
    held_by: int | None = None  # a control
    text: str = ""
    before: int | None = None
    upto: int | None = None

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Wanted:
        """From a page's query. What cannot be read narrows nothing."""
        return cls(
            state=query.get("state", ""),
            workflow=plain(query.get("workflow", "")),
            version=number(query.get("version", "")),
            team=plain(query.get("team", "")),
            held_by=number(query.get("held_by", "")),
            text=query.get("q", "").strip().replace("\x00", "")[:200],
            before=number(query.get("before", "")),
            upto=number(query.get("upto", "")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of runs. `next` is the `before` of the following page, None on the last one."""

    runs: tuple[Run, ...]
    next: int | None

    @property
    def newest(self) -> int | None:
        return self.runs[0].pk if self.runs else None


def number(text: str) -> int | None:
    """A number as people write it in addresses; None for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def page(wanted: Wanted, size: int = PAGE) -> Page:
    """One query; no counting of what is not shown. Each run has `place`, the node it is at: of several at once one
    that waits for a person, else the newest."""
    begun = Step.objects.filter(run=OuterRef("pk")).exclude(state=StepState.READY)
    waits = Case(When(state=StepState.WAITING, then=0), default=1)
    place = begun.order_by(waits, "-seq").values("node")[:1]
    rows = _matching(wanted).select_related("team").annotate(place=Subquery(place)).order_by("-pk")
    found = list(rows[: size + 1])
    return Page(runs=tuple(found[:size]), next=found[size - 1].pk if len(found) > size else None)


def counts() -> dict[str, int]:
    """How many runs are in each state that is not final, and how many are held. One query over those only."""
    active = Run.objects.filter(state__in=ACTIVE)
    totals: dict[str, int] = active.aggregate(
        **{str(state): Count("pk", filter=Q(state=state)) for state in ACTIVE},
        held=Count("pk", filter=~Q(hold=Hold.NONE)),
    )
    return totals


def _matching(wanted: Wanted) -> QuerySet[Run]:
    rows = Run.objects.all()
    if wanted.state == HELD:
        rows = rows.filter(state__in=ACTIVE).exclude(hold=Hold.NONE)
    elif wanted.state in RunState.values:
        rows = rows.filter(state=wanted.state)
    if wanted.workflow:
        rows = rows.filter(workflow=wanted.workflow)
    if wanted.version is not None:
        rows = rows.filter(version=wanted.version)
    if wanted.team:
        rows = rows.filter(team__name=wanted.team)
    if wanted.held_by is not None:
        rows = rows.filter(held_by=wanted.held_by)
    if wanted.text:
        rows = rows.filter(matching(wanted.text))
    if wanted.before is not None:
        rows = rows.filter(pk__lt=wanted.before)
    if wanted.upto is not None:
        rows = rows.filter(pk__lte=wanted.upto)
    return rows


def matching(text: str) -> Q:
    """In the goal; a bare number (or #number) also as the run of that number."""
    found = Q(goal__icontains=text) | Q(start_key=text)
    run_id = number(text.removeprefix("#"))
    return found | Q(pk=run_id) if run_id is not None else found
