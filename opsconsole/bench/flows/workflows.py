"""What the benchmarks run: chains of no-op steps, guarded ones, steps that ask, calls that are never answered."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from opsconsole.bench.flows import unguarded
from opsconsole.bench.flows.contracts import Noting, Slip, block
from opsconsole.bench.flows.stamps import stamp
from runs import registry
from runs.agents.door import ModelReply, ModelRequest
from runs.agents.simulated import answer, calls, given, says, simulated
from runs.definitions import (
    Agent,
    Approval,
    Ask,
    Effect,
    EffectGate,
    ErrorPolicy,
    Node,
    Pipeline,
    Plan,
    Results,
    Supervised,
    Task,
    Tool,
    Workflow,
)
from runs.errors import DataError

STEPS = 10
PAGE_STEPS = 3
TEAM = "Benchmarks"
_ASK = Ask(deadline_seconds=7 * 24 * 3600.0)


def hop(slip: Slip) -> Slip:
    """A step that does nothing."""
    return slip.model_copy(update={"hop": slip.hop + 1})


def fan(slip: Slip) -> Plan:
    """As many tasks as the slip's number says."""
    return Plan(tasks=tuple(_task("piece", number, slip.hop) for number in range(slip.number)))


def areas(slip: Slip) -> Plan:
    """As many plans of as many tasks."""
    return Plan(tasks=tuple(_task("area", slip.number, number) for number in range(slip.number)))


def _task(worker: str, number: int, hop: int = 0) -> Task:
    return Task(worker=worker, input=Slip(number=number, hop=hop).model_dump())


def joined(results: Results) -> Slip:
    return Slip(number=len(results.results))


def ask_again(slip: Slip) -> Slip:
    """Say that it started, then need a person: every decision starts it once more."""
    stamp(slip.mark)
    raise DataError("this step always asks", where="number")


def break_contract(slip: Slip) -> Any:
    """What meets no contract. An agent's breaker would open after some of it; a function has none."""
    return {**slip.model_dump(), "number": "lots"}


def arrive(slip: Slip) -> Slip:
    """Say that it started."""
    stamp(slip.mark)
    return slip


def _note(noting: Noting, gate: EffectGate) -> Mapping[str, Any]:
    gate.hand_over(lambda seconds: None)
    return {"noted": noting.number}


def _pay(slip: Slip, gate: EffectGate) -> Mapping[str, Any]:
    stamp(slip.mark)
    gate.hand_over(lambda seconds: None)
    return {"paid": slip.number}


@simulated("bench_noter")
def note(request: ModelRequest) -> ModelReply:
    """One tool call, then the next slip."""
    slip = given(request)
    if answer(request) is None:
        return calls(request, "note", {"number": slip["number"], "hop": slip["hop"]})
    return says(request, {**slip, "hop": slip["hop"] + 1})


@simulated("bench_payer")
def pay(request: ModelRequest) -> ModelReply:
    slip = given(request)
    if answer(request) is None:
        return calls(request, "pay", slip)
    return says(request, slip)


def _tool(name: str, arguments: Any, perform: Any, approval: Approval | None) -> Tool:
    return Tool(
        name=name,
        arguments=arguments,
        perform=perform,
        sentence=lambda asked: f"{name} number {asked.number}",
        effect=Effect.REVERSIBLE,
        egress=False,
        repeatable=True,
        approval=lambda asked, step: approval,
    )


def _agent(name: str, model: str, *tools: Tool) -> Agent:
    return Agent(name=name, model=model, prompt=f"You are {name}.", prompt_version="1", tools=tools)


def _node(name: str, work: Any, **more: Any) -> Node:
    return Node(name=name, work=work, takes=Slip, gives=Slip, **more)


def _workflow(name: str, *nodes: Node) -> Workflow:
    return registry.register(
        Workflow(
            name=name,
            version=1,
            team=TEAM,
            goal=lambda slip: f"{name} {slip.number}",
            pattern=Pipeline(nodes=nodes),
        )
    )


def _fan(name: str, *workers: Node, plan: Any, depth: int = 1) -> Workflow:
    return registry.register(
        Workflow(
            name=name,
            version=1,
            team=TEAM,
            goal=lambda slip: f"{name} {slip.number}",
            pattern=Supervised(
                supervisor=Node(name="plan", work=plan, takes=Slip, gives=Plan),
                workers=workers,
                then=(Node(name="join", work=joined, takes=Results, gives=Slip),),
                most_tasks=1_000,
                depth=depth,
            ),
        )
    )


_NOTER = _agent("bench_noter", "simulated/noter", _tool("note", Noting, _note, None))
_PAYER = _agent(
    "bench_payer",
    "simulated/payer",
    _tool("pay", Slip, _pay, Approval(reason="every payment is looked at", deadline_seconds=7 * 24 * 3600.0)),
)
_LISTENER = _agent("bench_listener", "deaf/listener")

PLAIN = _workflow("bench_steps", *(_node(f"hop{n}", hop) for n in range(1, STEPS + 1)))
GUARDED = _workflow("bench_guarded", *(_node(f"note{n}", _NOTER) for n in range(1, STEPS + 1)))
UNGUARDED = _workflow(unguarded.WORKFLOW, *(_node(f"note{n}", _NOTER) for n in range(1, STEPS + 1)))
SHORT = _workflow("bench_short", *(_node(f"hop{n}", hop) for n in range(1, PAGE_STEPS + 1)))
ASKS = _workflow("bench_asks", _node("ask", ask_again, errors=ErrorPolicy(data=_ASK)))
MENDS = _workflow("bench_mends", _node("break", break_contract), _node("arrive", arrive))
PAYS = _workflow("bench_pays", _node("pay", _PAYER))
_PIECE = _node("piece", hop)
FAN = _fan("bench_fan", _PIECE, plan=fan)
NEST = _fan("bench_nest", Node(name="area", work=fan, takes=Slip, gives=Plan), _PIECE, plan=areas, depth=2)

if "BENCH_DEAF" in os.environ:  # a worker that knows a real provider loads its client: only where it is asked
    CALLS = _workflow("bench_calls", _node("listen", _LISTENER))
    BLOCKS = _workflow("bench_blocks", _node("block", block, isolated=True, seconds=3600.0))
