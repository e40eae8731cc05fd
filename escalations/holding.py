"""What the controls page shows: what is held, what a hold would hit, what a released stop left behind. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Count, Q, QuerySet

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
    QuestionState,
    Run,
    ScopeKind,
    Worker,
    WorkerKind,
)
from runs.models.run import ACTIVE

MOST = 50
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
    """What a hold over a scope would hit, as of now. At most MOST open effects are listed."""

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
    """How far a control has taken hold. Four queries."""
    return Held(
        control=control, confirmation=holds.confirmation(control), runs=holds.covered(control).count()
    )


def silent() -> tuple[Worker, ...]:
    """Worker processes that nobody has heard of for a while and that have not left. One query."""
    moment = now()
    alive = Worker.objects.filter(gone_at__isnull=True).exclude(kind=WorkerKind.BEAT)
    late = alive.filter(seen_at__lt=moment - timedelta(seconds=holds.SILENT_AFTER_SECONDS))
    return tuple(late.filter(seen_at__gt=moment - holds.FORGET_AFTER).order_by("seen_at")[:MOST])


def scopes() -> tuple[Scope, ...]:
    """Everything, and each workflow that is installed or has active runs. One query."""
    rows = Run.objects.filter(state__in=ACTIVE).values_list("workflow").annotate(runs=Count("pk"))
    active = dict(rows.order_by("workflow"))
    names = sorted({workflow.name for workflow in registry.all_newest()} | set(active))
    workflows = [
        Scope(kind=ScopeKind.WORKFLOW, scope=name, name=name, runs=active.get(name, 0)) for name in names
    ]
    everything = Scope(kind=ScopeKind.EVERYTHING, scope="", name="Everything", runs=sum(active.values()))
    return (everything, *workflows)


def hits(scope_kind: str, scope: str) -> Hits:
    """What would be hit. Two queries, a third when effects are open; nothing is changed."""
    probe = Control(kind=ControlKind.STOP, scope_kind=scope_kind, scope=scope)
    covered = holds.covered(probe)
    open_question = Q(questions__state=QuestionState.OPEN)
    totals = covered.aggregate(
        runs=Count("pk", distinct=True), people=Count("questions", filter=open_question)
    )
    under_way = Call.objects.filter(run__in=covered, state__in=(CallState.PERMITTED, CallState.UNKNOWN))
    is_effect = Q(kind=CallKind.TOOL) & ~Q(effect=Effect.NONE)
    is_model = Q(kind=CallKind.MODEL, state=CallState.PERMITTED)
    calls = under_way.aggregate(effects=Count("pk", filter=is_effect), model=Count("pk", filter=is_model))
    effects = under_way.filter(is_effect).order_by("pk")[:MOST] if calls["effects"] else ()
    return Hits(
        runs=totals["runs"],
        model_calls=calls["model"],
        people=totals["people"],
        effects=tuple(effects),
        effects_total=calls["effects"],
    )


def left_behind() -> tuple[Left, ...]:
    """Runs that released stops left where they are, by control, newest first."""
    rows = _left().values("held_by").annotate(total=Count("pk")).order_by("-held_by")[:MOST]
    totals = {row["held_by"]: row["total"] for row in rows}
    controls = Control.objects.in_bulk(list(totals))
    listed = _by_control(list(_left().filter(held_by__in=list(totals)).order_by("pk")[: MOST * 4]))
    return tuple(
        Left(control=controls[pk], total=total, runs=tuple(listed.get(pk, [])[:MOST]))
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
