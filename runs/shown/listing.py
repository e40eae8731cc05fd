"""Which runs somebody asks for, newest first, a page at a time by number. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from django.db.models import Case, JSONField, Max, OuterRef, Q, QuerySet, Subquery, When
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce

from runs.canonical import plain
from runs.models import Hold, Run, RunState, Step, StepState
from runs.models.run import ACTIVE
from runs.models.step import SETTLED_STEPS
from runs.shown import counted
from runs.shown.guarded import WAITS, waits_of

PAGE = 50
LOOK = 50_000  # runs that one page looks through for a text, which no index knows
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
    """One page of runs. `next` is the `before` of the following page, None on the last one. `looked`: the first and
    the last number that were looked through, when that was not all."""

    runs: tuple[Run, ...]
    next: int | None
    looked: tuple[int, int] | None = None

    @property
    def newest(self) -> int | None:
        return self.runs[0].pk if self.runs else None


def number(text: str) -> int | None:
    """A number as people write it in addresses; None for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def page(wanted: Wanted, size: int = PAGE) -> Page:
    """One query, two more for a text; no counting of what is not shown. Each run has `place`, the node it is at: of
    several at once one that waits for a person, else the newest; and `waits_on` when it sleeps because of a guard."""
    if wanted.text:
        return _looked_for(wanted, size)
    return _page(_matching(wanted), size)


def _page(rows: QuerySet[Run], size: int) -> Page:
    begun = Step.objects.filter(run=OuterRef("pk")).exclude(state=StepState.READY).order_by("-seq")
    waiting = begun.filter(state=StepState.WAITING).exclude(state__in=SETTLED_STEPS)
    place = Coalesce(Subquery(waiting.values("node")[:1]), Subquery(begun.values("node")[:1]))
    waits = Case(When(state=RunState.SLEEPING, then=RawSQL(WAITS, [])), output_field=JSONField())
    shown = list(rows.select_related("team").annotate(place=place, waits=waits)[: size + 1])
    for run in shown:
        run.waits_on = waits_of(run.waits)  # type: ignore[attr-defined]  # annotated
    return Page(runs=tuple(shown[:size]), next=shown[size - 1].pk if len(shown) > size else None)


def _looked_for(wanted: Wanted, size: int) -> Page:
    """Goals are read, newest first, LOOK of them a page. What has exactly this number or start key stands first on the
    first page, however old it is."""
    newest: int = Run.objects.aggregate(newest=Max("pk"))["newest"] or 0
    limits = [one for one in (newest, wanted.upto, wanted.before and wanted.before - 1) if one is not None]
    top = min(limits)
    bottom = max(1, top - LOOK + 1)
    rows, exactly = _matching(replace(wanted, text="")), _exactly(wanted.text)
    goals = rows.filter(pk__range=(bottom, top), goal__icontains=wanted.text)
    shown = _page(goals.exclude(exactly), size)
    if wanted.before is None:
        shown = replace(shown, runs=(*_page(rows.filter(exactly), size).runs, *shown.runs))
    if bottom == 1:
        return shown
    return replace(shown, next=shown.next or bottom, looked=(bottom, top))


def counts() -> dict[str, int]:
    """How many runs are in each state that is not final, and how many are held, counted to counted.MOST. One query."""
    states = {str(state): Run.objects.filter(state=state) for state in ACTIVE}
    return counted.up_to(held=_held(), **states)


def _held() -> QuerySet[Run]:
    return Run.objects.exclude(hold=Hold.NONE).filter(state__in=ACTIVE)


def _matching(wanted: Wanted) -> QuerySet[Run]:
    rows = _held() if wanted.state == HELD else Run.objects.all()
    rows = _walked(rows, wanted)
    if wanted.version is not None:
        rows = rows.filter(version=wanted.version)
    if wanted.team:
        rows = rows.filter(team__name=wanted.team)
    if wanted.held_by is not None:
        rows = rows.filter(held_by=wanted.held_by)
    if wanted.before is not None:
        rows = rows.filter(pk__lt=wanted.before)
    if wanted.upto is not None:
        rows = rows.filter(pk__lte=wanted.upto)
    return rows


def _walked(rows: QuerySet[Run], wanted: Wanted) -> QuerySet[Run]:
    """By state and workflow, newest first, along the index of the one that narrows more.

    Written as a range of one value: asked for "=", the planner may walk through all runs by number instead, as if
    those of a state were spread evenly; but what still waits is old.
    """
    state = wanted.state if wanted.state in RunState.values else ""
    if state and (state in ACTIVE or not wanted.workflow):
        rows = rows.filter(state__gte=state, state__lte=state).order_by("state", "-pk")
        return rows.filter(workflow=wanted.workflow) if wanted.workflow else rows
    if wanted.workflow:
        rows = rows.filter(workflow__gte=wanted.workflow, workflow__lte=wanted.workflow)
        rows = rows.order_by("workflow", "-pk")
        return rows.filter(state=state) if state else rows
    return rows.order_by("-pk")


def _exactly(text: str) -> Q:
    """The run with that start key; a bare number (or #number) also names the run of that number."""
    run_id = number(text.removeprefix("#"))
    found = Q(start_key=text)
    return found | Q(pk=run_id) if run_id is not None else found
