"""Supervised workflows whose supervisor and workers do what a test tells them, by the names in the run's own input."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from runs import registry
from runs.agents.door import ModelReply, ModelRequest
from runs.agents.simulated import simulated
from runs.definitions import (
    END,
    Agent,
    Ask,
    Delegate,
    Edge,
    Effect,
    EffectGate,
    End,
    ErrorPolicy,
    Fallback,
    Join,
    Node,
    Orchestrated,
    Plan,
    RefusedOutput,
    RepairStep,
    Rest,
    Results,
    Retry,
    Supervised,
    Tool,
    Verify,
    Workflow,
)
from tests.attacks.rogues import TOOL
from tests.flows.making import Closed, agent, pipeline, workflow

PLANS: dict[str, Callable[[ModelRequest], Any]] = {}  # what the supervisor replies
DOES: dict[str, Callable[[Errand], Any]] = {}  # what a function returns or raises
GATHERS: dict[str, Callable[[Results], Any]] = {}  # what the node after the join does, by the run's plan
HOLDS: dict[str, Callable[[], Any]] = {}  # what a tool without an effect does
BEHAVES: dict[str, Callable[[ModelRequest], Any]] = {}  # what an agent replies or raises


class Trip(Closed):
    plan: str


class Errand(Closed):
    does: str
    number: int = 0


class Told(Closed):
    words: str
    extra: Any = None


def forget() -> None:
    everything: tuple[dict[str, Any], ...] = (PLANS, DOES, BEHAVES, GATHERS, HOLDS, ACCEPTS, MENDS)
    for told in everything:
        told.clear()


@simulated("boss")
def boss(request: ModelRequest) -> ModelReply:
    reply: ModelReply = PLANS[json.loads(request.messages[0].text)["plan"]](request)
    return reply


@simulated("errand_boy")
def errand_boy(request: ModelRequest) -> ModelReply:
    reply: ModelReply = BEHAVES[json.loads(request.messages[0].text)["does"]](request)
    return reply


class Holding(Closed):
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


def gang(name: str, *, deadline_seconds: float = 24 * 3600.0, **more: Any) -> Workflow:
    """A supervisor that replies anything, two kinds of workers, and a function that counts."""
    nodes = {
        "supervisor": Node(
            name="boss", work=agent("boss"), takes=Trip, gives=Plan, errors=ErrorPolicy(data=Ask())
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
                work=agent("errand_boy", TOOL, HOLD),
                takes=Errand,
                gives=Told,
                errors=ErrorPolicy(data=Ask(), recoverable=Retry(times=1, base_seconds=0.0)),
            ),
        ),
        "then": (Node(name="gather", work=_gather, takes=Results, gives=Told),),
    }
    return registry.register(
        workflow(
            name,
            Supervised(**{**nodes, **more}),
            goal=lambda trip: trip.plan,
            deadline_seconds=deadline_seconds,
        )
    )


GANG = gang("gang")
FIRST_OF_GANG = gang("first_of_gang", join=Join(need=1, rest=Rest.END), width=2)
MOST_OF_GANG = gang("most_of_gang", join=Join(need=0.5))


class Claim(Closed):
    """What is handed through a chain of an error policy."""

    does: str


ACCEPTS: dict[str, Callable[[Claim, Told], Any]] = {}
MENDS: dict[str, Callable[[RefusedOutput], Any]] = {}


def _accept(claim: Claim, told: Told) -> None:
    if claim.does in ACCEPTS:
        ACCEPTS[claim.does](claim, told)


def mend(refused: RefusedOutput) -> Told:
    told: Told = MENDS[refused.input["does"]](refused)
    return told


def one_of(name: str, **policy: Any) -> Workflow:
    """One agent with an `accept`, and an error policy to try."""
    node = Node(
        name="say",
        work=agent("errand_boy"),
        takes=Claim,
        gives=Told,
        accept=_accept,
        errors=ErrorPolicy(**policy),
    )
    return registry.register(pipeline(name, node, goal=lambda claim: claim.does))


QUICK = Retry(times=1, base_seconds=0.0)
MENDED = one_of("mended", data=RepairStep(by=mend), reasoning=Verify(by=mend), recoverable=QUICK)
FALLEN = one_of(
    "fallen",
    recoverable=Fallback(models=("simulated/errand_boy-b", "simulated/errand_boy-c"), then=Ask()),
)
PLAIN_CLAIM = one_of("plain_claim")


class Endless(Closed):
    number: float


def _never_a_number(claim: Claim) -> Endless:
    return Endless(number=1.0)


ENDLESS = registry.register(
    workflow(
        "endless",
        Orchestrated(
            nodes=(Node(name="number", work=_never_a_number, takes=Claim, gives=Endless),),
            edges=(Edge(source="number", target=END, hand=lambda trail: Endless(number=math.nan)),),
        ),
        goal=lambda claim: claim.does,
    )
)


# agents that ask each other


class Word(Closed):
    word: str


def _asker(name: str, *asks: Agent) -> Agent:
    delegates = tuple(Delegate(name=f"ask_{one.name}", agent=one, takes=Word, gives=Word) for one in asks)
    return agent(name, TOOL, delegates=delegates)


def _asked(request: ModelRequest) -> ModelReply:
    reply: ModelReply = BEHAVES[request.agent](request)
    return reply


for _name in ("first", "second", "third", "fourth"):
    simulated(_name)(_asked)

THIRD = _asker("third", _asker("fourth"))
FIRST = _asker("first", _asker("second", THIRD))
ASKERS = registry.register(
    pipeline("askers", Node(name="ask", work=FIRST, takes=Word, gives=Word), goal=lambda word: word.word)
)
