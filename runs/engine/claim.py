"""Claiming: who works next on a run, under the gate and the run's row lock. Never performs anything."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Max

from runs import bodies, registry, routing
from runs.canonical import canonical, told
from runs.definitions import Agent, Node, Workflow
from runs.engine import failpoints, gate, holds, questions
from runs.engine.record import (
    announce_run,
    event,
    let_go,
    lock_run,
    move_attempt,
    move_run,
    move_step,
    now,
)
from runs.models import (
    Attempt,
    AttemptState,
    Hold,
    Question,
    QuestionKind,
    QuestionState,
    Run,
    RunState,
    Step,
    StepState,
    Verb,
)
from runs.signals import question_asked

_log = logging.getLogger("opsconsole.claim")
POISON_AFTER = 3  # a step that lost its worker so often is not claimed again without a person
MISSING_DEADLINE_SECONDS = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """One attempt to perform. Everything but the ids is a snapshot; the fence says whether it still counts."""

    run: Run
    workflow: Workflow
    node: Node
    step: Step
    attempt: Attempt
    fence: int
    worker: str
    seconds_left: float  # of the run's deadline, when it was claimed
    began: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """Seconds that are left of the run's deadline now; never below zero."""
        return max(0.0, self.seconds_left - (time.monotonic() - self.began))


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """Nothing to perform now, and why: waits, held, final, taken, later."""

    why: str


Next = Claimed | Nothing


def claim(run_id: int, *, worker: str) -> Next:
    """Take the lease of a due run and claim its next attempt. What nobody foresaw here asks a person."""
    try:
        claimed = _claim(run_id, worker)
    except (InterfaceError, OperationalError):
        raise  # nothing is wrong with the run: whoever looks next goes on
    except Exception as error:
        _log.exception("run %s cannot be claimed", run_id)
        return _quarantine(run_id, error)
    failpoints.hit("after_claim")
    return claimed


def _claim(run_id: int, worker: str) -> Next:
    with transaction.atomic():
        gate.shared()
        run = lock_run(run_id, skip_locked=True)
        moment = now()
        refused = _not_now(run, moment)
        if run is None or refused:
            return Nothing(why=refused)
        lost = run.state == RunState.RUNNING
        run.fence += 1
        run.claims_without_progress = run.claims_without_progress + 1 if lost else 0
        if lost:
            event(run, "worker lost", worker=run.lease_owner, fence=run.fence)
        return claim_next(run, worker=worker, moment=moment)


def _quarantine(run_id: int, error: Exception) -> Nothing:
    """Park a run that cannot be claimed as it is. It is looked at again when a person says so, or ended."""
    with transaction.atomic():
        gate.shared()
        run = lock_run(run_id, skip_locked=True)
        refused = _not_now(run, now())
        if run is None or refused:
            return Nothing(why=refused)
        move_run(run, RunState.RUNNING)
        asking = questions.Asking(
            kind=QuestionKind.ERROR,
            title=f"Run {run.pk} cannot go on: {told(error)}",
            reason="what comes next could not be decided",
            action={"error_class": "unforeseen", "error": told(error), "where": ""},
            group=f"{run.workflow} cannot go on",
            priority=70,
        )
        return _denied_before(run) or park_at(run, None, asking)


def _denied_before(run: Run) -> Nothing | None:
    """End a run whose loose question (one about no step) was denied; None when it was not."""
    last = run.questions.order_by("-pk").first()
    if last is None or last.step_id is not None:
        return None
    if last.state != QuestionState.EXPIRED and last.verb != Verb.REJECT:
        return None
    ended = end(run, None, last.answer_text or "denied", now())
    run.save()
    announce_run(run)
    return ended


def _not_now(run: Run | None, moment: datetime) -> str:
    if run is None:
        return "taken"
    if run.final:
        return "final"
    if run.due_at is None or run.due_at > moment:
        return "later" if run.due_at else "waits"
    if run.hold != Hold.NONE or holds.covering(run_id=run.pk, workflow=run.workflow):
        return "held"
    return ""


def claim_next(run: Run, *, worker: str, moment: datetime) -> Next:
    """Claim what comes next of a locked run that nothing holds. Saves the run; asks or ends it where it must."""
    run.lease_owner, run.lease_until = worker, moment + holds.lease()
    move_run(run, RunState.RUNNING)
    claimed = _choose(run, worker, moment)
    if isinstance(claimed, Claimed):
        run.due_at = run.lease_until
    run.save()
    announce_run(run)
    return claimed


def _choose(run: Run, worker: str, moment: datetime) -> Next:
    workflow = registry.workflow(run.workflow, run.version)
    step = run.steps.select_related("input").order_by("-seq").first()
    if workflow is None:
        return _missing(run, "the run keeps the version it started with, and that version is gone")
    if step is not None and step.node not in {node.name for node in workflow.nodes}:
        return _missing(
            run, f"its definition has changed under the same version: there is no node {step.node}"
        )
    if run.deadline_at <= moment:
        return fail(run, None, "The run's deadline has passed.", moment)
    if step is None or step.state == StepState.DONE:
        return _route(run, workflow, worker, moment)
    if step.state == StepState.WAITING:
        return _answered(run, workflow, step, worker, moment)
    if run.claims_without_progress > POISON_AFTER:
        return _poison(run, step)
    if step.state == StepState.SLEEPING:
        move_step(step, StepState.RUNNING)
        return _new_attempt(run, workflow, step, worker, moment, note=step.note)
    return _continue(run, workflow, step, worker, moment)


def _route(run: Run, workflow: Workflow, worker: str, moment: datetime) -> Next:
    history = [
        routing.Visited(node=step.node, output=bodies.load(step.output))
        for step in run.steps.select_related("output").order_by("seq")
        if step.output
    ]
    match routing.route(workflow, bodies.load(run.input), history):
        case routing.Finish(output=output):
            return _finish(run, output, moment)
        case routing.Go(visits=visits):
            return _visit(run, workflow, visits[0], worker, moment)


def _visit(run: Run, workflow: Workflow, visit: routing.Visit, worker: str, moment: datetime) -> Next:
    last = run.steps.aggregate(last=Max("seq"))["last"] or 0
    step = Step.objects.create(run=run, seq=last + 1, node=visit.node, input=bodies.store(visit.input))
    event(run, "step", step=step, node=step.node, seq=step.seq)
    return _new_attempt(run, workflow, step, worker, moment)


def _new_attempt(
    run: Run, workflow: Workflow, step: Step, worker: str, moment: datetime, *, note: str = ""
) -> Claimed:
    node = workflow.node(step.node)
    number = (step.attempts.aggregate(last=Max("number"))["last"] or 0) + 1
    agent = node.work.name if isinstance(node.work, Agent) else ""
    attempt = Attempt.objects.create(
        step=step, number=number, agent=agent, fence=run.fence, worker=worker, note=note
    )
    step.save()
    event(run, "attempt", step=step, number=number, agent=agent)
    return _claimed(run, workflow, step, attempt, worker, moment)


def _continue(run: Run, workflow: Workflow, step: Step, worker: str, moment: datetime) -> Claimed:
    """The same attempt goes on: after a lost worker, a cut, or an answer. Recorded calls are replayed."""
    attempt = step.attempts.order_by("-number").first()
    if attempt is None or attempt.state in (AttemptState.BROKEN, AttemptState.FAILED, AttemptState.DONE):
        return _new_attempt(run, workflow, step, worker, moment, note=step.note)
    move_attempt(attempt, AttemptState.RUNNING)
    attempt.fence, attempt.worker = run.fence, worker
    attempt.save()
    move_step(step, StepState.RUNNING)
    step.save()
    event(run, "went on", step=step, number=attempt.number)
    return _claimed(run, workflow, step, attempt, worker, moment)


def _claimed(
    run: Run, workflow: Workflow, step: Step, attempt: Attempt, worker: str, moment: datetime
) -> Claimed:
    return Claimed(
        run=run,
        workflow=workflow,
        node=workflow.node(step.node),
        step=step,
        attempt=attempt,
        fence=run.fence,
        worker=worker,
        seconds_left=(run.deadline_at - moment).total_seconds(),
    )


def _answered(run: Run, workflow: Workflow, step: Step, worker: str, moment: datetime) -> Next:
    """A person has answered, or the deadline has denied: what the step does with it."""
    question = step.questions.order_by("-pk").first()
    if question is None or question.state == QuestionState.OPEN:
        return _park(run)
    if question.kind in (QuestionKind.APPROVAL, QuestionKind.UNKNOWN):
        return _continue(run, workflow, step, worker, moment)
    if question.state != QuestionState.ANSWERED or question.verb == Verb.REJECT:
        return end(run, step, question.answer_text or "denied", moment)
    if question.kind == QuestionKind.CONTRACT and question.verb == Verb.APPROVE:
        return _person_output(run, workflow, step, question, worker, moment)
    run.claims_without_progress = 0
    move_step(step, StepState.RUNNING)
    return _new_attempt(run, workflow, step, worker, moment, note=question.answer_text)


def _person_output(
    run: Run, workflow: Workflow, step: Step, question: Question, worker: str, moment: datetime
) -> Next:
    """The value a person gave is the step's output; it meets the contract like any other."""
    value = (question.answer or {}).get("value")
    checked = workflow.node(step.node).gives.model_validate_json(canonical(value))
    settle_step(run, step, checked, moment, by=question.answered_by)
    return _route(run, workflow, worker, moment)


def settle_step(run: Run, step: Step, output: Any, moment: datetime, *, by: str = "") -> None:
    """Record a step's one outcome."""
    step.output = bodies.store(output)
    step.answered_by = by
    step.finished_at = moment
    move_step(step, StepState.DONE)
    step.save()
    event(run, "step done", step=step, node=step.node, by=by)


def _park(run: Run) -> Nothing:
    move_run(run, RunState.WAITING)
    run.due_at = None
    let_go(run)
    return Nothing(why="waits")


def park_at(run: Run, step: Step | None, asking: questions.Asking) -> Nothing:
    """Ask a person and park. Saves everything; the signal is the transaction's last act."""
    question = questions.ask(run, step, asking)
    if step is not None:
        move_step(step, StepState.WAITING)
        step.save()
    parked = _park(run)
    run.save()
    announce_run(run)
    question_asked.send(sender=Question, question=question)
    return parked


def _missing(run: Run, reason: str) -> Nothing:
    last = run.questions.filter(step=None).order_by("-pk").first()
    if last and (last.state == QuestionState.EXPIRED or last.verb == Verb.REJECT):
        return end(run, None, last.answer_text or "denied", now())
    asking = questions.Asking(
        kind=QuestionKind.MISSING,
        title=f"{run.workflow} v{run.version} is not installed as the run knows it",
        reason=reason,
        action={"workflow": run.workflow, "version": run.version},
        group=f"missing {run.workflow} v{run.version}",
        priority=70,
        deadline_seconds=MISSING_DEADLINE_SECONDS,
    )
    return park_at(run, None, asking)


def _poison(run: Run, step: Step) -> Nothing:
    asking = questions.Asking(
        kind=QuestionKind.ERROR,
        title=f"{step.node} lost its worker {POISON_AFTER} times",
        reason="the step was quarantined, so that it cannot take down another worker",
        action={"error_class": "unforeseen", "error": "worker lost", "where": step.node},
        group=f"worker lost at {step.node}",
        priority=70,
    )
    attempt = step.attempts.order_by("-number").first()
    if attempt and attempt.state == AttemptState.RUNNING:
        move_attempt(attempt, AttemptState.FAILED)
        attempt.error, attempt.error_class, attempt.finished_at = "worker lost", "unforeseen", now()
        attempt.save()
    return park_at(run, step, asking)


def _finish(run: Run, output: Any, moment: datetime) -> Nothing:
    run.output = bodies.store(output)
    _close(run, RunState.DONE, "", moment)
    event(run, "done")
    return Nothing(why="final")


def fail(run: Run, step: Step | None, reason: str, moment: datetime) -> Nothing:
    """End the run as failed, by policy or deadline. The caller saves the run."""
    if step is not None:
        move_step(step, StepState.FAILED)
        step.finished_at = moment
        step.save()
    _close(run, RunState.FAILED, reason, moment)
    event(run, "failed", reason=reason[:500])
    return Nothing(why="final")


def end(run: Run, step: Step | None, reason: str, moment: datetime) -> Nothing:
    """End the run because a person, or an expired question, said so. The caller saves the run."""
    if step is not None:
        move_step(step, StepState.ENDED)
        step.finished_at = moment
        step.save()
    _close(run, RunState.ENDED, reason, moment)
    event(run, "ended", reason=reason[:500])
    return Nothing(why="final")


def _close(run: Run, state: RunState, ending: str, moment: datetime) -> None:
    move_run(run, state)
    run.ending = ending
    run.finished_at = moment
    run.due_at = None
    let_go(run)


def hold_back(run: Run, moment: datetime) -> Nothing | None:
    """When a control covers a locked, leased run: put it back, marked. None when nothing covers it."""
    controls = holds.covering(run_id=run.pk, workflow=run.workflow)
    if not controls and run.hold == Hold.NONE:
        return None
    move_run(run, RunState.READY)
    run.due_at = moment
    let_go(run)
    if run.hold == Hold.NONE:
        holds.hold(run, controls[0], moment)
    return Nothing(why="held")


def later(run: Run, seconds: float, moment: datetime) -> Nothing:
    """Sleep until a time, but not past the run's deadline; the sweep finds the run when it is due."""
    move_run(run, RunState.SLEEPING)
    left = max(0.0, (run.deadline_at - moment).total_seconds())
    run.due_at = moment + timedelta(seconds=min(seconds, left))
    let_go(run)
    return Nothing(why="later")
