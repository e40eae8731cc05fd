"""What the controls page shows: what is held, what a hold would hit, what a released stop left behind. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Count, QuerySet

from runs import registry
from runs.definitions import Effect
from runs.engine import holds
from runs.engine.holds import Confirmation
from runs.engine.record import now
from runs.models import (
    Call,
    CallKind,
    CallState,
    Control,
    ControlKind,
    Hold,
    Question,
    QuestionState,
    Run,
    RunState,
    ScopeKind,
    Worker,
    WorkerKind,
)
from runs.models.run import ACTIVE
from runs.shown import counted, tallies
from runs.shown.counted import MOST, limited

SHOWN = 50  # effects, controls and runs that are listed
_PACE = {"unconfirmed": 0, "stopping": 1, "pausing": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An engaged control, how far it has taken hold, and how many runs it covers now."""

    control: Control
    confirmation: Confirmation
    runs: int

    @property
    def silent(self) -> int:
        """Workers that have neither confirmed nor been heard of."""
        return sum(1 for one in self.confirmation.workers if one.receipt is None and one.silent)

    @property
    def missing(self) -> int:
        """Workers that have not confirmed."""
        return len(self.confirmation.workers) - self.confirmation.confirmed

    @property
    def settled(self) -> bool:
        return self.confirmation.state in ("stopped", "paused")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Something that can be held, and how many active runs it covers."""

    kind: str
    scope: str
    name: str
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """What a hold over a scope would hit, as of now. At most SHOWN open effects are listed."""

    runs: int
    model_calls: int
    people: int
    effects: tuple[Call, ...]
    effects_total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A released stop and the runs that stay until they are resumed."""

    control: Control
    total: int
    runs: tuple[Run, ...]


def by_pace(held: Iterable[Held]) -> tuple[Held, ...]:
    """What is not confirmed comes first, then the newest."""
    return tuple(sorted(held, key=lambda one: (_PACE.get(one.confirmation.state, 2), -one.control.pk)))


def one(control: Control) -> Held:
    """How far a control has taken hold."""
    return several([control])[0]


def several(controls: Sequence[Control]) -> tuple[Held, ...]:
    """How far each of them has taken hold, in their order. Two queries, however many they are, and one more for
    holds over single runs."""
    if not controls:
        return ()
    counts = _covered(controls)
    return tuple(
        Held(control=one.control, confirmation=one, runs=counts[one.control.pk])
        for one in holds.confirmations(controls)
    )


def silent() -> tuple[Worker, ...]:
    """Worker processes that nobody has heard of for a while and that have not left. One query."""
    moment = now()
    alive = Worker.objects.filter(gone_at__isnull=True).exclude(kind=WorkerKind.BEAT)
    late = alive.filter(seen_at__lt=moment - timedelta(seconds=holds.SILENT_AFTER_SECONDS))
    return tuple(late.filter(seen_at__gt=moment - holds.FORGET_AFTER).order_by("seen_at")[:SHOWN])


def _covered(controls: Sequence[Control]) -> dict[int, int]:
    """How many runs each covers, counted to counted.MOST."""
    single = [one for one in controls if one.scope_kind == ScopeKind.RUN]
    going = tallies.active(tallies.by_kind()) if len(single) < len(controls) else {}
    names = {one.scope for one in single}
    ids = [int(name) for name in names if name.isdecimal()]
    there = {str(pk) for pk in Run.objects.filter(pk__in=ids, state__in=ACTIVE).values_list("pk", flat=True)}
    found = {one.pk: int(one.scope in there) for one in single}
    for one in controls:
        if one.scope_kind == ScopeKind.EVERYTHING:
            found[one.pk] = limited(going)
        elif one.scope_kind == ScopeKind.WORKFLOW:
            found[one.pk] = min(MOST, going.get(one.scope, 0))
    return found


def scopes() -> tuple[Scope, ...]:
    """Everything, and each workflow that is installed or has active runs. One query."""
    active = tallies.active(tallies.by_kind())
    names = sorted({workflow.name for workflow in registry.all_newest()} | set(active))
    workflows = [
        Scope(kind=ScopeKind.WORKFLOW, scope=name, name=name, runs=active.get(name, 0)) for name in names
    ]
    everything = Scope(kind=ScopeKind.EVERYTHING, scope="", name="Everything", runs=limited(active))
    return (everything, *workflows)


def hits(scope_kind: str, scope: str) -> Hits:
    """What would be hit, counted to counted.MOST. One query, a second when effects are open; nothing is changed."""
    covered = holds.covered(Control(kind=ControlKind.STOP, scope_kind=scope_kind, scope=scope))
    under_way = Call.objects.filter(run__in=covered, state__in=(CallState.PERMITTED, CallState.UNKNOWN))
    effects = under_way.filter(kind=CallKind.TOOL).exclude(effect=Effect.NONE)
    counts = counted.up_to(
        runs=covered,
        people=_asked(scope_kind, scope),
        effects=effects,
        model=under_way.filter(kind=CallKind.MODEL, state=CallState.PERMITTED),
    )
    return Hits(
        runs=counts["runs"],
        model_calls=counts["model"],
        people=counts["people"],
        effects=tuple(effects.order_by("pk")[:SHOWN]) if counts["effects"] else (),
        effects_total=counts["effects"],
    )


def _asked(scope_kind: str, scope: str) -> QuerySet[Question]:
    """The open questions of the runs covered; of a workflow those of as many runs as are counted, what waits first."""
    asked = Question.objects.filter(state=QuestionState.OPEN)
    if scope_kind == ScopeKind.RUN:
        return asked.filter(run=int(scope) if scope.isdecimal() else 0)
    if scope_kind == ScopeKind.WORKFLOW:
        runs = Run.objects.filter(workflow=scope, state__gte=RunState.RUNNING).order_by("-state", "pk")
        return asked.filter(run__in=runs.values("pk")[:MOST])
    return asked  # a run with an open question is not final


def left_behind() -> tuple[Left, ...]:
    """Runs that released stops left where they are, by control, newest first."""
    rows = _left().values("held_by").annotate(total=Count("pk")).order_by("-held_by")[:SHOWN]
    totals = {row["held_by"]: row["total"] for row in rows}
    controls = Control.objects.in_bulk(list(totals))
    listed = _by_control(list(_left().filter(held_by__in=list(totals)).order_by("pk")[: SHOWN * 4]))
    return tuple(
        Left(control=controls[pk], total=total, runs=tuple(listed.get(pk, [])[:SHOWN]))
        for pk, total in totals.items()
    )


def _left() -> QuerySet[Run]:
    return Run.objects.filter(state__in=ACTIVE, hold=Hold.STOP, held_by__released_at__isnull=False)


def _by_control(runs: Sequence[Run]) -> dict[int, list[Run]]:
    found: dict[int, list[Run]] = {}
    for run in runs:
        if run.held_by_id is not None:
            found.setdefault(run.held_by_id, []).append(run)
    return found
