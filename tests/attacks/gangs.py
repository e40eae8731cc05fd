"""Supervised workflows whose supervisor and workers do what a test tells them, by the names in the run's own input."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from runs import registry
from runs.agents.door import ModelReply, ModelRequest
from runs.agents.simulated import simulated
from runs.definitions import (
    Agent,
    Ask,
    Effect,
    EffectGate,
    End,
    ErrorPolicy,
    Join,
    Node,
    Plan,
    Rest,
    Results,
    Retry,
    Supervised,
    Tool,
    Workflow,
)
from tests.attacks.rogues import TOOL

PLANS: dict[str, Callable[[ModelRequest], Any]] = {}  # what the supervisor replies
DOES: dict[str, Callable[[Errand], Any]] = {}  # what a function returns or raises
GATHERS: dict[str, Callable[[Results], Any]] = {}  # what the node after the join does, by the run's plan
HOLDS: dict[str, Callable[[], Any]] = {}  # what a tool without an effect does
BEHAVES: dict[str, Callable[[ModelRequest], Any]] = {}  # what an agent replies or raises


class Trip(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    plan: str


class Errand(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    does: str
    number: int = 0


class Told(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    words: str
    extra: Any = None


def forget() -> None:
    for told in (PLANS, DOES, BEHAVES, GATHERS, HOLDS):
        told.clear()


@simulated("boss")
def boss(request: ModelRequest) -> ModelReply:
    reply: ModelReply = PLANS[json.loads(request.messages[0].text)["plan"]](request)
    return reply


@simulated("errand_boy")
def errand_boy(request: ModelRequest) -> ModelReply:
    reply: ModelReply = BEHAVES[json.loads(request.messages[0].text)["does"]](request)
    return reply


class Holding(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str


def _hold(holding: Holding, gate: EffectGate) -> Mapping[str, Any]:
    HOLDS[holding.name]()
    return {"held": holding.name}


HOLD = Tool(
    name="hold",
    arguments=Holding,
    perform=_hold,
    sentence=lambda holding: f"Hold {holding.name}",
    effect=Effect.NONE,
    egress=False,
)


def _run(errand: Errand) -> Told:
    told: Told = DOES[errand.does](errand)
    return told


def _gather(results: Results) -> Told:
    if results.input["plan"] in GATHERS:
        told: Told = GATHERS[results.input["plan"]](results)
        return told
    return Told(words=", ".join(f"{one.input['number']} {one.state}" for one in results.results))


def an_agent(name: str, *tools: Any, **more: Any) -> Agent:
    return Agent(
        name=name,
        model=f"simulated/{name}",
        prompt=f"You are {name}.",
        prompt_version="1",
        tools=tools,
        **more,
    )


def gang(name: str, *, deadline_seconds: float = 24 * 3600.0, **more: Any) -> Workflow:
    """A supervisor that replies anything, two kinds of workers, and a function that counts."""
    nodes = {
        "supervisor": Node(
            name="boss", work=an_agent("boss"), takes=Trip, gives=Plan, errors=ErrorPolicy(data=Ask())
        ),
        "workers": (
            Node(
                name="run",
                work=_run,
                takes=Errand,
                gives=Told,
                errors=ErrorPolicy(data=End(), recoverable=Retry(times=2, base_seconds=0.0)),
            ),
            Node(
                name="boy",
                work=an_agent("errand_boy", TOOL, HOLD),
                takes=Errand,
                gives=Told,
                errors=ErrorPolicy(data=Ask(), recoverable=Retry(times=1, base_seconds=0.0)),
            ),
        ),
        "then": (Node(name="gather", work=_gather, takes=Results, gives=Told),),
    }
    return registry.register(
        Workflow(
            name=name,
            version=1,
            team="Testers",
            goal=lambda trip: trip.plan,
            deadline_seconds=deadline_seconds,
            pattern=Supervised(**{**nodes, **more}),
        )
    )


GANG = gang("gang")
FIRST_OF_GANG = gang("first_of_gang", join=Join(need=1, rest=Rest.END), width=2)
MOST_OF_GANG = gang("most_of_gang", join=Join(need=0.5))
