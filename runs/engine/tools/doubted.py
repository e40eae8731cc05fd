"""An earlier sending of an effect without a certain outcome: after a crash it may have happened.

In this order: the tool's own look says so, or says that it did not; a repeatable tool is sent again with the same key;
else a person is asked (law L4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from runs import bodies
from runs.engine import askings
from runs.engine.claimed import Claimed
from runs.engine.outcomes import Park
from runs.engine.spend import permits
from runs.engine.spend.wanted import Result
from runs.engine.tools import looking
from runs.engine.tools.actions import Action, answered, as_sent, wanted
from runs.engine.tools.gateway import LOOKED, happened, perform
from runs.engine.tools.looking import DidNot, Happened, NotSure
from runs.errors import RecoverableError
from runs.models import Call, CallState, Question, QuestionKind, Verb


def after_doubt(claimed: Claimed, action: Action, call: Call, words: str) -> Mapping[str, Any]:
    """An earlier sending has no certain outcome: obey a person, look, repeat where that is safe, or ask a person."""
    question = answered(claimed, action, QuestionKind.UNKNOWN)
    if question is not None and question.asked_at < call.permitted_at:
        question = None  # about the sending before
    if question is not None and question.verb != Verb.LOOK:
        return _obey_doubt(claimed, action, call, question)
    sent = as_sent(action, call)
    saw = looking.look(claimed, sent.tool, sent.arguments, call, asked_by=question)
    match saw:
        case Happened():
            return happened(claimed, call, saw)
        case DidNot():
            return _sent_again(claimed, sent, call, f"{LOOKED}; sent again")
        case NotSure() if sent.tool.repeatable:
            return _sent_again(claimed, sent, call, "no outcome recorded; sent again")
        case NotSure() if question is None and looking.worth_retrying(claimed, saw):
            raise RecoverableError(f"{sent.tool.name}: {saw.seen}") from saw.error
    if call.state == CallState.PERMITTED:
        doubt = Result(state=CallState.UNKNOWN, error="worker lost before the outcome")
        said = permits.record(claimed, call, doubt)
        if said.state == CallState.DONE:
            return _said_late(said)
    raise Park(askings.unknown(sent.data, sent.tool, call, saw, words))


def _sent_again(claimed: Claimed, sent: Action, call: Call, why: str) -> Mapping[str, Any]:
    """Send it again, unless the worker that had sent it has come back meanwhile and said how it ended."""
    said = permits.record(claimed, call, Result(state=CallState.FAILED, error=why))
    return _said_late(said) if said.state == CallState.DONE else perform(claimed, sent)


def _said_late(call: Call) -> Mapping[str, Any]:
    assert call.response is not None, "what is done has a response"
    answer: Mapping[str, Any] = bodies.load(call.response)
    return answer


def _obey_doubt(claimed: Claimed, action: Action, call: Call, question: Question) -> Mapping[str, Any]:
    who = question.answered_by or "deadline"
    if question.verb == Verb.APPROVE:
        permits.record(claimed, call, Result(state=CallState.FAILED, error=f"did not happen, says {who}"))
        return perform(claimed, replace(as_sent(action, call), question_id=question.pk))
    if question.verb == Verb.RESPOND:
        answer = {"done": True, "recorded_by": who, "note": question.answer_text}
        permits.record(claimed, call, Result(state=CallState.DONE, response=answer))
        return answer
    denied = {"denied": question.answer_text, "done": None, "by": who}
    permits.refuse(claimed, wanted(as_sent(action, call)), response=denied, why=question.answer_text)
    return denied
