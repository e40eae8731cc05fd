"""One tool call as an agent gets it: arguments checked, what is on record replayed, guards and approval asked, then
performed. Sends nothing itself: that is the gateway's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from runs import bodies
from runs.agents.door import ToolCall
from runs.canonical import canonical, plain
from runs.definitions import Approval, Tool
from runs.engine.again import Again
from runs.engine.claimed import Claimed
from runs.engine.outcomes import Park
from runs.engine.questions import Asking
from runs.engine.spend import permits
from runs.engine.tools.actions import Action, answered, check_arguments, wanted
from runs.engine.tools.doubted import after_doubt
from runs.engine.tools.gateway import in_time, perform
from runs.engine.watched import Watched, both
from runs.errors import DataError
from runs.models import Call, CallState, Question, QuestionKind, QuestionState, Verb


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
    except Exception as error:
        guards.watched.rejected(tool, action.given, error)
        raise
    guards.watched.returned(guards.agent, tool, action.given, canonical(answer))
    return answer


def _called(
    claimed: Claimed, action: Action, step_input: Any, words: str, guards: Guards | None
) -> Mapping[str, Any]:
    tool = action.tool
    known = permits.recorded(claimed, action.key)
    if known and known.state in (CallState.DONE, CallState.REFUSED) and known.response:
        return _marked(action, known, bodies.load(known.response))
    in_time(claimed)
    if known and tool.acts and known.state in (CallState.PERMITTED, CallState.UNKNOWN):
        return _marked(action, known, after_doubt(claimed, action, known, words))
    return _decide(claimed, action, step_input, words, guards)


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
    question = answered(claimed, action, QuestionKind.APPROVAL) if may_be_answered else None
    if question is None:
        approval = _guarded(action, approval, guards)
    if approval is None and question is None:
        return perform(claimed, action)
    if question is None:
        assert approval is not None
        raise Park(_approval_asking(claimed, action, approval, words))
    return _obey(claimed, action, question)


def _guarded(action: Action, approval: Approval | None, guards: Guards | None) -> Approval | None:
    """What is to be asked, by the tool's own rule and by the guards. Raises ReasoningError for what is not sent."""
    if guards is None:
        return approval
    guards.again.tool(action.tool.name, action.digest)
    guards.watched.calls(guards.agent, action.tool, action.given)
    return both(approval, guards.watched.tainted(guards.agent, action.tool, action.given, action.key))


def _obey(claimed: Claimed, action: Action, question: Question) -> Mapping[str, Any]:
    """Do what the person said about this action."""
    if question.state == QuestionState.ANSWERED and question.verb == Verb.APPROVE and question.answer:
        arguments = check_arguments(action.tool, question.answer["arguments"])
        approved = replace(action, arguments=arguments, question_id=question.pk)
        return _with_edit(action, plain(arguments), perform(claimed, approved))
    return _denied(claimed, action, question)


def _marked(action: Action, call: Call, answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """An answer on record, as the agent was told it the first time: a replay that says less would be a new question."""
    return _with_edit(action, bodies.load(call.request)["arguments"], answer)


def _with_edit(action: Action, sent: Any, answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Beside the answer, what a person made of the arguments that the agent gave."""
    return answer if sent == action.given else {**answer, "edited_by_operator": sent}


def _denied(claimed: Claimed, action: Action, question: Question) -> Mapping[str, Any]:
    kind = "answer" if question.verb == Verb.RESPOND else "denied"
    answer = {kind: question.answer_text, "done": False, "by": question.answered_by or "deadline"}
    permits.refuse(claimed, wanted(action), response=answer, why=question.answer_text)
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
