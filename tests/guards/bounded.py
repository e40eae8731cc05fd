"""Workflows that run into a bound of their definition, or into a contract: each is refused, and told of."""

from __future__ import annotations

import time
from typing import Any

from runs import registry
from runs.agents.door import ModelReply, ModelRequest
from runs.agents.simulated import calls, says, simulated
from runs.definitions import (
    END,
    Agent,
    Ask,
    Delegate,
    Edge,
    End,
    ErrorPolicy,
    Node,
    Orchestrated,
    Pattern,
    Pipeline,
)
from runs.errors import DataError
from tests.flows import making
from tests.guards.flows import WORLD, Done, Task


def sleeps(task: Task) -> Done:
    time.sleep(60)
    return Done()


def at_once(task: Task) -> Done:
    return Done()


@simulated("bounded_asker")
def asker(request: ModelRequest) -> ModelReply:
    number = sum(message.role == "tool" for message in request.messages)
    return calls(request, "ask_helper", {"ask": f"What is {number}?"})


def fails(task: Task) -> Done:
    WORLD.script(0)
    raise DataError("this cannot be done")


@simulated("bounded_helper")
def helper(request: ModelRequest) -> ModelReply:
    return says(request, {"said": request.messages[0].text[:40]})


@simulated("bounded_stammerer")
def stammerer(request: ModelRequest) -> ModelReply:
    return says(request, {"mumbled": "?"})


def _register(name: str, pattern: Pattern, **more: Any) -> None:
    registry.register(making.workflow(name, pattern, **more))


def _one(name: str, node: Node, **more: Any) -> None:
    _register(name, Pipeline(nodes=(node,)), **more)


ASKS = ErrorPolicy(recoverable=Ask())
HELPER = making.agent("bounded_helper")
STAMMERER = making.agent("bounded_stammerer")


def _asking(whom: Agent) -> Node:
    delegate = Delegate(name="ask_helper", agent=whom, takes=Task, gives=Done)
    work = making.agent("bounded_asker", delegates=(delegate,), max_turns=40)
    return Node(name="ask", work=work, takes=Task, gives=Done)


def _apart(**more: Any) -> Node:
    return Node(name="compute", work=sleeps, takes=Task, gives=Done, isolated=True, errors=ASKS, **more)


_one("bounded_apart", _apart())
_one("bounded_briefly", _apart(seconds=0.2))
_one("bounded_stopping", Node(name="do", work=fails, takes=Task, gives=Done, errors=ErrorPolicy(data=End())))
_one("bounded_asking", _asking(HELPER))
_one("bounded_stammering", _asking(STAMMERER))
_one("bounded_mumbling", Node(name="say", work=STAMMERER, takes=Task, gives=Done))
_register(
    "bounded_round",
    Orchestrated(
        nodes=(
            Node(name="do", work=at_once, takes=Task, gives=Done),
            Node(name="again", work=lambda done: Task(ask=done.said), takes=Done, gives=Task),
        ),
        edges=(
            Edge(source="do", target="again", when=lambda done: done.said == "done", most=2),
            Edge(source="do", target=END, when=lambda done: done.said == "over"),
            Edge(source="again", target="do"),
        ),
    ),
)
