"""Work for a console under test. Every step says in a file that it began (FAULT_MARKS): the outcomes before it were
acknowledged by then, so they must be on record whatever happened since.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import time
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from runs import registry
from runs.agents.door import ModelReply, ModelRequest
from runs.agents.simulated import answer, calls, given, says, simulated
from runs.definitions import (
    Agent,
    Approval,
    Effect,
    EffectGate,
    Node,
    Pipeline,
    Plan,
    Results,
    Supervised,
    Task,
    Tool,
    Workflow,
)

CHAIN_STEPS = 5
FAN = 50
TEAM = "Testers"


class Piece(BaseModel):
    """One piece of work: its number, and how long each of its steps takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    number: int
    ms: int = 20
    step: int = 0


class Paying(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    number: int


class Tally(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    done: int


def mark(word: str, number: int, step: int) -> None:
    """One line that is in the file when this returns, whatever happens to this process."""
    line = json.dumps([word, number, step, time.time()]).encode() + b"\n"
    file = os.open(os.environ["FAULT_MARKS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, line)
    finally:
        os.close(file)


def work(piece: Piece) -> Piece:
    mark("chain", piece.number, piece.step)
    time.sleep(piece.ms / 1000)
    return piece.model_copy(update={"step": piece.step + 1})


def poison(piece: Piece) -> Piece:
    """Takes its worker down."""
    mark("poison", piece.number, piece.step)
    os.kill(os.getpid(), signal.SIGKILL)
    return piece


def stay_twice(piece: Piece) -> Piece:
    """Twice it stays until its worker dies; the third time it ends."""
    mark("stayed", piece.number, piece.step)
    if _marked("stayed", piece.number) < 3:
        time.sleep(3600)
    return piece


def poison_beside(piece: Piece) -> Piece:
    """Takes its worker down, twice not before the step that stays (the run of the number before) is under way there."""
    mark("poison", piece.number, piece.step)
    turn = _marked("poison", piece.number)
    while turn < 3 and _marked("stayed", piece.number - 1) < turn:
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)
    return piece


def hog(piece: Piece) -> Piece:
    """Takes the interpreter's lock and never gives it back, once: no thread of its worker runs any more."""
    if _first("hog", piece):
        ctypes.PyDLL(None).sleep(3600)
    return piece


def stop_the_heart(piece: Piece) -> Piece:
    """Its worker's heart ends, once: nothing says any more that it lives."""
    if _first("heartless", piece):
        from runs.engine.worker.runtime import current

        current().beat = _end_this_thread  # type: ignore[method-assign]
        time.sleep(3600)
    return piece


def _end_this_thread() -> None:
    raise SystemExit


def never_come_back(piece: Piece) -> Piece:
    """Keeps its thread beyond the run's deadline, and for good."""
    mark("stuck", piece.number, piece.step)
    time.sleep(3600)
    return piece


def _first(word: str, piece: Piece) -> bool:
    before = _marked(word, piece.number)
    mark(word, piece.number, piece.step)
    return not before


def _marked(word: str, number: int) -> int:
    with open(os.environ["FAULT_MARKS"]) as marks:
        return sum(json.loads(line)[:2] == [word, number] for line in marks)


def _pay(paying: Paying, gate: EffectGate) -> Mapping[str, Any]:
    gate.hand_over(lambda seconds: None)
    mark("paid", paying.number, 0)
    return {"paid": paying.number}


@simulated("load_payer")
def pay(request: ModelRequest) -> ModelReply:
    piece = given(request)
    if answer(request) is None:
        return calls(request, "load.pay", {"number": piece["number"]})
    return says(request, piece)


_PAY = Tool(
    name="load.pay",
    arguments=Paying,
    perform=_pay,
    sentence=lambda paying: f"Pay number {paying.number}",
    effect=Effect.REVERSIBLE,
    egress=False,
    repeatable=True,
    approval=lambda paying, piece: Approval(
        reason="every payment is looked at", deadline_seconds=7 * 24 * 3600.0
    ),
)
_PAYER = Agent(
    name="load_payer", model="simulated/load_payer", prompt="You pay.", prompt_version="1", tools=(_PAY,)
)


def _node(name: str, work: Any, **more: Any) -> Node:
    return Node(name=name, work=work, takes=Piece, gives=Piece, **more)


def _workflow(name: str, *nodes: Node, **more: Any) -> Workflow:
    return registry.register(
        Workflow(
            name=name,
            version=1,
            team=TEAM,
            goal=lambda piece: f"{name} {piece.number}",
            pattern=Pipeline(nodes=nodes),
            **more,
        )
    )


CHAIN = _workflow("load_chain", *(_node(f"work{n}", work) for n in range(CHAIN_STEPS)))
PAYS = _workflow("load_pays", _node("work", work), _node("pay", _PAYER))
LONG = _workflow("load_long", _node("work", work))
POISON = _workflow("load_poison", _node("poison", poison))
STAYS = _workflow("load_stays_twice", _node("stay", stay_twice))
POISON_BESIDE = _workflow("load_poison_beside", _node("poison", poison_beside))
HOG = _workflow("load_hog", _node("hog", hog))
HEARTLESS = _workflow("load_heartless", _node("stop", stop_the_heart))
STUCK = _workflow("load_stuck", _node("stay", never_come_back), deadline_seconds=5.0)


def _plan(piece: Piece) -> Plan:
    return Plan(tasks=tuple(Task(worker="work", input=piece.model_dump()) for _ in range(FAN)))


def _tally(results: Results) -> Tally:
    return Tally(done=sum(one.state == "done" for one in results.results))


FANS = registry.register(
    Workflow(
        name="load_fan",
        version=1,
        team=TEAM,
        goal=lambda piece: f"load_fan {piece.number}",
        pattern=Supervised(
            supervisor=Node(name="plan", work=_plan, takes=Piece, gives=Plan),
            workers=(_node("work", work),),
            then=(Node(name="tally", work=_tally, takes=Results, gives=Tally),),
            width=8,
            most_tasks=FAN,
        ),
    )
)
