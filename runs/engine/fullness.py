"""Whether a conversation still fits under the limits of context tokens, and what is done when it does not.

Tokens: what the provider counted for the last reply, in and out, and about four characters a token for what was added
since; for a first request all of it by characters. Only requests that are about to be sent are judged: one on record
was sent already.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from runs import bodies
from runs.agents.door import Message, ModelRequest, Usage
from runs.canonical import canonical, digest, plain, told
from runs.definitions import Agent, Compact
from runs.engine import bounds, contracts, found, models_asked
from runs.engine.again import Again
from runs.engine.claimed import Claimed
from runs.engine.found import Found, because
from runs.engine.outcomes import Blamed
from runs.engine.spend import permits
from runs.engine.spend.wanted import Result, Wanted
from runs.engine.worker.flights import Flight
from runs.errors import ContractBroken, ReasoningError, classify
from runs.guards.caps import over
from runs.guards.findings import Guard
from runs.guards.findings import tokens as figure
from runs.guards.full import Full, follows
from runs.limits.applying import Book
from runs.limits.kinds import LimitKind, Mode, Window
from runs.limits.rows import Row
from runs.models import CallKind, CallState
from runs.plans import Conversation, Said, Summary
from runs.schemas import schema_of

CONTEXT = "context"
A_TOKEN = 4  # characters
# Characters of what every provider puts around a message and around a call in it: roles, marks, braces.
A_MESSAGE, A_CALL = 16, 40
KEPT = "What was said before, in fewer words: "


@dataclass(slots=True, kw_only=True)
class Counted:
    """The last reply of a conversation: how many messages had been sent, and what its provider counted. `offered`:
    characters of what goes with every request."""

    offered: int
    messages: int = 0
    tokens: int = 0

    def replied(self, request: ModelRequest, usage: Usage) -> None:
        self.messages, self.tokens = len(request.messages), usage.tokens_in + usage.tokens_out
        if not self.tokens:
            self.afresh()  # a provider that counts nothing

    def afresh(self) -> None:
        self.messages, self.tokens = 0, 0


def tokens(request: ModelRequest, counted: Counted) -> int:
    """How many tokens a request has, as far as can be told before it is sent: rather a few more than there are."""
    if counted.messages:
        added = request.messages[counted.messages :]  # the reply first, whose words are counted
        size = sum(map(_around, added)) + sum(map(_words, added[1:]))
        return counted.tokens + math.ceil(size / A_TOKEN)
    size = len(request.prompt) + counted.offered
    return math.ceil((size + sum(_around(one) + _words(one) for one in request.messages)) / A_TOKEN) + 1


def _words(message: Message) -> int:
    return len(message.text) + sum(len(canonical(call.arguments)) for call in message.tool_calls)


def _around(message: Message) -> int:
    return A_MESSAGE + sum(A_CALL + len(call.id) + len(call.name) for call in message.tool_calls)


@dataclass(slots=True, kw_only=True)
class Fullness:
    """The limits of context over one attempt."""

    claimed: Claimed
    flight: Flight
    book: Book
    at: datetime
    asked: Counter[str]
    again: Again
    told: set[int] = field(default_factory=set)  # limits that are not enforced, once an attempt

    def fitting(
        self,
        agent: Agent,
        request: ModelRequest,
        counted: Counted,
        again: Callable[[], ModelRequest],
        messages: list[Message],
    ) -> ModelRequest:
        """The request that may be sent: this one, or one of a conversation that was said again in fewer words.

        `messages` is the conversation, `again` makes a request of it as it is then. Raises ReasoningError, to a person.
        """
        if agent.when_full is not None and self._compacted_before(agent, request):
            request = self._compact(agent, agent.when_full, request, counted, messages, again, most=0)
        rows = self._rows(agent, request)
        size = tokens(request, counted) if rows else 0
        crossed = [row for row in rows if over(size, row.value)]
        if not crossed or self._on_record(request):
            return request
        row = crossed[0]
        if row.mode is Mode.ENFORCE or row.id not in self.told:
            self._tell(agent, row, size)
            self.told.add(row.id)
        compacts, more = agent.when_full is not None, len(messages) > _opening(messages)
        what = follows(row.mode, compacts=compacts, more=more)
        if what is Full.TELL:
            return request
        if what is Full.COMPACT and agent.when_full is not None:
            request = self._compact(agent, agent.when_full, request, counted, messages, again, most=row.value)
            size = tokens(request, counted)
            if not over(size, row.value):
                return request
        raise ReasoningError(_says(agent, row, size), where=CONTEXT, ask=True)

    def _rows(self, agent: Agent, request: ModelRequest) -> tuple[Row, ...]:
        to = bounds.place(self.claimed.workflow, self.claimed.run, agent=agent.name, model=request.model)
        return self.book.strictest(LimitKind.CONTEXT_TOKENS, Window.NONE, to=to, at=self.at)

    def _on_record(self, request: ModelRequest) -> bool:
        known = permits.recorded(self.claimed, models_asked.next_key(request, self.asked))
        return known is not None and known.state == CallState.DONE

    def _tell(self, agent: Agent, row: Row, size: int) -> None:
        said = Found(
            guard=Guard.CONTEXT,
            scope=f"agent {agent.name}",
            says=_says(agent, row, size),
            mode=row.mode,
            row=row,
            value=size,
        )
        found.tell(self.claimed, said)

    # saying it again in fewer words

    def _compacted_before(self, agent: Agent, request: ModelRequest) -> bool:
        """Whether this very conversation was compacted: then it is again, whatever the limits are by now."""
        known = permits.recorded(self.claimed, _key(agent, request))
        return known is not None and known.state == CallState.DONE and known.response is not None

    def _compact(
        self,
        agent: Agent,
        compact: Compact,
        request: ModelRequest,
        counted: Counted,
        messages: list[Message],
        again: Callable[[], ModelRequest],
        *,
        most: int,
    ) -> ModelRequest:
        """Put a summary in the place of everything after the first message. It is a call of its own, kept by what it
        was made of, so that a replay goes on with the same words."""
        key = _key(agent, request)
        known = permits.recorded(self.claimed, key)
        if known is not None and known.state == CallState.DONE and known.response is not None:
            text = str(bodies.load(known.response)["text"])
        else:
            text = self._summary(compact, _conversation(agent, request, most), key)
        messages[_opening(messages) :] = [Message(role="user", text=f"{KEPT}{text}")]
        counted.afresh()
        return again()

    def _summary(self, compact: Compact, given: Conversation, key: str) -> str:
        by = compact.by
        if isinstance(
            by, Agent
        ):  # asked first: while it may not be, nothing is permitted that would come to nothing
            said = self._asked(by, given)
            return self._recorded(by.name, given, key, lambda: said)
        name, function = getattr(by, "__name__", "compact"), by
        what = f"summary of {name}"
        return self._recorded(
            name, given, key, lambda: contracts.as_contract(Summary, function(given), what=what)
        )

    def _recorded(self, name: str, given: Conversation, key: str, made: Callable[[], BaseModel]) -> str:
        wanted = Wanted(
            kind=CallKind.TOOL, name=f"compact by {name}"[:100], key=key, request=_action(name, given)
        )
        call = permits.permit(self.claimed, wanted)
        try:
            response = plain(made())
        except BaseException as error:
            failed = Result(state=CallState.FAILED, error=told(error), error_class=classify(error))
            permits.record(self.claimed, call, failed)
            raise
        permits.record(self.claimed, call, Result(state=CallState.DONE, response=response))
        return str(response["text"])

    def _asked(self, by: Agent, given: Conversation) -> BaseModel:
        """What the agent said. Raises Blamed for a reply that is no summary, and as `models_asked.ask` does."""
        request = ModelRequest(
            model=by.model,
            agent=by.name,
            prompt=by.prompt,
            prompt_version=by.prompt_version,
            messages=(Message(role="user", text=canonical(given)),),
            output_schema=schema_of(Summary),
            parameters=dict(by.parameters),
            seconds_left=self.claimed.left_for_a_call(),
        )
        self.again.model(request)
        reply, call = models_asked.ask(self.claimed, self.flight, request, self.asked)
        output = reply.output if reply.output is not None else {"text": reply.text}
        try:
            return contracts.as_contract(Summary, output, what=f"summary of {by.name}")
        except ContractBroken as error:
            raise Blamed(error, call.pk, words=reply.text) from error


def is_summary(message: Any) -> bool:
    """Whether a message, as it was kept, stands for others."""
    return str(message["text"]).startswith(KEPT) and message["role"] == "user"


def _opening(messages: Sequence[Message]) -> int:
    """What is always kept: what the agent was given, and what a person or a refusal told it anew."""
    count = 0
    while (
        count < len(messages) and messages[count].role == "user" and not messages[count].text.startswith(KEPT)
    ):
        count += 1
    return count


def _says(agent: Agent, row: Row, size: int) -> str:
    return (
        f"The next request of {agent.name} would have {figure(size)} tokens; allowed are {figure(row.value)}: "
        f"{because(row)}."
    )


def _key(agent: Agent, request: ModelRequest) -> str:
    """By the agent and everything that was said: the same conversation has one summary."""
    said = [canonical(plain_message(one)) for one in request.messages]
    return f"compact-{digest([agent.name, said])[:40]}"


def plain_message(one: Message) -> dict[str, Any]:
    calls = [[call.id, call.name, plain(call.arguments)] for call in one.tool_calls]
    return {"role": one.role, "text": one.text, "calls": calls, "of": one.call_id}


def _conversation(agent: Agent, request: ModelRequest, most: int) -> Conversation:
    first, *_ = request.messages
    rest = request.messages[_opening(request.messages) :]
    said = tuple(
        Said(role=one.role, text=one.text, calls=tuple(call.name for call in one.tool_calls)) for one in rest
    )
    return Conversation(agent=agent.name, given=first.text, said=said, tokens=most)


def _action(name: str, given: Conversation) -> dict[str, Any]:
    return {
        "tool": f"compact by {name}",
        "arguments": json.loads(canonical(given)),
        "sentence": f"Say the conversation of {given.agent} again in fewer words",
    }
