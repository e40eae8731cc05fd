"""The machine's three workflows, one of each pattern. What goes wrong in them is what SCRIPT orders, nothing else.

An attempt calls its agent, the agent calls one tool, the agent answers. The tools differ in what is done after a
doubt: `line` asks a person, `round` repeats, `crew` looks.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from django.db import connection
from pydantic import BaseModel, ConfigDict

from runs import registry
from runs.agents.door import ModelReply, ModelRequest
from runs.agents.simulated import calls, says, simulated
from runs.definitions import (
    END,
    Agent,
    Approval,
    Edge,
    Effect,
    EffectGate,
    End,
    ErrorPolicy,
    Join,
    Node,
    Orchestrated,
    Pattern,
    Pipeline,
    Plan,
    Repair,
    Rest,
    Results,
    Retry,
    Supervised,
    Tool,
    Workflow,
)
from runs.errors import DataError, ReasoningError, RecoverableError
from tests.model import BACK_OFF, BUDGET, DEADLINE, NEEDED, TO_APPROVE

WIDTH = {"line": 1, "round": 1, "crew": 2}
NODES = {"line": ("draft", "act", "file"), "round": ("draft", "act", "look"), "crew": ("plan", "tally")}
TASKS = ("hand", "hand", "act")
ERRORS: Mapping[str, Callable[[], Exception]] = {
    "recoverable": lambda: RecoverableError("busy", retry_after=BACK_OFF),
    "data": lambda: DataError("wrong", where="verdict"),
    "reasoning": lambda: ReasoningError("in circles"),
    "unforeseen": lambda: ZeroDivisionError("nobody foresaw this"),
}
BROKEN: Any = {"verdict": 5}


class Paper(BaseModel):
    """What every node takes and gives."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    verdict: Literal["on", "again", "astray"] = "on"
    asks: bool = False  # whether the effect needs a person


class Letter(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    amount: int
    asks: bool


@dataclass(slots=True)
class Script:
    """What the next attempt does, and what happens in the middle of its first call."""

    says: str = "well"
    meanwhile: Callable[[], None] | None = None
    crash: str = ""  # the failpoint at which the worker dies

    def reset(self) -> None:
        self.says, self.meanwhile, self.crash = "well", None, ""
        ARRIVED.clear()


class Dies(Exception):
    """The worker is no more: what the attempt would do now, nobody does."""


SCRIPT = Script()
ARRIVED: list[tuple[str, int]] = []  # what reached the world: idempotency key, amount


def hit(name: str) -> None:
    """In the place of `failpoints.hit`."""
    if SCRIPT.crash == name:
        SCRIPT.crash = ""
        raise Dies(name)


def _meanwhile() -> None:
    """Once an attempt, in a thread of its own: a model call is answered on the loop, where no database is."""
    happens, SCRIPT.meanwhile = SCRIPT.meanwhile, None
    if happens is None:
        return

    def beside() -> None:
        try:
            happens()
        finally:
            connection.close()

    thread = threading.Thread(target=beside)
    thread.start()
    thread.join()


def _given(asks: bool) -> Any:
    if SCRIPT.says in ERRORS:
        raise ERRORS[SCRIPT.says]()
    if SCRIPT.says == "broken":
        return BROKEN
    return {"verdict": SCRIPT.says if SCRIPT.says in ("again", "astray") else "on", "asks": asks}


def _work(paper: Paper) -> Any:
    return _given(paper.asks)


def _plan(paper: Paper) -> Any:
    if (given := _given(paper.asks)) is BROKEN:
        return BROKEN
    return plan(given["asks"])


def plan(asks: bool) -> dict[str, Any]:
    """Two tasks by hand and one with an effect."""
    return {"tasks": [{"worker": name, "input": {"asks": asks}} for name in TASKS]}


def _tally(results: Results) -> Any:
    return _given(bool(results.input["asks"]))


@simulated("model-clerk")
def _clerk(request: ModelRequest) -> ModelReply:
    _meanwhile()
    if SCRIPT.says in ERRORS:
        raise ERRORS[SCRIPT.says]()
    asks = json.loads(request.messages[0].text)["asks"]
    if request.messages[-1].role != "tool":
        return calls(request, "model.send", {"amount": 1, "asks": asks})
    return says(request, BROKEN if SCRIPT.says == "broken" else {"asks": asks})


def _send(letter: Letter, gate: EffectGate) -> Mapping[str, Any]:
    match SCRIPT.says:
        case "not sent":
            raise RecoverableError("no line", retry_after=BACK_OFF)
        case "refused there":
            gate.hand_over(lambda _: None)
            _meanwhile()
            raise DataError("they refused", where="amount")
    gate.hand_over(lambda _: ARRIVED.append((gate.key, letter.amount)))
    _meanwhile()
    if SCRIPT.says == "doubt":
        raise ConnectionResetError("the line went dead")
    return {"sent": letter.amount}


def _find(key: str) -> Mapping[str, Any] | None:
    return next(({"sent": amount} for known, amount in ARRIVED if known == key), None)


def _must_ask(letter: Letter, given: Any) -> Approval | None:
    return Approval(reason="it says so", deadline_seconds=TO_APPROVE) if letter.asks else None


def _node(
    name: str, work: Any = _work, takes: type[BaseModel] = Paper, gives: type[BaseModel] = Paper
) -> Node:
    policy = ErrorPolicy(
        recoverable=Retry(times=1, base_seconds=0.0, cap_seconds=0.0),
        data=Repair(times=1),
        reasoning=End(),
    )
    return Node(name=name, work=work, takes=takes, gives=gives, errors=policy)


def _act(**more: Any) -> Node:
    tool = Tool(
        name="model.send",
        arguments=Letter,
        perform=_send,
        sentence=lambda letter: f"Send {letter.amount}",
        effect=Effect.IRREVERSIBLE,
        approval=_must_ask,
        **more,
    )
    clerk = Agent(
        name="model-clerk", model="simulated/clerk", prompt="You send it.", prompt_version="1", tools=(tool,)
    )
    return _node("act", clerk)


def _workflow(name: str, pattern: Pattern) -> Workflow:
    return registry.register(
        Workflow(
            name=f"model_{name}",
            version=1,
            team="Testers",
            goal=lambda _: name,
            pattern=pattern,
            deadline_seconds=DEADLINE,
            retry_budget=BUDGET,
        )
    )


LINE = _workflow("line", Pipeline(nodes=(_node("draft"), _act(), _node("file"))))
ROUND = _workflow(
    "round",
    Orchestrated(
        nodes=(_node("draft"), _act(repeatable=True), _node("look")),
        edges=(
            Edge(source="draft", target="act"),
            Edge(source="act", target="look"),
            Edge(source="look", target="act", when=lambda paper: paper.verdict == "again", most=1),
            Edge(source="look", target=END, when=lambda paper: paper.verdict == "on"),
        ),
    ),
)
CREW = _workflow(
    "crew",
    Supervised(
        supervisor=_node("plan", _plan, gives=Plan),
        workers=(_node("hand"), _act(find=_find)),
        then=(_node("tally", _tally, takes=Results),),
        join=Join(need=NEEDED, rest=Rest.END),
        width=WIDTH["crew"],
    ),
)


def after(run: Any) -> tuple[str, tuple[str, ...]]:
    """What comes next of a run of the reference, as its author would say it: (what, the nodes that are added)."""
    top, tasks = [s for s in run.steps if not s.task], [s for s in run.steps if s.task]
    if top and top[-1].state != "done":
        return "wait", ()
    if run.flow == "crew" and len(top) == 1:
        done = sum(s.state == "done" for s in tasks)
        lost = sum(s.state in ("failed", "ended") for s in tasks)
        if not tasks or done < NEEDED <= len(tasks) - lost:
            return ("wait", ()) if tasks else ("tasks", TASKS)
        if done < NEEDED:
            return "failed", ()
    place = len(top)
    if run.flow == "round" and place >= 3 and top[-1].node == "look":
        if top[-1].says == "again" and place == 3:
            return "node", ("act",)
        return ("done" if top[-1].says not in ("again", "astray") else "nobody"), ()
    if run.flow == "round" and place > 3:
        return "node", ("look",)
    return ("node", NODES[run.flow][place : place + 1]) if place < len(NODES[run.flow]) else ("done", ())
