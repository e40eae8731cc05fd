"""Workflows that the workers of the fault tests know: chains to advance, and effects that reach the sink.

The sink is found by the environment (FAULT_SINK=port, FAULT_SINK_LOG=file): worker processes are told so.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from runs import registry
from runs.agents.door import ModelReply, ModelRequest, ToolCall
from runs.agents.simulated import says, simulated
from runs.definitions import (
    END,
    Agent,
    Approval,
    Edge,
    Effect,
    EffectGate,
    Node,
    NotKnown,
    Orchestrated,
    Pipeline,
    Plan,
    Results,
    Supervised,
    Task,
    Tool,
    Trail,
    Workflow,
)
from runs.starts_by import Folder, Start

CHAIN_STEPS = 6
HOPS = 4000  # more than the latency test ever gets through: its runs stay hot
ANSWER_SECONDS = 10.0


class Order(BaseModel):
    """What a run is to do: so many effects, or nothing but to pass."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    effects: int = 1


class Sending(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    number: int


def _send(sending: Sending, gate: EffectGate) -> Mapping[str, Any]:
    """Connect and wait for the greeting, however long; only the request itself leaves under the gate."""
    request = json.dumps({"key": gate.key, "arguments": {"number": sending.number}}).encode() + b"\n"
    address = ("127.0.0.1", int(os.environ["FAULT_SINK"]))
    with socket.create_connection(address, timeout=ANSWER_SECONDS) as conn:
        _expect(conn, b"sink\n")

        def hand_over(seconds: float) -> None:
            conn.settimeout(seconds)
            if slow := _slow_socket():
                time.sleep(random.uniform(0.0, slow))
            conn.sendall(request)

        gate.hand_over(hand_over)
        conn.settimeout(ANSWER_SECONDS)
        _expect(conn, b"ok\n")
    return {"sent": sending.number}


def _slow_socket() -> float:
    """Seconds for which the socket may not take the request: a full buffer, a renegotiation. Part of the hand-over."""
    return float(os.environ.get("FAULT_SEND_MS", "0")) / 1000


def _expect(conn: socket.socket, words: bytes) -> None:
    if conn.recv(16) != words:
        raise ConnectionResetError("the sink went away")


def _find(key: str) -> Mapping[str, Any] | None:
    """What the sink's log says about a key."""
    log = Path(os.environ["FAULT_SINK_LOG"])
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        if entry["key"] == key:
            return {"sent": entry["arguments"]["number"]}
    return None


def _tool(**more: Any) -> Tool:
    return Tool(
        name="sink.send",
        arguments=Sending,
        perform=_send,
        sentence=lambda sending: f"Send number {sending.number}",
        effect=Effect.IRREVERSIBLE,
        **{"approval": lambda sending, order: None, **more},
    )


def _agent(name: str, *tools: Tool) -> Agent:
    return Agent(
        name=name, model=f"simulated/{name}", prompt=f"You are {name}.", prompt_version="1", tools=tools
    )


@simulated("sender")
def send(request: ModelRequest) -> ModelReply:
    """Ask for every effect of the order in one reply, then say how many came back."""
    order = json.loads(request.messages[0].text)
    if request.messages[-1].role == "tool":
        return says(request, order)
    wanted = tuple(
        ToolCall(id=f"call-{number}", name="sink.send", arguments={"number": number})
        for number in range(order["effects"])
    )
    return replace(says(request, None), tool_calls=wanted)


@simulated("thinker")
def think(request: ModelRequest) -> ModelReply:
    return says(request, json.loads(request.messages[0].text))


def _pass(order: Order) -> Order:
    return order


def _workflow(name: str, *nodes: Node, starts: tuple[Start, ...] = ()) -> Workflow:
    return registry.register(
        Workflow(
            name=name,
            version=1,
            team="Testers",
            goal=lambda order: name,
            pattern=Pipeline(nodes=nodes),
            starts=starts,
        )
    )


def _plain(name: str) -> Node:
    return Node(name=name, work=_pass, takes=Order, gives=Order)


def _by(name: str, agent: Agent) -> Node:
    return Node(name=name, work=agent, takes=Order, gives=Order)


def _muddle(order: Order) -> Order:
    """What it gives is no order: a person mends it."""
    return {"effects": "some"}  # type: ignore[return-value]


def _sending(name: str, *, first: Node | None = None, **more: Any) -> Workflow:
    sender = _agent("sender", _tool(**more))
    return _workflow(name, first or _plain("prepare"), _by("send", sender), _plain("close"))


def _look(sending: Sending, key: str) -> Mapping[str, Any] | NotKnown | None:
    """The same; not sure while FAULT_BLIND names a file that is there."""
    blind = os.environ.get("FAULT_BLIND")
    if blind and Path(blind).exists():
        return NotKnown(seen=f"the sink's log is closed to me, for number {sending.number}")
    return _find(key)


SEND = _sending("fault_send")
SEND_REPEATABLE = _sending("fault_send_repeatable", repeatable=True)
SEND_FOUND = _sending("fault_send_found", find=_find)
SEND_LOOK = _sending("fault_send_look", look=_look)
SEND_ASKED = _sending(
    "fault_send_asked", approval=lambda sending, order: Approval(reason="each is asked for")
)
SEND_MENDED = _sending(
    "fault_send_mended", first=Node(name="prepare", work=_muddle, takes=Order, gives=Order)
)
CHAIN = _workflow("fault_chain", *(_by(f"think{n}", _agent("thinker")) for n in range(1, CHAIN_STEPS + 1)))
PLAIN = _workflow("fault_plain", _plain("pass"), starts=(Folder(name="dropped"),))
HOT = _workflow("fault_hot", *(_plain(f"hop{n}") for n in range(1, HOPS + 1)))


class Lap(BaseModel):
    """Go round until so many steps are made."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    steps: int
    made: int = 0
    text: str = "x" * 300


def _lap(lap: Lap) -> Lap:
    return lap.model_copy(update={"made": lap.made + 1})


def _again(trail: Trail) -> Lap:
    last: Lap = trail.last("lap")
    return last


ROUND = registry.register(
    Workflow(
        name="fault_round",
        version=1,
        team="Testers",
        goal=lambda lap: "fault_round",
        pattern=Orchestrated(
            nodes=(Node(name="lap", work=_lap, takes=Lap, gives=Lap),),
            edges=(
                Edge(source="lap", target=END, when=lambda lap: lap.made >= lap.steps, says="enough"),
                Edge(source="lap", target="lap", hand=_again, most=1_000_000, says="not enough"),
            ),
        ),
    )
)


# several steps of one run at once


class Crew(BaseModel):
    """What each task is to do: the name of a worker."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    tasks: tuple[str, ...]


class Tally(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    done: int


def _plan(crew: Crew) -> Plan:
    return Plan(tasks=tuple(Task(worker=worker, input={"effects": 1}) for worker in crew.tasks))


def _tally(results: Results) -> Tally:
    return Tally(done=sum(one.state == "done" for one in results.results))


def _poison(order: Order) -> Order:
    os.kill(os.getpid(), signal.SIGKILL)
    return order


def _crew(name: str, **more: Any) -> Workflow:
    workers = (
        _by("send", _agent("sender", _tool(**more))),
        _by("think", _agent("thinker")),
        _plain("pass"),
        Node(name="poison", work=_poison, takes=Order, gives=Order),
    )
    return registry.register(
        Workflow(
            name=name,
            version=1,
            team="Testers",
            goal=lambda crew: name,
            pattern=Supervised(
                supervisor=Node(name="plan", work=_plan, takes=Crew, gives=Plan),
                workers=workers,
                then=(Node(name="tally", work=_tally, takes=Results, gives=Tally),),
                width=6,
            ),
        )
    )


CREW = _crew("fault_crew", find=_find)
CREW_REPEATABLE = _crew("fault_crew_repeatable", repeatable=True)
