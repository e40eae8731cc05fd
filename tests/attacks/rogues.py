"""A workflow whose agent misbehaves as its input says, and tools that do.

`BEHAVES` maps a plan's name to what the agent does: a function of the request that returns or raises anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict

from runs import registry
from runs.agents.door import ModelReply, ModelRequest
from runs.agents.simulated import says, simulated
from runs.definitions import (
    Approval,
    Ask,
    Effect,
    EffectGate,
    ErrorPolicy,
    Node,
    Repair,
    Retry,
    Tool,
)
from tests.flows.making import agent, pipeline
from tests.runs.flows import Order

BEHAVES: dict[str, Callable[[ModelRequest], Any]] = {}
DONE: list[tuple[str, Any]] = []  # what the tools did: (idempotency key, value)
ANSWERS: dict[str, Callable[[], Any]] = {}  # what a tool does after its effect, by plan


class Found(BaseModel):
    """What the agent is to return."""

    model_config = ConfigDict(extra="forbid")
    amount: float = 0.0
    things: Any = None


class Transfer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    amount: float
    plan: str = ""
    ask: bool = False


def _transfer(transfer: Transfer, gate: EffectGate) -> Mapping[str, Any]:
    gate.hand_over(lambda _: DONE.append((gate.key, transfer.amount)))
    answer: Mapping[str, Any] = ANSWERS.get(transfer.plan, lambda: {"sent": True})()
    return answer


def _asks(transfer: Transfer, order: Order) -> Approval | None:
    return Approval(reason="it says so", deadline_seconds=600) if transfer.ask else None


TOOL = Tool(
    name="bank.transfer",
    arguments=Transfer,
    perform=_transfer,
    sentence=lambda transfer: f"Transfer {transfer.amount}",
    effect=Effect.IRREVERSIBLE,
    approval=_asks,
)


@simulated("rogue")
def misbehave(request: ModelRequest) -> ModelReply:
    plan = json.loads(request.messages[0].text)["plan"]
    reply: ModelReply = BEHAVES[plan](request)
    return reply


ROGUE = registry.register(
    pipeline(
        "rogue",
        Node(
            name="act",
            work=agent("rogue", TOOL, prompt="Do your worst.", max_turns=4),
            takes=Order,
            gives=Found,
            errors=ErrorPolicy(
                recoverable=Retry(times=1, base_seconds=0.0, cap_seconds=0.0),
                data=Repair(times=1, then=Ask()),
            ),
        ),
        goal=lambda order: order.text,
    )
)


def reply(request: ModelRequest, output: Any, **more: Any) -> ModelReply:
    """An answer with any output."""
    return replace(says(request, {}), output=output, **more)
