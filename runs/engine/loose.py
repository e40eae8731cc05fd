"""Questions about a run itself, not about a step: its definition is not here, a rule fails, it cannot be claimed."""

from __future__ import annotations

from datetime import datetime

from runs.engine import askings, questions
from runs.engine.claimed import Nothing
from runs.engine.endings import Closing, ask_at, end_run, rest
from runs.engine.record import move_run
from runs.models import QuestionState, Run, RunState, Verb


def ask(closing: Closing, asking: questions.Asking, moment: datetime) -> Nothing:
    """Ask about the run itself, not about a step of it. One that was denied before ends the run instead."""
    denied = denied_before(closing.run)
    if denied is not None:
        return end_run(closing, RunState.ENDED, denied, moment)
    if not closing.run.questions.filter(step__isnull=True, state=QuestionState.OPEN).exists():
        ask_at(closing, None, asking)
    return rest(closing.run, moment)


def denied_before(run: Run) -> str | None:
    """The reason for which the last question about the run itself was denied; None when it was not."""
    last = run.questions.filter(step__isnull=True).order_by("-pk").first()
    if last is None or (last.state != QuestionState.EXPIRED and last.verb != Verb.REJECT):
        return None
    return last.answer_text or "denied"


def missing(closing: Closing, reason: str, moment: datetime) -> Nothing:
    """What the run began with is not here any more (law L10)."""
    return ask(closing, askings.missing(closing.run, reason), moment)


def quarantine(closing: Closing, error: Exception, moment: datetime) -> Nothing:
    """Park a run that cannot be claimed as it is. It is looked at again when a person says so, or ended."""
    move_run(closing.run, RunState.RUNNING)
    return ask(closing, askings.undecided(closing.run, error), moment)
