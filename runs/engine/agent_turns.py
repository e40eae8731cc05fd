"""The loop of an agent's attempt: ask the model, do the calls it asks for, until it answers. Routes nothing.

Nothing is kept in memory over a wait: the conversation is rebuilt by replaying the calls on record, and compared
with what was stored when it parked. A delegate's loop runs inside its asker's, through the same gates.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pydantic import BaseModel

from runs import bodies
from runs.agents.door import Message, ModelReply, ModelRequest, ToolCall
from runs.canonical import canonical, plain
from runs.definitions import Agent, Delegate, Tool
from runs.engine import bounds, contracts, models_asked, noted, offers
from runs.engine.again import Again
from runs.engine.claimed import Claimed
from runs.engine.found import Found, because, tell
from runs.engine.fullness import Counted, Fullness, is_summary
from runs.engine.outcomes import Asked, Blamed, Outcome, Output, Park, failed
from runs.engine.tools import calling
from runs.engine.watched import Watched
from runs.engine.worker.flights import Flight
from runs.errors import ContractBroken, ReasoningError, RecoverableError, StepError
from runs.guards.caps import crosses, over
from runs.guards.findings import Guard
from runs.limits.rows import Row
from runs.models import Call
from runs.schemas import schema_of

DEEPEST_DELEGATION = 3  # an agent that asks an agent that asks an agent
DELEGATION = "delegation"  # the guard of how deep agents may ask each other
MOST_DELEGATED = 64  # turns of all delegates in one attempt together: turns inside turns multiply


class ConversationChanged(Exception):
    """What was rebuilt is not what was parked: the definition has changed under the same version."""


def perform(claimed: Claimed, flight: Flight, agent: Agent, given: BaseModel) -> Outcome:
    """How an agent's attempt ended. Raises what no policy blames on a reply."""
    watched = Watched(claimed=claimed, agent=agent)
    attempt = _Attempt(claimed=claimed, flight=flight, given=given, parked=_parked(claimed), watched=watched)
    model = claimed.stand_in.model or agent.model
    turns = _Turns(attempt=attempt, agent=agent, model=model, gives=claimed.node.gives)
    turns.messages.append(Message(role="user", text=canonical(given)))
    if claimed.attempt.note:
        turns.messages.append(Message(role="user", text=claimed.attempt.note))
    try:
        value = turns.answer(lambda value: contracts.accepted(claimed, value))
        watched.done(given, value)
        return Output(value=value)
    except Park as park:
        return Asked(asking=park.asking, history=attempt.history())
    except Blamed as blamed:
        return failed(blamed.error, blamed=blamed.call, rejected=blamed.rejected, words=blamed.words)


def answer(
    claimed: Claimed,
    flight: Flight,
    agent: Agent,
    given: BaseModel,
    gives: type[BaseModel],
    accepted: Callable[[BaseModel], None],
) -> Outcome:
    """What an agent answers in the middle of a step, by a contract that is not the node's. Raises as `perform` does.

    `accepted` raises ContractBroken for an answer that is not one to this question.
    """
    watched = Watched(claimed=claimed, agent=agent)
    attempt = _Attempt(claimed=claimed, flight=flight, given=given, parked=[], watched=watched)
    model = claimed.stand_in.model or agent.model
    turns = _Turns(attempt=attempt, agent=agent, model=model, gives=gives)
    turns.messages.append(Message(role="user", text=canonical(given)))
    if claimed.attempt.note and not claimed.stand_in.refused:
        turns.messages.append(Message(role="user", text=claimed.attempt.note))

    def checked(value: Any) -> BaseModel:
        with contracts.telling(claimed, f"agent {agent.name}"):
            found = contracts.as_contract(gives, value)
            accepted(found)
        return found

    try:
        return Output(value=turns.answer(checked))
    except Park as park:
        return Asked(asking=park.asking)
    except Blamed as blamed:
        return failed(blamed.error, blamed=blamed.call, words=blamed.words)


def _parked(claimed: Claimed) -> list[Any]:
    """The agent's own messages when this attempt last parked."""
    stored = claimed.attempt.history
    return list(bodies.load(stored)[0]["messages"]) if stored else []


@dataclass(slots=True, kw_only=True)
class _Attempt:
    """What all agents of one attempt share: the counts that make keys stable, and who is speaking now."""

    claimed: Claimed
    flight: Flight
    given: BaseModel
    parked: list[Any]
    watched: Watched
    asked: Counter[str] = field(default_factory=Counter)
    called: Counter[str] = field(default_factory=Counter)
    speaking: list[_Turns] = field(default_factory=list)
    delegated: int = 0
    again: Again = field(init=False)
    full: Fullness = field(init=False)
    slowest: Row | None = field(init=False)  # how long this may take in one go, if people limit it
    slow: noted.Slow = field(init=False)

    def __post_init__(self) -> None:
        claimed, watched = self.claimed, self.watched
        self.slowest = bounds.step_latency(
            watched.book, claimed.run, claimed.workflow, watched.agent.name, watched.at
        )
        if self.slowest is not None:
            claimed = self.claimed = replace(claimed, most_seconds=self.slowest.value / 1000)
        self.again = Again(claimed=claimed)
        self.full = Fullness(
            claimed=claimed,
            flight=self.flight,
            book=watched.book,
            at=watched.at,
            asked=self.asked,
            again=self.again,
        )
        self.slow = noted.Slow.of(claimed, watched.book, watched.agent.name, watched.at)

    def left(self) -> float:
        """Seconds that the next call may take. Raises RecoverableError when the step has had its time."""
        self.slow.look()
        worked = time.monotonic() - self.claimed.began
        if self.slowest is None or worked * 1000 < self.slowest.value:
            return self.claimed.left_for_a_call()
        says = f"{self.claimed.step.node} has taken {worked:.0f} s: {because(self.slowest)}."
        tell(
            self.claimed,
            Found(
                guard="step_latency",
                scope=f"agent {self.watched.agent.name}",
                says=says,
                row=self.slowest,
                value=round(worked * 1000),
            ),
        )
        raise RecoverableError(says)

    def count_turn(self) -> None:
        """Raise ReasoningError when agents only keep asking each other."""
        if len(self.speaking) == 1:
            return
        self.delegated += 1
        if over(self.delegated, MOST_DELEGATED):
            first = self.speaking[0].agent.name
            says = f"those that {first} asks used {MOST_DELEGATED} turns without an end"
            raise self.refused(Guard.TURNS, f"agent {first}", says, cap=MOST_DELEGATED, value=self.delegated)

    def refused(self, guard: str, scope: str, says: str, *, cap: int, value: int) -> ReasoningError:
        """An event of the run, and what is to be raised."""
        tell(self.claimed, Found(guard=guard, scope=scope, says=f"{says}.", cap=cap, value=value))
        return ReasoningError(says)

    def history(self) -> tuple[Any, ...]:
        return tuple(
            {"agent": turns.agent.name, "messages": plain([asdict(one) for one in turns.messages])}
            for turns in self.speaking
        )

    def compare(self, messages: list[Message]) -> None:
        """Raise ConversationChanged when the rebuilt conversation leaves the parked one."""
        if any(map(is_summary, self.parked)) and not any(is_summary(asdict(one)) for one in messages):
            return  # it was longer then, and is said in fewer words soon
        for place, (old, new) in enumerate(zip(self.parked, messages, strict=False)):
            if old != plain(asdict(new)):
                raise ConversationChanged(
                    f"Message {place + 1} is not the one that stood there when the run was parked: "
                    "its definition has changed under the same version."
                )


@dataclass(slots=True, kw_only=True)
class _Turns:
    """One agent's turns. `gives` is the contract of its answer."""

    attempt: _Attempt
    agent: Agent
    model: str
    gives: type[BaseModel]
    messages: list[Message] = field(default_factory=list)
    counted: Counted = field(init=False)

    def __post_init__(self) -> None:
        self.counted = Counted(offered=offers.size(self.agent, self.gives))

    def answer(self, accepted: Callable[[Any], BaseModel]) -> BaseModel:
        """The agent's answer once `accepted` takes it. Raises Park, Blamed, ReasoningError, and what a call raises."""
        self.attempt.speaking.append(self)
        turn = 0
        while not crosses(turn, 1, self.agent.max_turns):
            turn += 1
            self.attempt.count_turn()
            if self.attempt.speaking[0] is self:
                self.attempt.compare(self.messages)
            request = self._sendable()
            reply, call = self._ask(request)
            self.counted.replied(request, reply.usage)
            try:
                self.attempt.watched.answered(self.agent.name, reply.text)
                if not reply.tool_calls:
                    output = accepted(reply.output)
                    self.attempt.speaking.pop()
                    return output
                self._call_tools(reply)
            except StepError as error:
                its_fault = not (isinstance(error, RecoverableError) or error.person)
                blamed = call.pk if its_fault else None
                rejected = None if reply.tool_calls else reply.output
                raise Blamed(error, blamed, rejected=rejected, words=reply.text) from error
        raise self._used_up()

    def _used_up(self) -> ReasoningError:
        most, name = self.agent.max_turns, self.agent.name
        says = f"{name} used its {most} turns without an answer"
        return self.attempt.refused(Guard.TURNS, f"agent {name}", says, cap=most, value=most)

    def _ask(self, request: ModelRequest) -> tuple[ModelReply, Call]:
        shared = self.attempt
        try:
            return models_asked.ask(shared.claimed, shared.flight, request, shared.asked)
        except TimeoutError:
            shared.left()  # says so, if it was the step's time that ended
            raise

    def _sendable(self) -> ModelRequest:
        """The next request, once the guards that acquire nothing let it pass."""
        shared, request = self.attempt, self._request()
        shared.again.model(request)
        request = shared.full.fitting(self.agent, request, self.counted, self._request, self.messages)
        return replace(request, seconds_left=shared.left())

    def _request(self) -> ModelRequest:
        agent = self.agent
        return ModelRequest(
            model=self.model,
            agent=agent.name,
            prompt=agent.prompt,
            prompt_version=agent.prompt_version,
            messages=tuple(self.messages),
            tools=offers.schemas(agent),
            output_schema=schema_of(self.gives),
            parameters=dict(agent.parameters),
            seconds_left=self.attempt.claimed.left(),
        )

    def _call_tools(self, reply: ModelReply) -> None:
        self.messages.append(Message(role="assistant", text=reply.text, tool_calls=reply.tool_calls))
        for asked in reply.tool_calls:
            answer = self._call(asked, reply.text)
            self.messages.append(Message(role="tool", text=canonical(answer), call_id=asked.id))

    def _call(self, asked: ToolCall, words: str) -> Mapping[str, Any]:
        one = self._known(asked.name)
        if isinstance(one, Delegate):
            return self._delegate(one, asked)
        shared = self.attempt
        shared.left()
        watch = calling.Guards(agent=self.agent.name, watched=shared.watched, again=shared.again)
        return calling.call(shared.claimed, one, asked, shared.given, words, shared.called, watch)

    def _known(self, name: str) -> Tool | Delegate:
        offered = offers.of(self.agent)
        for one in offered:
            if one.name == name:
                return one
        names = [one.name for one in offered]
        self.attempt.watched.unknown(self.agent.name, name, names)
        raise ReasoningError(
            f"{self.agent.name} asked for a tool that it does not have: {name[:80]!r}", where="tool"
        )

    def _delegate(self, delegate: Delegate, asked: ToolCall) -> Mapping[str, Any]:
        """Another agent's answer to this one's question. Its tools pass the same gates."""
        if len(self.attempt.speaking) >= DEEPEST_DELEGATION:
            asker = self.agent.name
            says = f"{asker} delegates deeper than {DEEPEST_DELEGATION} agents"
            deeper = len(self.attempt.speaking) + 1
            raise self.attempt.refused(
                DELEGATION, f"agent {asker}", says, cap=DEEPEST_DELEGATION, value=deeper
            )
        watched = self.attempt.watched
        try:
            given = contracts.as_contract(
                delegate.takes, asked.arguments, what=f"arguments of {delegate.name}"
            )
            watched.strictly(delegate, plain(asked.arguments))
        except ContractBroken as error:
            watched.breaks(delegate.name, error)
            raise
        turns = _Turns(
            attempt=self.attempt, agent=delegate.agent, model=delegate.agent.model, gives=delegate.gives
        )
        turns.messages.append(Message(role="user", text=canonical(given)))
        what = f"answer of {delegate.agent.name}"

        def checked(value: Any) -> BaseModel:
            with contracts.telling(self.attempt.claimed, f"agent {delegate.agent.name}"):
                return contracts.as_contract(delegate.gives, value, what=what)

        answer = turns.answer(checked)
        kept: Mapping[str, Any] = plain(answer)
        watched.returned(self.agent.name, delegate, plain(given), canonical(kept))
        return kept
