"""A step that waits for a guard without a person: written down, asleep until the next look, shown on the run.

It holds no worker, thread, connection, money or probe meanwhile, and spends no retry. Who waits for a rate or for calls
at once keeps its place by `since` (`runs_reserve` says who goes first).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from runs.definitions import Agent, Fallback
from runs.engine import bounds, refusals
from runs.engine.claimed import Claimed
from runs.engine.endings import Closing, ask_at, let_step_go, sleep
from runs.engine.questions import Asking
from runs.engine.record import event, move_attempt
from runs.engine.refusals import Refusal
from runs.errors import ErrorClass
from runs.guards.breaking import Passing, Standing, admits
from runs.models import Attempt, AttemptState, Breaker, BreakerState, QuestionKind, Run, Step, Wait
from runs.models.run import Hold
from runs.policies import links

LEAST = timedelta(milliseconds=20)
DEADLINE_SECONDS = 3600.0


def wait(
    closing: Closing, step: Step, attempt: Attempt, refusal: Refusal, *, claimed: Claimed, moment: datetime
) -> None:
    """Let the step sleep until the guard may have room; go on with a fallback model where the definition names one and
    the breaker of the first is open; ask a person when the run's deadline would pass meanwhile."""
    until = max(refusal.until or moment, moment + LEAST)
    by = _fallback(step, attempt, refusal, claimed) if refusal.breaker is not None else None
    if by is not None and bounds.retries_left(closing.run, claimed.workflow, moment)[0] > 0:
        _go_by(closing.run, step, attempt, by, refusal, moment)
        return
    if until >= bounds.deadline(closing.run, claimed.workflow, moment)[0] and closing.run.hold == Hold.NONE:
        Wait.objects.filter(step=step).delete()
        _fail(attempt, refusal, moment)
        event(closing.run, "guard", step=step, **refusal.data)
        ask_at(closing, step, _too_long(step, refusal, claimed))
        return
    move_attempt(attempt, AttemptState.CUT)
    attempt.save()
    if closing.run.hold != Hold.NONE:
        let_step_go(step)
        return
    _write(closing.run, step, refusal, claimed, until)
    sleep(step, until)


def _write(run: Run, step: Step, refusal: Refusal, claimed: Claimed, until: datetime) -> None:
    """Its place in the queue, which it keeps when it comes to wait for another guard. Said once for each guard it waits
    for, not at each look."""
    says = refusals.waiting_words(refusal)
    known = Wait.objects.filter(step=step).first()
    if known is not None and (known.account_id, known.breaker_id) == (refusal.account, refusal.breaker):
        Wait.objects.filter(step=step).update(until=until, need=refusal.need, says=says)
        return
    place = {} if known is None else {"since": known.since}
    Wait.objects.filter(step=step).delete()
    Wait.objects.create(
        step=step,
        run=run,
        team=claimed.workflow.team,
        guard=refusal.guard,
        account_id=refusal.account,
        breaker_id=refusal.breaker,
        need=refusal.need,
        until=until,
        says=says,
        **place,
    )
    event(run, "waits", step=step, **{**refusal.data, "until": until.isoformat(), "says": says})


def _fallback(step: Step, attempt: Attempt, refusal: Refusal, claimed: Claimed) -> str | None:
    """Another model of the definition's own chain whose breaker is closed; None: there is none, or it is not the
    step's own agent that asks the refused one."""
    if refusal.scope_kind != "model" or refusal.scope != _model(claimed):
        return None
    named = [
        model
        for link in links(claimed.node.errors.recoverable)
        if isinstance(link, Fallback)
        for model in link.models
    ]
    tried = set(step.attempts.exclude(by="").values_list("by", flat=True)) | {attempt.by}
    closed = [model for model in named if f"model:{model}" not in tried and _passes(model)]
    return f"model:{closed[0]}" if closed else None


def _model(claimed: Claimed) -> str:
    """Whom the step's own agent asks; empty for a function."""
    work = claimed.work
    return claimed.stand_in.model or (work.model if isinstance(work, Agent) else "")


def _passes(model: str) -> bool:
    breaker = Breaker.objects.filter(kind="model", name=model).first()
    standing = (
        Standing(state=breaker.state, forced=breaker.forced)
        if breaker
        else Standing(state=BreakerState.CLOSED)
    )
    return admits(standing) is Passing.PASSES


def _go_by(run: Run, step: Step, attempt: Attempt, by: str, refusal: Refusal, moment: datetime) -> None:
    """The attempt ends here, and the next is made by a fallback model: one of the run's retries."""
    _fail(attempt, refusal, moment)
    run.retries += 1
    step.by, step.note = by, attempt.note
    event(
        run, "guard", step=step, **{**refusal.data, "says": f"{refusal.says}. Another model goes on: {by}."}
    )
    sleep(step, moment + LEAST)


def _fail(attempt: Attempt, refusal: Refusal, moment: datetime) -> None:
    move_attempt(attempt, AttemptState.FAILED)
    attempt.error_class, attempt.error = ErrorClass.RECOVERABLE, refusal.says
    attempt.finished_at = moment
    attempt.save()


def _too_long(step: Step, refusal: Refusal, claimed: Claimed) -> Asking:
    return Asking(
        kind=QuestionKind.ERROR,
        title=f"{step.node}: {refusal.says}",
        reason=f"{step.node} would have to wait for it beyond the run's deadline",
        action={"error_class": "recoverable", "error": refusal.says, "where": refusal.guard},
        group=f"Waits too long: {refusal.what} of {refusal.scope_words}",
        priority=refusals.PRIORITY,
        deadline_seconds=min(DEADLINE_SECONDS, max(60.0, claimed.left())),
    )
