"""How steps and runs come to rest or end: settled, parked, asleep, finished, failed, ended, dropped. Claims nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, Min, OuterRef, Q

from runs import bodies
from runs.definitions import Effect
from runs.engine import holds, noted, questions
from runs.engine.claimed import Nothing
from runs.engine.record import announce_run, event, let_go, move_run, move_step
from runs.models import (
    Attempt,
    AttemptState,
    Call,
    CallKind,
    CallState,
    Hold,
    Question,
    QuestionKind,
    QuestionState,
    Run,
    RunState,
    Step,
    StepState,
)
from runs.models.step import SETTLED_STEPS
from runs.signals import effect_left_open, question_asked, question_closed

NOT_NEEDED = "not needed any more"
UNDER_WAY = "its step ended while nobody knew how it would end"
LOOK_AGAIN = timedelta(seconds=10)
_log = logging.getLogger("opsconsole.endings")


@dataclass(slots=True)
class Closing:
    """The last acts of a transaction: the run saved, screens told, and people's questions, whose journal comes last."""

    run: Run
    asked: list[Question] = field(default_factory=list)
    withdrawn: list[Question] = field(default_factory=list)
    left_open: list[Call] = field(default_factory=list)

    def close(self) -> None:
        self.run.save()
        announce_run(self.run)
        for question in self.asked:
            question_asked.send(sender=Question, question=question)
        for question in self.withdrawn:
            question_closed.send(sender=Question, question=question)
        for call in self.left_open:
            effect_left_open.send(sender=Call, call=call)
        self.asked.clear()
        self.withdrawn.clear()
        self.left_open.clear()


def settle_step(run: Run, step: Step, output: Any, moment: datetime, *, by: str = "") -> None:
    """Record a step's one outcome."""
    step.output = bodies.store(output)
    step.answered_by = by
    _rest_step(step, StepState.DONE, moment)
    event(run, "step done", step=step, node=step.node, by=by)


def _rest_step(step: Step, state: StepState, moment: datetime) -> None:
    move_step(step, state)
    step.fence, step.due_at = 0, None
    step.finished_at = moment
    step.save()


def ask_at(closing: Closing, step: Step | None, asking: questions.Asking) -> None:
    """Ask a person. The step waits; the rest of the run need not."""
    closing.asked.append(questions.ask(closing.run, step, asking))
    if step is not None:
        move_step(step, StepState.WAITING)
        step.fence = 0
        step.save()


def sleep(step: Step, until: datetime) -> None:
    """Let a step sleep until a time."""
    move_step(step, StepState.SLEEPING)
    step.fence, step.due_at = 0, until
    step.save()


def let_step_go(step: Step) -> None:
    """Nobody performs it now, and whoever claims next may."""
    step.fence = 0
    step.save()


def end_step(closing: Closing, step: Step, state: StepState, reason: str, moment: datetime) -> None:
    """End one step as failed or ended. A task of a plan ends alone; any other takes its run with it."""
    run = closing.run
    leave_open(closing, [step.pk], moment)
    if step.parent_id is not None:
        _rest_step(step, state, moment)
        event(run, f"task {state}", step=step, node=step.node, reason=reason[:500])
        return
    _rest_step(step, state, moment)
    end_run(closing, RunState.FAILED if state == StepState.FAILED else RunState.ENDED, reason, moment)


def end_run(closing: Closing, state: RunState, reason: str, moment: datetime) -> Nothing:
    """Close the run as failed or ended; what was still open in it is dropped."""
    _close(closing, state, reason, moment)
    event(closing.run, str(state), reason=reason[:500])
    return Nothing(why="final")


def finish(closing: Closing, output: Any, moment: datetime) -> Nothing:
    """The run is done, and this is its output."""
    closing.run.output = bodies.store(output)
    _close(closing, RunState.DONE, "", moment)
    event(closing.run, "done")
    return Nothing(why="final")


def _close(closing: Closing, state: RunState, ending: str, moment: datetime) -> None:
    run = closing.run
    noted.at_the_end(run, moment)
    unsettled = run.steps.exclude(state__in=SETTLED_STEPS).values_list("pk", flat=True)
    drop(closing, list(unsettled), moment)
    withdraw(closing, run.questions.filter(step__isnull=True), moment)
    move_run(run, state)
    run.ending = ending
    run.finished_at = moment
    run.due_at = None
    let_go(run)


def drop(closing: Closing, steps: Iterable[int], moment: datetime) -> None:
    """End steps that are not needed any more, with their attempts and their open questions."""
    ids = list(steps)
    if not ids:
        return
    dropped = list(Step.objects.filter(pk__in=ids).order_by("seq"))
    for step in dropped:
        _rest_step(step, StepState.ENDED, moment)
        event(closing.run, "dropped", step=step, node=step.node, reason=NOT_NEEDED)
    open_attempts = (AttemptState.RUNNING, AttemptState.ASKED, AttemptState.CUT)
    Attempt.objects.filter(step__in=ids, state__in=open_attempts).update(
        state=AttemptState.VOIDED, finished_at=moment
    )
    withdraw(closing, Question.objects.filter(step__in=ids), moment)
    leave_open(closing, ids, moment)


def leave_open(closing: Closing, steps: list[int], moment: datetime) -> None:
    """Effects of steps that end without anybody knowing how these ended are unknown from now on, and on record as
    that. A worker that still comes back with an outcome may record it."""
    acts = ~Q(effect=Effect.NONE) | Q(egress=True)
    said = Question.objects.filter(
        step=OuterRef("step"), call_key=OuterRef("key"), kind=QuestionKind.UNKNOWN, answered_at__isnull=False
    ).exclude(state=QuestionState.WITHDRAWN)
    open_ones = Q(state=CallState.PERMITTED) | Q(state=CallState.UNKNOWN) & ~Exists(said)
    calls = Call.objects.filter(acts, open_ones, step__in=steps, kind=CallKind.TOOL)
    for call in calls.select_related("step").order_by("pk"):
        if call.state == CallState.PERMITTED:
            call.state, call.error, call.finished_at = CallState.UNKNOWN, UNDER_WAY, moment
            call.save(update_fields=["state", "error", "finished_at"])
        event(closing.run, "left open", step=call.step, call=call.pk, name=call.name, why=UNDER_WAY)
        closing.left_open.append(call)


def withdraw(closing: Closing, asked: Any, moment: datetime) -> None:
    """Withdraw the open ones of these questions: nobody needs an answer any more."""
    for question in asked.filter(state=QuestionState.OPEN).order_by("pk"):
        question.state = QuestionState.WITHDRAWN
        question.answer_text = NOT_NEEDED
        question.answered_at = moment
        question.save()
        event(closing.run, "withdrawn", step=question.step, question=question.pk)
        closing.withdrawn.append(question)


def rest(run: Run, moment: datetime) -> Nothing:
    """Where a run comes to rest when nothing more of it can be claimed now. The caller saves it."""
    unsettled = run.steps.exclude(state__in=SETTLED_STEPS)
    if _performed(run):
        return Nothing(why="others")
    if hold_back(run, moment):
        return Nothing(why="held")
    run.due_at = unsettled.filter(state=StepState.SLEEPING).aggregate(due=Min("due_at"))["due"]
    waits = run.questions.filter(state=QuestionState.OPEN).exists()
    if run.due_at is None and not waits:
        _log.error(
            "run %s has nothing to wait for", run.pk
        )  # a defect of ours: it must not be left like that
        run.due_at = moment + LOOK_AGAIN
    move_run(run, RunState.SLEEPING if run.due_at and not waits else RunState.WAITING)
    let_go(run)
    return Nothing(why="waits" if waits else "later")


def hold_back(run: Run, moment: datetime) -> bool:
    """Put a locked, leased run that a control covers back, marked, when nothing of it is performed any more."""
    if not covered(run):
        return False
    leave(run, moment)
    return True


def leave(run: Run, moment: datetime) -> Nothing:
    """Leave a run to whoever looks next, when nothing of it is performed any more."""
    if _performed(run):
        return Nothing(why="others")
    move_run(run, RunState.READY)
    run.due_at = moment
    let_go(run)
    return Nothing(why="later")


def _performed(run: Run) -> bool:
    return run.steps.filter(state=StepState.RUNNING, fence=run.fence).exists()


def covered(run: Run) -> bool:
    """Whether a control covers the run; marks it if nobody has yet."""
    controls = holds.covering(run_id=run.pk, workflow=run.workflow)
    if controls and run.hold == Hold.NONE:
        holds.hold(run, controls)
    return bool(controls) or run.hold != Hold.NONE
