"""Controls as the engine obeys them: engage, mark, release, resume, and who has confirmed. No roles, no journal.

A stop touches no run row: it closes the gate for a moment and writes one row. Runs are marked afterwards, in
batches. Clocks stand still while a run is held, and the time is given back (law L9).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import (
    DateTimeField,
    ExpressionWrapper,
    F,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    TextField,
    Value,
)
from django.db.models.functions import Cast, Coalesce, Greatest, Now

from runs import live
from runs.engine import failpoints, gate
from runs.engine.record import announce_run, at_once, event, now, wake_run
from runs.engine.rows import Rows
from runs.models import (
    Control,
    ControlKind,
    ControlReceipt,
    Event,
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

SILENT_AFTER_SECONDS = 10.0  # a worker not heard of for so long is silent, never "stopped"
FORGET_AFTER = timedelta(hours=1)  # a silent worker this old had no lease left when the control was engaged


# With the commit every agent worker is told what is engaged, and cuts before it asks; where it was engaged already,
# that it should look. The time is the clock's: that of the statement is when its message came, before the gate.
_ENGAGE = f"""
    WITH engaged AS (
        INSERT INTO runs_control (kind, scope_kind, scope, reason, engaged_by, engaged_at, release_reason, released_by)
        VALUES (%(kind)s, %(scope_kind)s, %(scope)s, %(reason)s, %(by)s, clock_timestamp(), '', '')
        ON CONFLICT (kind, scope_kind, scope) WHERE released_at IS NULL DO NOTHING
        RETURNING id, engaged_at, kind, scope_kind, scope, engaged_by
    )
    SELECT id, engaged_at, pg_notify('{live.CONTROLS_CHANNEL}', CASE WHEN id IS NULL THEN '' ELSE json_build_object(
        'pk', id, 'kind', kind, 'scope_kind', scope_kind, 'scope', scope, 'engaged_by', engaged_by)::text END)
    FROM (SELECT) AS always LEFT JOIN engaged ON true
"""
_WORKER, _RECEIPT = Rows(Worker), Rows(ControlReceipt)
# Every worker that any of these controls may concern, as often as it has confirmed one of them; the time of this look.
_CONFIRMED = f"""
    SELECT statement_timestamp(), {_WORKER.columns("worker")}, {_RECEIPT.columns("receipt")}
    FROM runs_worker worker
    LEFT JOIN runs_controlreceipt receipt ON receipt.worker_id = worker.id AND receipt.control_id = ANY(%s)
    WHERE worker.kind = %s AND (worker.gone_at IS NULL OR worker.gone_at >= %s) AND worker.seen_at >= %s
    ORDER BY worker.name
"""


class StillHeld(Exception):
    """Another control still covers this run."""

    def __init__(self, control: Control) -> None:
        super().__init__(f"{control.kind} of {control.scope_name} still covers it")
        self.control = control


def engage(kind: str, scope_kind: str, scope: str = "", *, reason: str = "", by: str) -> tuple[Control, bool]:
    """Engage a control; the first statement closes the gate. Returns (control, whether it is new).

    When this transaction has committed, no claim or permit that it covers can commit any more.
    """
    given = {"kind": kind, "scope_kind": scope_kind, "scope": scope, "reason": reason, "by": by}
    new = gate.exclusive_then(_ENGAGE, given)
    while new is None or new[0] is None:
        standing = engaged().filter(kind=kind, scope_kind=scope_kind, scope=scope).first()
        if standing is not None:
            return standing, False
        new = at_once(_ENGAGE, given)  # somebody has released it just now: it is engaged anew
    control = Control(
        pk=new[0],
        engaged_at=new[1],
        kind=kind,
        scope_kind=scope_kind,
        scope=scope,
        reason=reason,
        engaged_by=by,
    )
    control._state.adding = False
    return control, True


def engaged() -> QuerySet[Control]:
    """Every control that is engaged now, oldest first."""
    return Control.objects.filter(released_at__isnull=True).order_by("id")


def covering(*, run_id: int, workflow: str) -> list[Control]:
    """The engaged controls that cover a run, stops first."""
    scopes = (
        Q(scope_kind=ScopeKind.EVERYTHING)
        | Q(scope_kind=ScopeKind.WORKFLOW, scope=workflow)
        | Q(scope_kind=ScopeKind.RUN, scope=str(run_id))
    )
    return sorted(
        engaged().filter(scopes), key=lambda control: (control.kind != ControlKind.STOP, control.pk)
    )


def covered(control: Control) -> QuerySet[Run]:
    """The runs that are not final and in the control's scope."""
    runs = Run.objects.filter(state__in=ACTIVE)
    match control.scope_kind:
        case ScopeKind.WORKFLOW:
            return runs.filter(workflow=control.scope)
        case ScopeKind.RUN:
            return runs.filter(pk=int(control.scope) if control.scope.isdecimal() else 0)
        case _:
            return runs


def _unmarked(control: Control) -> QuerySet[Run]:
    weaker = [Hold.NONE] if control.kind == ControlKind.PAUSE else [Hold.NONE, Hold.PAUSE]
    return covered(control).filter(hold__in=weaker)


def _next_unmarked(control: Control, limit: int) -> list[int]:
    """Up to `limit` of them, state by state along that index: by number alone, every run that is over would be read."""
    if control.scope_kind == ScopeKind.RUN:
        return list(_unmarked(control).values_list("pk", flat=True))
    found: list[int] = []
    for state in ACTIVE:
        rows = _unmarked(control).filter(state__gte=state, state__lte=state).order_by("-state", "pk")
        found += rows.values_list("pk", flat=True)[: limit - len(found)]
        if len(found) == limit:
            break
    return found


def _covered_since(control: Control) -> Greatest:
    """As an expression over runs: since when the first of the controls that cover a run has covered it. It is marked
    later, and its clock stands from there on."""
    scopes = (
        Q(scope_kind=ScopeKind.EVERYTHING)
        | Q(scope_kind=ScopeKind.WORKFLOW, scope=OuterRef("workflow"))
        | Q(scope_kind=ScopeKind.RUN, scope=Cast(OuterRef("pk"), TextField()))
    )
    first = engaged().filter(scopes).order_by("engaged_at").values("engaged_at")[:1]
    return Greatest(Coalesce(Subquery(first), Value(control.engaged_at)), F("created_at"))


@transaction.atomic
def mark(control_id: int, limit: int = 200) -> int:
    """Mark up to `limit` covered runs as held; returns how many are left, counted to `limit`. One short transaction."""
    control = Control.objects.get(pk=control_id)
    if not control.engaged:
        return 0
    chosen = _next_unmarked(control, limit)
    runs = list(_unmarked(control).filter(pk__in=chosen).order_by("pk").select_for_update(no_key=True))
    Event.objects.bulk_create(
        [Event(run=run, seq=run.event_seq + 1, kind="held", data=_held_by(control)) for run in runs]
    )
    Run.objects.filter(pk__in=[run.pk for run in runs]).update(
        hold=control.kind,
        held_since=Coalesce("held_since", _covered_since(control)),
        held_by=control,
        event_seq=F("event_seq") + 1,
    )
    for run in runs:
        run.event_seq += 1
        announce_run(run)
    failpoints.hit("mid_mark")
    left = len(_next_unmarked(control, limit))
    if not left and control.marked_at is None:
        Control.objects.filter(pk=control_id).update(marked_at=Now())
    return left


def hold(run: Run, controls: Sequence[Control]) -> None:
    """Mark one run, whose row the caller has locked and saves, as held by the first of those that cover it."""
    control = controls[0]
    run.hold = Hold(control.kind)
    if run.held_since is None:
        run.held_since = max(min(one.engaged_at for one in controls), run.created_at)
    run.held_by = control
    event(run, "held", **_held_by(control))


def _held_by(control: Control) -> dict[str, Any]:
    return {
        "control": control.pk,
        "hold": control.kind,
        "scope": control.scope_name,
        "by": control.engaged_by,
    }


def release(control_id: int, *, by: str, reason: str) -> Control | None:
    """Release a control; None when it is released already. Call `mark` until nothing is left before.

    A pause lets its runs go on (`lift_released`, after the commit). A stop only permits to resume them.
    """
    changed = (
        engaged()
        .filter(pk=control_id)
        .update(released_at=Now(), released_by=by, release_reason=reason, marked_at=Now())
    )
    return Control.objects.get(pk=control_id) if changed else None


def _releasable() -> QuerySet[Run]:
    return Run.objects.filter(hold=Hold.PAUSE, held_by__released_at__isnull=False)


@transaction.atomic
def lift_released(limit: int = 200) -> int:
    """Let runs of released pauses go on, oldest first; returns how many are left, counted to `limit`."""
    runs = list(_releasable().order_by("pk").select_for_update(no_key=True, of=("self",))[:limit])
    for run in runs:
        others = covering(run_id=run.pk, workflow=run.workflow)
        if others:
            hold(run, others)
            run.save()
            continue
        lift(run)
    return _releasable()[:limit].count()


def resume(run_id: int) -> bool:
    """Let a run whose stop was released go on; False when it is not held by a stop. Raises StillHeld."""
    gate.shared()
    run = Run.objects.select_for_update(no_key=True).filter(pk=run_id).first()
    if run is None or run.hold != Hold.STOP or run.final:
        return False
    others = covering(run_id=run.pk, workflow=run.workflow)
    if others:
        raise StillHeld(others[0])
    lift(run)
    return True


def lift(run: Run) -> None:
    """Give back the time a run was held and wake it. The caller has locked the row. A question that was asked
    meanwhile stood still for as long as it was open."""
    moment = now()
    since = run.held_since or moment
    frozen = moment - since
    run.hold, run.held_since, run.held_by = Hold.NONE, None, None
    run.deadline_at += frozen
    if run.state in (RunState.SLEEPING, RunState.WAITING) and run.due_at:
        run.due_at += frozen
    run.steps.filter(due_at__isnull=False).update(due_at=F("due_at") + frozen)
    stood = Value(moment, DateTimeField()) - Greatest(Value(since, DateTimeField()), F("asked_at"))
    questions = Question.objects.filter(run=run, state=QuestionState.OPEN)
    questions.update(expires_at=ExpressionWrapper(F("expires_at") + stood, DateTimeField()))
    event(run, "resumed", frozen_seconds=round(frozen.total_seconds(), 3))
    run.save()
    failpoints.hit("mid_lift")
    announce_run(run)
    wake_run(run)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfirmation:
    """What one worker has said about a control. `silent_seconds` is how long ago it was heard of."""

    worker: Worker
    receipt: ControlReceipt | None
    silent_seconds: float

    @property
    def silent(self) -> bool:
        return self.silent_seconds > SILENT_AFTER_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """Whether a control has taken hold everywhere. state: stopping, stopped, unconfirmed; pausing, paused."""

    control: Control
    state: str
    workers: tuple[WorkerConfirmation, ...]

    @property
    def confirmed(self) -> int:
        return sum(1 for one in self.workers if one.receipt)


def confirmation(control: Control) -> Confirmation:
    """Every worker that could have had something in flight, and what it said (law L3)."""
    return confirmations([control])[0]


def confirmations(controls: Sequence[Control]) -> list[Confirmation]:
    """The same of several controls, in their order. One query, however many they are."""
    if not controls:
        return []
    earliest = min(one.engaged_at for one in controls)
    asked: list[Any] = [[one.pk for one in controls], WorkerKind.AGENTS, earliest, earliest - FORGET_AFTER]
    workers: dict[int, Worker] = {}
    receipts: dict[tuple[int, int], ControlReceipt] = {}
    with connection.cursor() as cursor:
        cursor.execute(_CONFIRMED, asked)
        rows = cursor.fetchall()
    for row in rows:
        values = iter(row[1:])
        worker, receipt = _WORKER.next_of(values), _RECEIPT.next_or_none(values)
        workers.setdefault(worker.pk, worker)
        if receipt is not None:
            receipts[receipt.control_id, worker.pk] = receipt
    moment = rows[0][0] if rows else earliest  # of nobody it is not asked
    return [_confirmation(control, list(workers.values()), receipts, moment) for control in controls]


def _confirmation(
    control: Control,
    workers: Sequence[Worker],
    receipts: Mapping[tuple[int, int], ControlReceipt],
    moment: datetime,
) -> Confirmation:
    said = tuple(
        WorkerConfirmation(
            worker=worker,
            receipt=receipts.get((control.pk, worker.pk)),
            silent_seconds=max(0.0, (moment - worker.seen_at).total_seconds()),
        )
        for worker in workers
        if _concerned(worker, control, confirmed=(control.pk, worker.pk) in receipts)
    )
    return Confirmation(control=control, state=_state(control, said), workers=said)


def _concerned(worker: Worker, control: Control, *, confirmed: bool) -> bool:
    """Whether a worker could have had something in flight when the control was engaged. One that has gone counts
    only with what it confirmed before."""
    engaged = control.engaged_at
    if worker.started_at > engaged or worker.seen_at < engaged - FORGET_AFTER:
        return False
    return worker.gone_at is None or (worker.gone_at >= engaged and confirmed)


def _state(control: Control, workers: tuple[WorkerConfirmation, ...]) -> str:
    going, done = ("stopping", "stopped") if control.kind == ControlKind.STOP else ("pausing", "paused")
    missing = [one for one in workers if one.receipt is None]
    if any(one.silent for one in missing):
        return "unconfirmed"
    return going if missing else done


def lease() -> timedelta:
    return timedelta(seconds=float(settings.RUNS_LEASE_SECONDS))
