"""What happens to a question that nobody answers in time, in words. Writes nothing.

The sentences must be true of `runs.engine` (answers.expire and what a claim makes of it); tests hold each to it.
No question is asked for longer than its run has left: where its run's deadline comes first, the run ends with it. When
people limit the run's wall time later, a sweep brings its open questions forward (`runs.engine.shortened`).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

from escalations.models import EscalationState
from runs.engine import bounds
from runs.models import Question, QuestionKind
from runs.moments import told

AT_ONCE = timedelta(seconds=1)  # with less than that left, a run is over before anybody looks at it
SHORTLY = timedelta(minutes=1)


def deadline(question: Question, state: str = EscalationState.OPEN) -> str:
    """What happens when nobody answers in time, or what has happened. Follows "If nobody answers by 14:50:00 UTC:"."""
    denied = _denied(question, state == EscalationState.EXPIRED)
    if question.kind != QuestionKind.LIMIT or state == EscalationState.EXPIRED:
        return denied
    return f"{denied} With room before then, it goes on by itself."


def _denied(question: Question, expired: bool) -> str:
    ends_by = bounds.ends_by(question.run, timezone.now())
    left = ends_by - question.expires_at
    if left <= AT_ONCE:
        return _with_the_run(question, ends_by, expired)
    match question.kind:
        case QuestionKind.APPROVAL:
            if expired:
                return "Nothing was sent; the agent was told that nobody answered in time."
            return (
                "Nothing is sent; the agent is told “expired: nobody answered in time” and the run goes on"
                f"{_for_a_while(left)}."
            )
        case QuestionKind.UNKNOWN:
            if expired:
                return "It was not repeated; whether it happened is still not known."
            return "It is not repeated; whether it happened stays unknown, and the agent is told so."
        case QuestionKind.CONTRACT | QuestionKind.CLAIMS:
            ending = _ending(question, expired)
            return f"{_nothing(question, expired)}; {ending[:1].lower()}{ending[1:]}"
        case _:
            return _ending(question, expired)


def _no_answer(ends_by: datetime) -> str:
    return f"Its own deadline is {told(ends_by)} UTC, and no answer after that lets it go on."


def _with_the_run(question: Question, ends_by: datetime, expired: bool) -> str:
    """The run has nothing left by then: whatever a step's question is about, the run fails."""
    if question.step is None:  # denied before anybody looks at the clock
        ending = _ending(question, expired)
        return ending if expired else f"{ending} {_no_answer(ends_by)}"
    nothing = _nothing(question, expired)
    if expired:
        ends = "the run failed, because its own deadline had passed."
    else:
        ends = f"the run fails: i{_no_answer(ends_by)[1:]}"
    return f"{nothing}; {ends}" if nothing else f"{ends[:1].upper()}{ends[1:]}"


def _nothing(question: Question, expired: bool) -> str:
    """What does not happen."""
    match question.kind:
        case QuestionKind.APPROVAL:
            return "Nothing was sent" if expired else "Nothing is sent"
        case QuestionKind.UNKNOWN:
            return "It was not repeated" if expired else "It is not repeated"
        case QuestionKind.CONTRACT:
            return f"The broken value {'was' if expired else 'is'} not handed on"
        case QuestionKind.CLAIMS:
            return f"The claims {'were' if expired else 'are'} not handed on, none of them"
        case _:
            return ""


def _for_a_while(left: timedelta) -> str:
    return f", with {int(left.total_seconds())} s left before its own deadline" if left < SHORTLY else ""


def _ending(question: Question, expired: bool) -> str:
    """What ends when a question is denied: the run, or one task of a plan."""
    ends = "ended" if expired else "ends"
    if question.step is None:
        return f"The run {ends}."
    if question.step.parent_id is None:
        return f"The run {ends} at {question.step.node}."
    go_on = "went on" if expired else "go on"
    return f"This task {ends} at {question.step.node}; the others {go_on} where the join allows it."
