"""Performing one attempt: the node's function, or the agent's loop of calls. Holds no transaction, routes nothing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import InterfaceError, OperationalError, connection
from pydantic import BaseModel, ValidationError

from runs import bodies
from runs.agents.door import Message, ModelReply, ModelRequest, ToolCall
from runs.canonical import SPARE, canonical, cut, told
from runs.definitions import Agent, Tool
from runs.engine import child, models_asked, tools_called
from runs.engine.claim import Claimed
from runs.engine.outcomes import Asked, Cut, CutInFlight, Failed, Lost, Outcome, Output, Park, Refused
from runs.engine.runtime import Flight
from runs.errors import ContractBroken, ReasoningError, StepError, broken, classify
from runs.verdicts import Failure

LONGEST_PLACE = 500  # characters of the path of a wrong value: an agent may have chosen its names


def perform(claimed: Claimed, flight: Flight) -> Outcome:
    """Perform a claimed attempt and say how it ended. Never raises."""
    try:
        given = claimed.node.takes.model_validate_json(canonical(bodies.load(claimed.step.input)))
    except ValidationError as error:
        return _failed(broken(error, "input"))
    work = claimed.node.work
    connection.close()  # nothing of the database is held while work goes on
    try:
        if isinstance(work, Agent):
            return _Turns(claimed=claimed, flight=flight, agent=work, given=given).run()
        if claimed.node.isolated:
            seconds = min(claimed.node.seconds, claimed.left())
            return Output(value=_checked(claimed, child.perform(work, given, flight, seconds)))
        return Output(value=_checked(claimed, work(given)))
    except Park as park:
        return Asked(asking=park.asking)
    except (CutInFlight, Refused) as cut:
        return Lost(why=cut.why) if cut.lost else Cut(why=cut.why)
    except (InterfaceError, OperationalError) as error:
        # Not the attempt's fault, and nobody can say how much of it is on record: left to whoever claims it next.
        connection.close()
        return Lost(why=f"the database could not be reached: {told(error)}")
    except BaseException as error:  # SystemExit too: one step must not end a worker
        return _failed(error)


def _checked(claimed: Claimed, value: Any) -> BaseModel:
    """The output as the contract of its edge, which can also be stored. Raises ContractBroken."""
    what = "output"
    try:
        output = claimed.node.gives.model_validate_json(canonical(value, spare=SPARE))
        canonical(output)  # a contract may make of a text a number that JSON has not
    except ValidationError as error:
        raise broken(error, what) from error
    except (ValueError, RecursionError) as error:
        raise ContractBroken(f"the {what} cannot be kept as JSON: {told(error)}") from error
    return output


def _failed(error: BaseException, **more: Any) -> Failed:
    failure = Failure(
        error_class=classify(error),
        message=told(error),
        where=cut(getattr(error, "where", ""))[:LONGEST_PLACE],
        retry_after=_seconds(getattr(error, "retry_after", None)),
    )
    return Failed(failure=failure, **more)


def _seconds(asked: object) -> float | None:
    """What the other side asked to wait, if that is a time."""
    if not isinstance(asked, (int, float)) or not math.isfinite(asked) or asked < 0:
        return None
    return float(asked)


@dataclass(slots=True, kw_only=True)
class _Turns:
    """The agent's loop. Its history is rebuilt by replaying recorded calls, never kept in memory over a wait."""

    claimed: Claimed
    flight: Flight
    agent: Agent
    given: BaseModel
    messages: list[Message] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    called: Counter[str] = field(default_factory=Counter)

    def run(self) -> Outcome:
        self.messages.append(Message(role="user", text=canonical(self.given)))
        if self.claimed.attempt.note:
            self.messages.append(Message(role="user", text=self.claimed.attempt.note))
        for _ in range(self.agent.max_turns):
            reply, call = models_asked.ask(self.claimed, self.flight, self._request(), self.asked)
            try:
                if not reply.tool_calls:
                    return Output(value=_checked(self.claimed, reply.output))
                self._call_tools(reply)
            except StepError as error:
                return _failed(error, blamed=call.pk, rejected=_rejected(reply), words=reply.text)
        raise ReasoningError(f"{self.agent.name} used its {self.agent.max_turns} turns without an answer")

    def _request(self) -> ModelRequest:
        agent = self.agent
        return ModelRequest(
            model=agent.model,
            agent=agent.name,
            prompt=agent.prompt,
            prompt_version=agent.prompt_version,
            messages=tuple(self.messages),
            tools=tuple(_tool_schema(tool) for tool in agent.tools),
            output_schema=self.claimed.node.gives.model_json_schema(),
            parameters=dict(agent.parameters),
            seconds_left=self.claimed.left(),
        )

    def _call_tools(self, reply: ModelReply) -> None:
        self.messages.append(Message(role="assistant", text=reply.text, tool_calls=reply.tool_calls))
        for asked in reply.tool_calls:
            answer = self._call_tool(asked, reply.text)
            self.messages.append(Message(role="tool", text=canonical(answer), call_id=asked.id))

    def _call_tool(self, asked: ToolCall, words: str) -> Mapping[str, Any]:
        tool = _known(self.agent, asked.name)
        return tools_called.call(self.claimed, tool, asked, self.given, words, self.called)


def _rejected(reply: ModelReply) -> Any:
    return None if reply.tool_calls else reply.output


def _known(agent: Agent, name: str) -> Tool:
    for tool in agent.tools:
        if tool.name == name:
            return tool
    raise ReasoningError(f"{agent.name} asked for a tool that it does not have: {name[:80]!r}", where="tool")


def _tool_schema(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.arguments.model_json_schema(),
    }
