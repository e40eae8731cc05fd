"""Pausing and stopping, releasing and resuming: a person's acts. How a control takes hold is `runs.engine.holds`.

Engaging must work with the fewest dependencies: it needs PostgreSQL and nothing else, and no reason. Its role
check comes before its transaction, because the gate must be the first statement in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from django.db import connection, transaction

from escalations.audit.record import Subject, about_run, append
from escalations.audit.refused import Given, Named, recorded
from escalations.expected import IllegalMove, Invalid, NotThere, clock
from escalations.roles import Act, Actor, name_of, require
from escalations.texts import cut_text, given_text
from runs import registry
from runs.canonical import plain
from runs.engine import gate, holds
from runs.models import Control, ControlKind, Hold, Run, ScopeKind

AT_ONCE_SECONDS = 0.5  # how long an act goes on marking or lifting runs; the sweep does the rest
RESUMED_AT_ONCE = 25  # runs a transaction, because it holds the gate and a stop must never wait for long

ENGAGES = {ControlKind.PAUSE: Act.PAUSE, ControlKind.STOP: Act.STOP}
RELEASES = {ControlKind.PAUSE: Act.RELEASE_PAUSE, ControlKind.STOP: Act.RELEASE_STOP}
# Written out: somebody waits for a stop, and the ORM takes longer to write it than PostgreSQL to answer.
_RUN_AND_TEAM = """
    SELECT run.workflow, team.name FROM runs_run run JOIN runs_team team ON team.id = run.team_id WHERE run.id = %s
"""


def _on_scope(given: Given) -> Named:
    kind, scope_kind, scope = (str(given.get(name, "")) for name in ("kind", "scope_kind", "scope"))
    return f"engage {kind}"[:40], _about(kind, scope_kind, scope)


def _on_control(given: Given) -> Named:
    control = Control.objects.filter(pk=given["control_id"]).first()
    if control is None:
        return "release", Subject(target=f"control {given['control_id']}")
    return RELEASES[ControlKind(control.kind)], about_control(control)


def _on_run(given: Given) -> Named:
    run = Run.objects.select_related("team").filter(pk=given["run_id"]).first()
    return Act.RESUME, about_run(run) if run else Subject(target=f"run {given['run_id']}")


def _on_runs_of(given: Given) -> Named:
    return Act.RESUME, _on_control(given)[1]


def about_control(control: Control) -> Subject:
    """The subject of an entry about a control."""
    return _about(control.kind, control.scope_kind, control.scope)


def _about(kind: str, scope_kind: str, scope: str) -> Subject:
    target = f"{kind} {scope_kind} {scope}".strip()
    if scope_kind == ScopeKind.WORKFLOW:
        return Subject(target=target, workflow=scope)
    if scope_kind == ScopeKind.RUN and scope.isdecimal() and len(scope) < 19:
        with connection.cursor() as cursor:
            cursor.execute(_RUN_AND_TEAM, [int(scope)])
            found = cursor.fetchone()
        if found:
            return Subject(target=target, run_id=int(scope), workflow=found[0], team=found[1])
    return Subject(target=target)


@recorded(_on_scope)
def engage(*, actor: Actor, kind: str, scope_kind: str, scope: str = "", reason: str = "") -> Control:
    """Hold everything, a workflow or a run. When this returns, nothing that it covers can begin any more.

    Engaging what is engaged changes nothing and returns it. Raises NotAllowed, Invalid.
    """
    act = _engages(kind)
    require(actor, act)
    scope = _checked_scope(scope_kind, scope)
    subject = _about(kind, scope_kind, scope)
    if scope_kind == ScopeKind.RUN and subject.run_id is None:
        raise Invalid([("scope", f"There is no run {scope!r}.")])
    return _engage(actor, act, kind, scope_kind, scope, cut_text(reason), subject)


@transaction.atomic(durable=True)
def _engage(
    actor: Actor, act: Act, kind: str, scope_kind: str, scope: str, reason: str, subject: Subject
) -> Control:
    """The fewest statements: nobody claims or permits anything meanwhile."""
    control, new = holds.engage(kind, scope_kind, scope, reason=reason, by=name_of(actor))
    details = {"control": control.pk} if new else {"control": control.pk, "already_engaged": True}

    def take_hold() -> None:
        _for_a_while(lambda: holds.mark(control.pk))

    append(actor=actor, act=act, subject=subject, reason=reason, details=details)
    transaction.on_commit(take_hold, robust=True)
    return control


@recorded(_on_control)
def release(*, actor: Actor, control_id: int, reason: str) -> Control:
    """Release a control. A pause's runs go on; a stop's stay where they are until they are resumed.

    Raises NotAllowed, NotThere, Invalid without a reason, IllegalMove when it is released already.
    """
    control = _control(control_id)
    require(actor, RELEASES[ControlKind(control.kind)])
    reason = given_text("reason", reason, required="Say why it may go on.")
    while holds.mark(control_id):
        continue  # a run that was never marked would go on without being resumed
    return _release(actor, control, reason)


@transaction.atomic(durable=True)
def _release(actor: Actor, control: Control, reason: str) -> Control:
    released = holds.release(control.pk, by=name_of(actor), reason=reason)
    if released is None:
        raise IllegalMove(_released_already(_control(control.pk)))

    def let_go() -> None:
        _for_a_while(holds.lift_released)

    append(
        actor=actor,
        act=RELEASES[ControlKind(released.kind)],
        subject=about_control(released),
        reason=reason,
        details={
            "control": released.pk,
            "engaged_by": released.engaged_by,
            "held": released.held_runs.count(),
        },
    )
    transaction.on_commit(let_go, robust=True)
    return released


@recorded(_on_run)
def resume(*, actor: Actor, run_id: int, reason: str = "") -> Run:
    """Let one run go on whose stop has been released.

    Raises NotAllowed, NotThere, IllegalMove when no stop holds it or another control still covers it.
    """
    require(actor, Act.RESUME)
    reason = given_text("reason", reason)
    with transaction.atomic(durable=True):
        try:
            resumed = holds.resume(run_id)
        except holds.StillHeld as still:
            raise IllegalMove(f"Run {run_id} stays where it is: {still}.") from still
        run = Run.objects.select_related("team").filter(pk=run_id).first()
        if run is None:
            raise NotThere(f"There is no run {run_id}.")
        if not resumed:
            raise IllegalMove(f"Run {run_id} is not held by a stop.")
        append(actor=actor, act=Act.RESUME, subject=about_run(run), reason=reason, details={"runs": [run_id]})
    return run


@recorded(_on_runs_of)
def resume_all(*, actor: Actor, control_id: int, reason: str = "") -> int:
    """Let every run go on that a released stop left behind; returns how many did.

    In batches, each with its own entry. Runs that another control covers stay. Raises NotAllowed, NotThere,
    IllegalMove while the stop is engaged.
    """
    control = _control(control_id)
    require(actor, Act.RESUME)
    reason = given_text("reason", reason)
    if control.engaged:
        raise IllegalMove(f"The {control} is still engaged: release it first.")
    left = list(control.held_runs.filter(hold=Hold.STOP).order_by("pk").values_list("pk", flat=True))
    batches = [left[at : at + RESUMED_AT_ONCE] for at in range(0, len(left), RESUMED_AT_ONCE)]
    return sum(_resume_batch(actor, control, batch, reason) for batch in batches)


@transaction.atomic(durable=True)
def _resume_batch(actor: Actor, control: Control, run_ids: list[int], reason: str) -> int:
    gate.shared()
    resumed = [run_id for run_id in run_ids if _resumes(run_id)]
    if resumed:
        details = {"control": control.pk, "runs": resumed, "still_held": len(run_ids) - len(resumed)}
        append(actor=actor, act=Act.RESUME, subject=about_control(control), reason=reason, details=details)
    return len(resumed)


def _resumes(run_id: int) -> bool:
    try:
        return holds.resume(run_id)
    except holds.StillHeld:
        return False


def _engages(kind: str) -> Act:
    if kind not in ControlKind.values:
        raise Invalid([("kind", f"Choose {' or '.join(ControlKind.values)}.")])
    return ENGAGES[ControlKind(kind)]


def _checked_scope(scope_kind: str, scope: str) -> str:
    """The scope as the engine compares it. Raises Invalid when it can name nothing: such a hold would hold nothing.
    Whether there is such a run is seen when the entry's subject is read."""
    scope = plain(scope.strip())
    if scope_kind == ScopeKind.EVERYTHING:
        return ""
    if scope_kind == ScopeKind.WORKFLOW:
        if registry.newest(scope) or Run.objects.filter(workflow=scope).exists():
            return scope
        raise Invalid([("scope", f"There is no workflow {scope!r}.")])
    if scope_kind == ScopeKind.RUN:
        number = scope.removeprefix("#")
        if number.isascii() and number.isdecimal() and len(number) < 19:
            return str(int(number))
        raise Invalid([("scope", f"There is no run {scope!r}.")])
    raise Invalid([("scope_kind", f"Choose one of {', '.join(ScopeKind.values)}.")])


def _control(control_id: int) -> Control:
    found = Control.objects.filter(pk=control_id).first()
    if found is None:
        raise NotThere(f"There is no control {control_id}.")
    return found


def _released_already(control: Control) -> str:
    when = clock(control.released_at) if control.released_at else "once"
    return f"The {control} was released by {control.released_by} at {when}."


def _for_a_while(turn: Callable[[], int]) -> None:
    """Take turns until nothing is left or the time is up."""
    until = time.monotonic() + AT_ONCE_SECONDS
    while turn() and time.monotonic() < until:
        continue
