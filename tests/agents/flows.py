"""Workflows whose agents are asked over the network, at the tests' own server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runs import registry
from runs.definitions import (
    Agent,
    Ask,
    Effect,
    EffectGate,
    ErrorPolicy,
    Fallback,
    Node,
    Pipeline,
    Repair,
    Retry,
    Tool,
    Workflow,
)
from tests.flows.making import Closed


class Letter(Closed):
    text: str


class Counted(Closed):
    words: int


class Lookup(Closed):
    text: str


def _count(lookup: Lookup, gate: EffectGate) -> Mapping[str, Any]:
    return {"words": len(lookup.text.split())}


COUNT = Tool(
    name="words.count",
    arguments=Lookup,
    perform=_count,
    sentence=lambda lookup: f"Count the words of {lookup.text}",
    effect=Effect.NONE,
    egress=False,
    description="Count the words of a text.",
)


def counting(name: str, model: str, errors: ErrorPolicy) -> Workflow:
    counter = Agent(
        name="counter",
        model=model,
        prompt="Count the words.",
        prompt_version="1",
        tools=(COUNT,),
        max_turns=4,
    )
    return Workflow(
        name=name,
        version=1,
        team="Testers",
        goal=lambda letter: letter.text[:40],
        pattern=Pipeline(
            nodes=(Node(name="count", work=counter, takes=Letter, gives=Counted, errors=errors),)
        ),
    )


PATIENT = ErrorPolicy(
    recoverable=Retry(times=2, base_seconds=0.0, cap_seconds=0.0),
    data=Repair(times=1, then=Ask(priority=40)),
)
COUNTING = registry.register(counting("counting", "local/tiny", PATIENT))
COUNTING_CLAUDE = registry.register(counting("counting_claude", "claude/tiny", PATIENT))
HURRIED = registry.register(
    counting("hurried", "local/tiny", ErrorPolicy(recoverable=Fallback(models=("claude/tiny",))))
)
