"""Settling: the outcome recorded at most once by whoever holds the fence, and the next step claimed with it.

One transaction: gate, run row, outcome, events, next claim, and a question's signal as the very last act.
"""

from __future__ import annotations

import random
from datetime import datetime
from typing import Any

from django.db import transaction

from runs import bodies
from runs.engine import failpoints, gate, questions
from runs.engine.claim import (
    Claimed,
    Next,
    Nothing,
    claim_next,
    fail,
    hold_back,
    later,
    park_at,
    settle_step,
)
from runs.engine.outcomes import Asked, Cut, Failed, Lost, Outcome, Output
from runs.engine.record import announce_run, event, lock_run, move_attempt, move_step, now
from runs.errors import ErrorClass
from runs.models import Attempt, AttemptState, Call, QuestionKind, Run, Step, StepState
from runs.verdicts import Escalate, Stop, TryAgain, judge


def settle(claimed: Claimed, outcome: Outcome) -> Next:
    """Record how a claimed attempt ended; returns the next claim of the same run, if there is one."""
    with transaction.atomic():
        gate.shared()
        run = lock_run(claimed.run.pk)
        if run is None:
            return Nothing(why="gone")
        if isinstance(outcome, Lost) or run.fence != claimed.fence:
            return _void(run, claimed, outcome)
        claimed_next = _apply(run, claimed, outcome)
    failpoints.hit("after_commit_before_wake")
    return claimed_next


def _void(run: Run, claimed: Claimed, outcome: Outcome) -> Nothing:
    """Too late: kept for the record, never applied (law L2)."""
    digest = bodies.store(outcome.value).digest if isinstance(outcome, Output) else ""
    event(
        run,
        "voided",
        step=claimed.step,
        fence=claimed.fence,
        present=run.fence,
        outcome=type(outcome).__name__.lower(),
        body=digest,
        why=outcome.why if isinstance(outcome, Lost) else "another worker holds this run",
    )
    run.save(update_fields=["event_seq"])
    announce_run(run)
    return Nothing(why="taken")


def _apply(run: Run, claimed: Claimed, outcome: Outcome) -> Next:
    moment = now()
    run.claims_without_progress = 0
    step = Step.objects.select_related("input").get(pk=claimed.step.pk)
    attempt = Attempt.objects.get(pk=claimed.attempt.pk)
    match outcome:
        case Output(value=value):
            result = _done(run, step, attempt, value, claimed, moment)
        case Asked(asking=asking):
            result = _asked(run, step, attempt, asking)
        case Failed():
            result = _went_wrong(run, step, attempt, claimed, outcome, moment)
        case Cut(why=why):
            result = _cut(run, step, attempt, why, moment)
        case Lost():
            raise LookupError("a lost attempt is voided, not applied")
    return result


def _done(run: Run, step: Step, attempt: Attempt, value: Any, claimed: Claimed, moment: datetime) -> Next:
    move_attempt(attempt, AttemptState.DONE)
    attempt.finished_at = moment
    attempt.save()
    settle_step(run, step, value, moment)
    failpoints.hit("mid_settle")
    held = hold_back(run, moment)
    if held is not None:
        return _save(run, held)
    return claim_next(run, worker=claimed.worker, moment=moment)


def _save(run: Run, result: Nothing) -> Nothing:
    run.save()
    announce_run(run)
    return result


def _asked(run: Run, step: Step, attempt: Attempt, asking: questions.Asking) -> Nothing:
    move_attempt(attempt, AttemptState.ASKED)
    attempt.save()
    return park_at(run, step, asking)


def _cut(run: Run, step: Step, attempt: Attempt, why: str, moment: datetime) -> Nothing:
    """Cut by a control: the same attempt goes on when the run is resumed."""
    move_attempt(attempt, AttemptState.CUT)
    attempt.save()
    event(run, "cut", step=step, number=attempt.number, why=why)
    held = hold_back(run, moment)
    return _save(run, held if held is not None else later(run, 0.0, moment))


def _went_wrong(
    run: Run, step: Step, attempt: Attempt, claimed: Claimed, failed: Failed, moment: datetime
) -> Nothing:
    failure = failed.failure
    tries = step.attempts.filter(error_class=failure.error_class).count()
    _close_attempt(attempt, failed, moment)
    if failed.blamed is not None:
        Call.objects.filter(pk=failed.blamed).update(replayable=False)
    event(
        run,
        "attempt failed",
        step=step,
        number=attempt.number,
        error_class=failure.error_class,
        error=failure.message[:500],
        where=failure.where,
    )
    verdict = judge(
        claimed.node.errors,
        failure,
        tries=tries,
        budget_left=claimed.workflow.retry_budget - run.retries,
        jitter=random.random(),
    )
    match verdict:
        case TryAgain(after_seconds=seconds, note=note):
            return _save(run, _again(run, step, attempt, seconds, note, moment))
        case Escalate():
            return park_at(run, step, _asking(run, step, failed, verdict))
        case Stop(reason=reason):
            return _save(run, fail(run, step, reason, moment))


def _close_attempt(attempt: Attempt, failed: Failed, moment: datetime) -> None:
    is_broken = failed.failure.error_class == ErrorClass.DATA
    move_attempt(attempt, AttemptState.BROKEN if is_broken else AttemptState.FAILED)
    attempt.error_class = failed.failure.error_class
    attempt.error = failed.failure.message
    attempt.error_where = failed.failure.where[:200]
    attempt.finished_at = moment
    if failed.rejected is not None:
        attempt.rejected_output = bodies.store(failed.rejected)
    attempt.save()


def _again(run: Run, step: Step, attempt: Attempt, seconds: float, note: str, moment: datetime) -> Nothing:
    """Another attempt after a while. Without a new note the next is told what this one was told."""
    run.retries += 1
    step.note = note or attempt.note
    move_step(step, StepState.SLEEPING)
    step.save()
    return later(run, seconds, moment)


def _asking(run: Run, step: Step, failed: Failed, verdict: Escalate) -> questions.Asking:
    failure = failed.failure
    if failed.rejected is not None and failure.error_class == ErrorClass.DATA:
        return questions.Asking(
            kind=QuestionKind.CONTRACT,
            title=failure.message,
            reason=f"{step.node} gave what its contract does not allow: {verdict.reason}",
            action={
                "contract": step.node,
                "value": failed.rejected,
                "where": failure.where,
                "error": failure.message,
            },
            words=failed.words,
            contract=step.node,
            group=f"Contract broken: {step.node}",
            priority=verdict.priority,
            deadline_seconds=verdict.deadline_seconds,
        )
    return questions.Asking(
        kind=QuestionKind.ERROR,
        title=f"{step.node}: {failure.message}",
        reason=f"{step.node} met {verdict.reason}",
        action={"error_class": failure.error_class, "error": failure.message, "where": failure.where},
        words=failed.words,
        group=f"{failure.error_class} error: {step.node}",
        priority=verdict.priority,
        deadline_seconds=verdict.deadline_seconds,
    )
