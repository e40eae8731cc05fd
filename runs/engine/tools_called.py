"""One tool call: arguments checked, approval sought, permitted, handed over, recorded. The effect gateway.

After a crash a call that was permitted and has no outcome may have happened. Then, in this order: the tool's own look
says so, or says that it did not; a repeatable tool is sent again with the same key; else a person is asked (law L4).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from pydantic import BaseModel, ValidationError

from runs import bodies
from runs.agents.door import ToolCall
from runs.canonical import SPARE, canonical, plain, tame, told
from runs.definitions import Approval, Tool
from runs.engine import answers, askings, failpoints, gate, looking, permits
from runs.engine.again import Again
from runs.engine.claimed import Claimed
from runs.engine.looking import DidNot, Happened, NotSure
from runs.engine.outcomes import Park, Refused
from runs.engine.questions import Asking
from runs.engine.record import now
from runs.engine.wanted import Result, Wanted
from runs.engine.watched import Watched, both
from runs.errors import DataError, ErrorClass, RecoverableError, StepError, broken, classify
from runs.models import Call, CallKind, CallState, Question, QuestionKind, QuestionState, Verb

LOOKED = "it did not happen, says the tool's own look"
SAID_LATE = "the worker that had sent it has said how it ended"
OVER = "the run's deadline has passed"
LATE_MS = 1000  # a worker is not given up sooner, so nobody can have been asked
RECORD_AGAIN_SECONDS = (0.0, 0.2, 0.5, 1.0)  # between tries to record what only this process knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What would happen, canonically: the tool and its validated arguments."""

    tool: Tool
    arguments: BaseModel
    key: str
    question_id: int | None = None

    @property
    def data(self) -> dict[str, Any]:
        return {
            "tool": self.tool.name,
            "arguments": plain(self.arguments),
            "sentence": plain(self.tool.sentence(self.arguments)),
        }

    @property
    def digest(self) -> str:
        return permits.approved_digest(self.tool.name, plain(self.arguments))


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """What watches an agent's tool calls: the guards that acquire nothing."""

    agent: str
    watched: Watched
    again: Again

    def checked(self, tool: Tool, raw: Mapping[str, Any]) -> BaseModel:
        """The arguments as the tool's contract, taken as they are. Raises ContractBroken, and the run is told."""
        try:
            arguments = check_arguments(tool, raw)
            self.watched.strictly(tool, plain(raw))
        except DataError as error:
            self.watched.breaks(tool.name, error)
            raise
        return arguments


def call(
    claimed: Claimed,
    tool: Tool,
    asked: ToolCall,
    step_input: Any,
    words: str,
    seen: Counter[str],
    guards: Guards | None = None,
) -> Mapping[str, Any]:
    """What the agent gets back for one tool call it asked for. Without `guards` nobody watches: a recording is played.

    Raises ContractBroken for arguments that do not meet the tool's contract, ReasoningError for an agent that goes
    round, Park when a person must answer first, Refused when a control or a lost fence forbids it, and what the tool
    raised.
    """
    arguments = guards.checked(tool, asked.arguments) if guards else check_arguments(tool, asked.arguments)
    action = Action(tool=tool, arguments=arguments, key=_key(claimed, tool, arguments, seen))
    if guards is None:
        return _called(claimed, action, step_input, words, None)
    try:
        answer = _called(claimed, action, step_input, words, guards)
    except StepError as error:
        guards.watched.rejected(tool, error)
        raise
    guards.watched.returned(guards.agent, tool.name, plain(arguments), canonical(answer))
    return answer


def _called(
    claimed: Claimed, action: Action, step_input: Any, words: str, guards: Guards | None
) -> Mapping[str, Any]:
    tool = action.tool
    known = permits.recorded(claimed, action.key)
    if known and known.state in (CallState.DONE, CallState.REFUSED) and known.response:
        return _marked(action, known, bodies.load(known.response))
    _in_time(claimed)
    if known and tool.acts and known.state in (CallState.PERMITTED, CallState.UNKNOWN):
        return _marked(action, known, _after_doubt(claimed, action, known, words))
    return _decide(claimed, action, step_input, words, guards)


def _in_time(claimed: Claimed) -> None:
    """Raise Refused when nothing is left of the run's deadline: nothing is sent any more, and nobody is asked."""
    if claimed.left() <= 0:
        raise Refused(OVER)


def check_arguments(tool: Tool, raw: Mapping[str, Any]) -> BaseModel:
    """The arguments as the tool's contract. Raises ContractBroken with the path of the wrong value."""
    try:
        arguments = tool.arguments.model_validate_json(canonical(raw, spare=SPARE))
        canonical(arguments)  # a contract may make of a text a number that JSON has not
    except ValidationError as error:
        raise broken(error, f"arguments of {tool.name}") from error
    except ValueError as error:
        raise DataError(f"arguments of {tool.name}: {told(error)}") from error
    return arguments


def _key(claimed: Claimed, tool: Tool, arguments: BaseModel, seen: Counter[str]) -> str:
    """The idempotency key: run, step, action, and how often this attempt asked for exactly this before."""
    mark = permits.approved_digest(tool.name, plain(arguments))[:24]
    seen[mark] += 1
    return f"run-{claimed.run.pk}-step-{claimed.step.seq}-{mark}-{seen[mark]}"


def _decide(
    claimed: Claimed, action: Action, step_input: Any, words: str, guards: Guards | None
) -> Mapping[str, Any]:
    """What is asked about it is asked before anything is acquired; an answer that is there holds for exactly this."""
    rule = action.tool.approval
    approval = rule(action.arguments, step_input) if action.tool.acts and rule else None
    may_be_answered = approval is not None or (action.tool.acts and claimed.attempt.history_id is not None)
    question = _question(claimed, action, QuestionKind.APPROVAL) if may_be_answered else None
    if question is None:
        approval = _guarded(action, approval, guards)
    if approval is None and question is None:
        return _perform(claimed, action)
    if question is None:
        assert approval is not None
        raise Park(_approval_asking(claimed, action, approval, words))
    return _obey(claimed, action, question)


def _guarded(action: Action, approval: Approval | None, guards: Guards | None) -> Approval | None:
    """What is to be asked, by the tool's own rule and by the guards. Raises ReasoningError for what is not sent."""
    if guards is None:
        return approval
    guards.again.tool(action.tool.name, action.digest)
    guards.watched.calls(guards.agent, action.tool, action.arguments)
    return both(approval, guards.watched.tainted(guards.agent, action.tool, action.arguments, action.key))


def _question(claimed: Claimed, action: Action, kind: QuestionKind) -> Question | None:
    return (
        Question.objects.filter(step_id=claimed.step.pk, call_key=action.key, kind=kind)
        .exclude(state__in=[QuestionState.OPEN, QuestionState.WITHDRAWN])
        .order_by("-pk")
        .first()
    )


def _obey(claimed: Claimed, action: Action, question: Question) -> Mapping[str, Any]:
    """Do what the person said about this action."""
    if question.state == QuestionState.ANSWERED and question.verb == Verb.APPROVE and question.answer:
        arguments = check_arguments(action.tool, question.answer["arguments"])
        approved = Action(tool=action.tool, arguments=arguments, key=action.key, question_id=question.pk)
        return _with_edit(action, plain(arguments), _perform(claimed, approved))
    return _denied(claimed, action, question)


def _marked(action: Action, call: Call, answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """An answer on record, as the agent was told it the first time: a replay that says less would be a new question."""
    return _with_edit(action, bodies.load(call.request)["arguments"], answer)


def _with_edit(action: Action, sent: Any, answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Beside the answer, what a person made of the arguments that the agent gave."""
    return answer if sent == plain(action.arguments) else {**answer, "edited_by_operator": sent}


def _denied(claimed: Claimed, action: Action, question: Question) -> Mapping[str, Any]:
    kind = "answer" if question.verb == Verb.RESPOND else "denied"
    answer = {kind: question.answer_text, "done": False, "by": question.answered_by or "deadline"}
    permits.refuse(claimed, _wanted(action), response=answer, why=question.answer_text)
    return answer


def _approval_asking(claimed: Claimed, action: Action, approval: Approval, words: str) -> Asking:
    data = action.data
    return Asking(
        kind=QuestionKind.APPROVAL,
        title=data["sentence"],
        reason=approval.reason,
        action=data,
        evidence=approval.evidence,
        words=words,
        tool=action.tool.name,
        effect=action.tool.effect_class,
        call_key=action.key,
        contract=action.tool.arguments.__name__,
        group=approval.group or f"{action.tool.name} needs approval",
        priority=approval.priority,
        deadline_seconds=min(approval.deadline_seconds, max(60.0, claimed.left())),
    )


def _wanted(action: Action) -> Wanted:
    return Wanted(
        kind=CallKind.TOOL,
        name=action.tool.name,
        key=action.key,
        request=action.data,
        effect=action.tool.effect_class,
        egress=action.tool.egress,
        digest=action.digest,
        question_id=action.question_id,
    )


@dataclass(slots=True, kw_only=True)
class Gateway:
    """The EffectGate a tool gets. One hand-over an action; see runs.definitions.EffectGate."""

    claimed: Claimed
    action: Action
    began: float
    call: Call | None = None
    handed: bool = False
    handed_at: datetime | None = None

    @property
    def key(self) -> str:
        return self.action.key

    @property
    def seconds_left(self) -> float:
        return self.claimed.left()

    def hand_over(self, send: Any) -> Any:
        """Permit and send while the gate is held by the session. Raises Refused; then nothing was sent."""
        if self.call is not None:
            raise DataError(f"{self.action.tool.name} handed over twice: one effect a call.")
        hold = int(settings.RUNS_GATE_HOLD_MS) / 1000
        with gate.held_by_session() as passage:
            taken = time.monotonic()
            self.call = permits.permit(self.claimed, _wanted(self.action))
            failpoints.hit("before_effect")
            left = hold - (time.monotonic() - taken)
            _in_time(self.claimed)
            if left <= 0:
                raise Refused(f"the permit took longer than {hold * 1000:.0f} ms; aborted unsent")
            if not gate.is_held():  # a stop could be engaged at this moment
                raise Refused("the connection that holds the gate is gone; aborted unsent")
            self.handed = True
            answer = send(left)
        self.handed_at = passage.left_at or now()
        return answer


def _perform(claimed: Claimed, action: Action) -> Mapping[str, Any]:
    began = time.monotonic()
    gateway = Gateway(claimed=claimed, action=action, began=began)
    if not action.tool.acts:
        gateway.call = permits.permit(claimed, _wanted(action))
    connection.close()
    try:
        answer = _answer(action.tool.perform(action.arguments, gateway))
    except Refused as refused:
        _abort(claimed, gateway, refused)
        raise
    except BaseException as error:  # SystemExit too: the effect may have happened
        return _went_wrong(claimed, gateway, error)
    if gateway.call is None:
        raise DataError(
            f"{action.tool.name} acts but never handed over: its author must call gate.hand_over."
        )
    failpoints.hit("after_effect_before_record")
    _record(claimed, gateway, CallState.DONE, response=answer)
    result: Mapping[str, Any] = answer
    return result


def _answer(given: object) -> Mapping[str, Any]:
    """What a tool answered, fit to be kept: the effect has happened, so nothing may fail because of it."""
    kept = tame(given)
    return kept if isinstance(kept, dict) else {"answer": kept}


def _abort(claimed: Claimed, gateway: Gateway, refused: Refused) -> None:
    if gateway.call is None or gateway.handed:
        return
    call = _record(claimed, gateway, CallState.REFUSED, error=refused.why)
    if call.state == CallState.UNKNOWN:  # others have given up waiting, and need not doubt any more
        _record(claimed, gateway, CallState.FAILED, error=refused.why)


def _went_wrong(claimed: Claimed, gateway: Gateway, error: BaseException) -> Mapping[str, Any]:
    """An error before the hand-over, or a DataError of the other side, means: it did not happen. Else: unknown."""
    if gateway.call is None:
        raise error
    action = gateway.action
    certain = not action.tool.acts or not gateway.handed or isinstance(error, DataError)
    text = told(error)
    if certain:
        _record(claimed, gateway, CallState.FAILED, error=text, error_class=classify(error))
        raise error
    call = _record(claimed, gateway, CallState.UNKNOWN, error=text, error_class=classify(error))
    sent = _as_sent(claimed, action, call)
    saw = looking.look(claimed, sent.tool, sent.arguments, call)
    if isinstance(saw, Happened):
        return _happened(claimed, call, saw)
    if isinstance(saw, DidNot):
        permits.record(claimed, call, Result(state=CallState.FAILED, error=f"{text}; {LOOKED}"))
    elif not action.tool.repeatable and not looking.worth_retrying(claimed, saw):
        raise Park(askings.unknown(sent.data, sent.tool, call, saw, words=""))
    # by the policy for recoverable errors, with its back-off and its end
    raise RecoverableError(f"{action.tool.name}: {text}") from error


def _record(
    claimed: Claimed,
    gateway: Gateway,
    state: CallState,
    *,
    response: Any = None,
    error: str = "",
    error_class: ErrorClass | None = None,
) -> Call:
    if gateway.call is None:
        raise LookupError("no call to record")
    latency = round((time.monotonic() - gateway.began) * 1000)
    result = Result(
        state=state,
        response=response,
        error=error,
        error_class=error_class,
        latency_ms=latency,
        handed_at=gateway.handed_at,
    )
    call = _recorded(claimed, gateway.call, result)
    if latency >= LATE_MS and call.state in (CallState.DONE, CallState.FAILED):
        _end_doubt(call)
    return call


def _end_doubt(call: Call) -> None:
    """A person may have been asked meanwhile what this process knew all the time."""
    asked = Question.objects.filter(
        step_id=call.step_id, call_key=call.key, kind=QuestionKind.UNKNOWN, state=QuestionState.OPEN
    )
    for question_id in asked.values_list("pk", flat=True):
        answers.withdraw(question_id, SAID_LATE)


def _recorded(claimed: Claimed, call: Call, result: Result) -> Call:
    """What only this process knows is not given up because a connection broke: it is said again on a fresh one."""
    for seconds in RECORD_AGAIN_SECONDS:
        try:
            return permits.record(claimed, call, result)
        except (InterfaceError, OperationalError):
            connection.close()
            time.sleep(seconds)
    return permits.record(claimed, call, result)


def _after_doubt(claimed: Claimed, action: Action, call: Call, words: str) -> Mapping[str, Any]:
    """An earlier sending has no certain outcome: obey a person, look, repeat where that is safe, or ask a person."""
    question = _question(claimed, action, QuestionKind.UNKNOWN)
    if question is not None and question.asked_at < call.permitted_at:
        question = None  # about the sending before
    if question is not None and question.verb != Verb.LOOK:
        return _obey_doubt(claimed, action, call, question)
    sent = _as_sent(claimed, action, call)
    saw = looking.look(claimed, sent.tool, sent.arguments, call, asked_by=question)
    match saw:
        case Happened():
            return _happened(claimed, call, saw)
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
    return _said_late(said) if said.state == CallState.DONE else _perform(claimed, sent)


def _said_late(call: Call) -> Mapping[str, Any]:
    assert call.response is not None, "what is done has a response"
    answer: Mapping[str, Any] = bodies.load(call.response)
    return answer


def _happened(claimed: Claimed, call: Call, saw: Happened) -> Mapping[str, Any]:
    permits.record(claimed, call, Result(state=CallState.DONE, response=saw.answer))
    return saw.answer


def _as_sent(claimed: Claimed, action: Action, call: Call) -> Action:
    """The action as it was permitted, which a person may have edited."""
    data = bodies.load(call.request)
    arguments = check_arguments(action.tool, data["arguments"])
    return Action(tool=action.tool, arguments=arguments, key=action.key, question_id=call.question_id)


def _obey_doubt(claimed: Claimed, action: Action, call: Call, question: Question) -> Mapping[str, Any]:
    who = question.answered_by or "deadline"
    if question.verb == Verb.APPROVE:
        permits.record(claimed, call, Result(state=CallState.FAILED, error=f"did not happen, says {who}"))
        sent = _as_sent(claimed, action, call)
        return _perform(
            claimed, Action(tool=sent.tool, arguments=sent.arguments, key=sent.key, question_id=question.pk)
        )
    if question.verb == Verb.RESPOND:
        answer = {"done": True, "recorded_by": who, "note": question.answer_text}
        permits.record(claimed, call, Result(state=CallState.DONE, response=answer))
        return answer
    denied = {"denied": question.answer_text, "done": None, "by": who}
    permits.refuse(
        claimed, _wanted(_as_sent(claimed, action, call)), response=denied, why=question.answer_text
    )
    return denied
