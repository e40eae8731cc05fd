"""Settling: the outcome recorded at most once by whoever holds the fence, and the next steps claimed with it.

One transaction: gate, run row, outcome, events, next claims, and the questions' signals as the very last act.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from runs import bodies
from runs.canonical import plain
from runs.definitions import Check
from runs.engine import bounds, breakers, failpoints, fanned, gate, noted, questions, straight, waits
from runs.engine.away import away
from runs.engine.choose import claim_next
from runs.engine.claimed import Claimed, Next, Nothing
from runs.engine.endings import (
    NOT_NEEDED,
    Closing,
    ask_at,
    covered,
    end_step,
    leave,
    let_step_go,
    rest,
    settle_step,
    sleep,
)
from runs.engine.found import GUARD, Found, because
from runs.engine.outcomes import Asked, Cut, Failed, Later, Lost, Outcome, Output
from runs.engine.record import announce_run, event, lock_run, move_attempt, now
from runs.errors import ErrorClass
from runs.limits.rows import Row
from runs.models import Attempt, AttemptState, Call, QuestionKind, QuestionState, Run, Step, StepState
from runs.models.step import SETTLED_STEPS
from runs.verdicts import Escalate, Stop, TryAgain, judge

_log = logging.getLogger("opsconsole.settle")
CUT_SECONDS = 1.0  # before a call that was cut, with no control in force any more, is tried again


def settle(claimed: Claimed, outcome: Outcome) -> Next:
    """Record how a claimed attempt ended; returns the next claims of the same run, if there are any.

    When what comes next cannot be claimed, the outcome is recorded all the same: claiming says why, and asks.
    """
    try:
        return (
            straight.hand_on(claimed, outcome)
            or fanned.hand_on(claimed, outcome)
            or _settled(claimed, outcome)
        )
    except Exception as error:
        if away(error):
            raise
        _log.exception("step %s is settled without what comes next", claimed.step.pk)
        return _settled(claimed, outcome, onward=False)


def _settled(claimed: Claimed, outcome: Outcome, *, onward: bool = True) -> Next:
    with transaction.atomic():
        gate.shared()
        run = lock_run(claimed.run.pk)
        if run is None:
            return Nothing(why="gone")
        if run.fence != claimed.fence or run.final:
            return _void(run, claimed, outcome)
        step = Step.objects.select_related("input").get(pk=claimed.step.pk)
        if isinstance(outcome, Lost) or step.state in SETTLED_STEPS or step.fence != claimed.fence:
            return _void(run, claimed, outcome, step=step)
        closing = Closing(run)
        settlement = _Settlement(closing=closing, claimed=claimed, moment=now(), onward=onward)
        claimed_next = settlement.apply(step, outcome)
        closing.close()
    failpoints.hit("after_commit_before_wake")
    return claimed_next


def _void(run: Run, claimed: Claimed, outcome: Outcome, *, step: Step | None = None) -> Nothing:
    """Too late: kept for the record, never applied (law L2). `step` where the run is still this worker's: then the step
    alone is not."""
    digest = bodies.store(outcome.value).digest if isinstance(outcome, Output) else ""
    event(
        run,
        "voided",
        step=claimed.step,
        fence=claimed.fence,
        present=run.fence,
        outcome=type(outcome).__name__.lower(),
        body=digest,
        why=_why_void(run, step, claimed, outcome),
    )
    run.save(update_fields=["event_seq"])
    announce_run(run)
    if step is None:
        return Nothing(why="final" if run.final else "taken")
    going = step.state not in SETTLED_STEPS and step.fence == claimed.fence
    return Nothing(why="lost" if going else "dropped")


def _why_void(run: Run, step: Step | None, claimed: Claimed, outcome: Outcome) -> str:
    if step is not None and step.state in SETTLED_STEPS:
        return NOT_NEEDED
    if isinstance(outcome, Lost):
        return outcome.why
    if step is not None and step.fence != claimed.fence:
        return "the step was given back"
    return f"the run is {run.state}" if run.final else "another worker holds this run"


@dataclass(slots=True, kw_only=True)
class _Settlement:
    """One attempt's outcome, applied to its step."""

    closing: Closing
    claimed: Claimed
    moment: datetime
    onward: bool = True  # whether what comes next is claimed with it

    @property
    def run(self) -> Run:
        return self.closing.run

    def apply(self, step: Step, outcome: Outcome) -> Next:
        attempt = Attempt.objects.get(pk=self.claimed.attempt.pk)
        step.losses = 0
        match outcome:
            case Output(value=value):
                self._done(step, attempt, value)
            case Asked():
                self._asked(step, attempt, outcome)
            case Failed():
                self._went_wrong(step, attempt, outcome)
            case Cut(why=why):
                self._cut(step, attempt, why)
            case Later(refusal=refusal):
                waits.wait(self.closing, step, attempt, refusal, claimed=self.claimed, moment=self.moment)
            case Lost():
                raise LookupError("a lost attempt is voided, not applied")
        return self._next(step)

    def _next(self, step: Step) -> Next:
        if self.run.final:
            return Nothing(why="final")
        if covered(self.run):
            return rest(self.run, self.moment)
        if not self.onward:
            return leave(self.run, self.moment)
        return claim_next(self.closing, worker=self.claimed.worker, moment=self.moment, settled=step)

    def _done(self, step: Step, attempt: Attempt, value: Any) -> None:
        move_attempt(attempt, AttemptState.DONE)
        attempt.finished_at = self.moment
        attempt.save()
        settle_step(self.run, step, value, self.moment)
        plans = noted.plan(self.run, self.claimed.workflow, step, value, self.moment)
        noted.write(self.run, plans, step=step)
        failpoints.hit("mid_settle")

    def _asked(self, step: Step, attempt: Attempt, asked: Asked) -> None:
        move_attempt(attempt, AttemptState.ASKED)
        attempt.history = bodies.store(plain(list(asked.history))) if asked.history else None
        attempt.save()
        ask_at(self.closing, step, asked.asking)

    def _cut(self, step: Step, attempt: Attempt, why: str) -> None:
        """Cut by a control: the same attempt goes on when the run is resumed."""
        move_attempt(attempt, AttemptState.CUT)
        attempt.save()
        event(self.run, "cut", step=step, number=attempt.number, why=why)
        if covered(self.run):
            let_step_go(step)
        else:
            sleep(step, self.moment + timedelta(seconds=CUT_SECONDS))

    def _went_wrong(self, step: Step, attempt: Attempt, failed: Failed) -> None:
        failure = failed.failure
        tries = step.attempts.filter(error_class=failure.error_class).count()
        _close_attempt(attempt, failed, self.moment)
        if failed.blamed is not None:
            Call.objects.filter(pk=failed.blamed).update(replayable=False)
            breakers.blamed(failed.blamed)
        event(
            self.run,
            "attempt failed",
            step=step,
            number=attempt.number,
            error_class=failure.error_class,
            error=failure.message[:500],
            where=failure.where,
            person=failure.person,
        )
        left, limit = bounds.retries_left(self.run, self.claimed.workflow, self.moment)
        policy, jitter = self.claimed.node.errors, random.random()
        verdict = judge(policy, failure, tries=tries, budget_left=left, jitter=jitter)
        if left <= 0:
            otherwise = judge(policy, failure, tries=tries, budget_left=1, jitter=jitter)
            if isinstance(otherwise, TryAgain):
                self._out_of_retries(step, limit)
        match verdict:
            case TryAgain():
                self._again(step, attempt, verdict)
            case Escalate():
                ask_at(self.closing, step, _asking(self.run, step, failed, verdict))
            case Stop(reason=reason):
                end_step(self.closing, step, StepState.FAILED, reason, self.moment)

    def _out_of_retries(self, step: Step, limit: Row | None) -> None:
        budget = self.claimed.workflow.retry_budget
        which = because(limit) if limit else f"the {budget} that its definition allows"
        says = f"No retry is left: the run has made {self.run.retries} of {which}."
        found = Found(
            guard="retries",
            scope=f"workflow {self.run.workflow}",
            says=says,
            row=limit,
            cap=budget,
            value=self.run.retries,
        )
        event(self.run, GUARD, step=step, **found.data)

    def _again(self, step: Step, attempt: Attempt, verdict: TryAgain) -> None:
        """Another attempt after a while. Without a new note the next is told what this one was told; somebody
        else begins afresh."""
        self.run.retries += 1
        noted.write(self.run, noted.retries(self.run, self.claimed.workflow, self.moment), step=step)
        afresh = verdict.by is not None and not verdict.by.startswith("model:")
        step.note = "" if afresh else verdict.note or attempt.note
        step.by = attempt.by if verdict.by is None else verdict.by
        ends_by, _ = bounds.deadline(self.run, self.claimed.workflow, self.moment)
        left = max(0.0, (ends_by - self.moment).total_seconds())
        sleep(step, self.moment + timedelta(seconds=min(verdict.after_seconds, left)))


def _came_back(step: Step, message: str) -> tuple[Check, ...]:
    """Said on the card when people have let this very error be tried again before."""
    same = step.attempts.filter(error=message).count() - 1
    asked = step.questions.filter(kind=QuestionKind.ERROR, state=QuestionState.ANSWERED).count()
    if not same or not asked:
        return ()
    details = (("tried again by people", str(asked)), ("attempts with this error", str(same + 1)))
    return (Check(ok=False, title="Trying again has changed nothing", details=details),)


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
        evidence=_came_back(step, failure.message),
        title=f"{step.node}: {failure.message}",
        reason=f"{step.node} met {verdict.reason}",
        action={"error_class": failure.error_class, "error": failure.message, "where": failure.where},
        words=failed.words,
        group=f"{failure.error_class} error: {step.node}",
        priority=verdict.priority,
        deadline_seconds=verdict.deadline_seconds,
    )
