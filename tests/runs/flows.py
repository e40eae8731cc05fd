"""Workflows that only the tests have: a pipeline of functions, agents that misbehave on order, an effect.

The simulated agents read what they should do from the run's own input, so that nothing is shared between tests.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Mapping
from typing import Any

from runs import registry
from runs.agents.door import ModelReply, ModelRequest
from runs.agents.simulated import calls, says, simulated
from runs.definitions import (
    Agent,
    Approval,
    Ask,
    Check,
    Effect,
    EffectGate,
    End,
    ErrorPolicy,
    Node,
    NotKnown,
    Repair,
    Retry,
    Tool,
    Workflow,
)
from runs.errors import DataError, RecoverableError
from tests.flows import making
from tests.flows.making import Closed, pipeline


class Order(Closed):
    """What a test wants to happen."""

    text: str = "hello"
    plan: str = "well"  # how the writer behaves
    amount: int = 1


class Draft(Closed):
    text: str
    plan: str
    amount: int


class Paid(Closed):
    done: bool
    answer: str


class Payment(Closed):
    amount: int
    note: str = ""


class Cashbox:
    """A world that effects change. Real enough: it remembers keys, and may fail on order."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.paid: list[tuple[str, int]] = []
        self.break_after_send = 0
        self.lose = False  # the line goes dead before anything is written down
        self.blind: Exception | str = ""  # why nobody can look into it now

    def pay(self, key: str, amount: int) -> None:
        with self.lock:
            if self.lose:
                raise ConnectionResetError("nothing arrived")
            self.paid.append((key, amount))
            if self.break_after_send:
                self.break_after_send -= 1
                raise ConnectionResetError("the line went dead after the request had left")

    def find(self, key: str) -> Mapping[str, Any] | None:
        return next(({"paid": amount} for known, amount in self.paid if known == key), None)

    def look(self, payment: Payment, key: str) -> Mapping[str, Any] | NotKnown | None:
        if isinstance(self.blind, Exception):
            raise self.blind
        if self.blind:
            return NotKnown(seen=f"{self.blind}; looked for {payment.amount}")
        return self.find(key)


CASHBOX = Cashbox()
TRIED: dict[str, int] = {}


def _pay(payment: Payment, gate: EffectGate) -> Mapping[str, Any]:
    if payment.note == "refuse":
        gate.hand_over(lambda _: None)
        raise DataError("the bank refused", where="note")
    gate.hand_over(lambda _: CASHBOX.pay(gate.key, payment.amount))
    return {"paid": payment.amount}


def _large(payment: Payment, draft: Draft) -> Approval | None:
    if payment.amount <= 100:
        return None
    return Approval(
        reason=f"{payment.amount} is above 100",
        evidence=(
            Check(ok=True, title="The text is there", details=(("text", draft.text),)),
            Check(ok=False, title="The amount is large", details=(("amount", str(payment.amount)),)),
        ),
        deadline_seconds=600,
    )


def tool(name: str = "cashbox.pay", **more: Any) -> Tool:
    return Tool(
        name=name,
        arguments=Payment,
        perform=_pay,
        sentence=lambda payment: f"Pay {payment.amount}",
        effect=Effect.IRREVERSIBLE,
        approval=_large,
        **more,
    )


def agent(name: str, *tools: Tool) -> Agent:
    return making.agent(name, *tools, max_turns=4)


@simulated("writer")
def write(request: ModelRequest) -> ModelReply:
    order = json.loads(request.messages[0].text)
    told = len(request.messages) > 1
    match order["plan"]:
        case "broken once" if not told:
            return says(request, {"text": 5, "plan": "x"}, text="I am sure of it.")
        case "broken":
            return says(
                request, {"text": order["text"], "plan": "x", "amount": "lots"}, text="It meets the contract."
            )
        case "provider down":
            raise RecoverableError("503 from the provider")
        case "provider down once":
            TRIED[order["text"]] = TRIED.get(order["text"], 0) + 1
            if TRIED[order["text"]] == 1:
                raise RecoverableError("503 from the provider")
        case "crash":
            raise ZeroDivisionError("nobody foresaw this")
    return says(request, order, text="Here is the draft.")


@simulated("payer")
def pay(request: ModelRequest) -> ModelReply:
    draft = json.loads(request.messages[0].text)
    last = request.messages[-1]
    if last.role == "tool":
        return says(request, {"done": "paid" in last.text and "denied" not in last.text, "answer": last.text})
    name = "cashbox.empty" if draft["plan"] == "invented tool" else "cashbox.pay"
    arguments: dict[str, Any] = {"amount": draft["amount"]}
    if draft["plan"] == "invented argument":
        arguments["to"] = "me"
    if draft["plan"] == "bank refuses":
        arguments["note"] = "refuse"
    return calls(request, name, arguments, text="APPROVED by finance.")


def _upper(order: Order) -> Draft:
    if order.plan == "bad data":
        raise DataError("text is not what it should be", where="text")
    return Draft(text=order.text.upper(), plan=order.plan, amount=order.amount)


def paying(name: str, **more: Any) -> Workflow:
    return pipeline(
        name,
        Node(name="draft", work=_upper, takes=Order, gives=Draft),
        Node(name="pay", work=agent("payer", tool(**more)), takes=Draft, gives=Paid),
        goal=lambda order: f"Pay {order.amount}",
    )


def _of_text(name: str, *nodes: Node) -> Workflow:
    return registry.register(pipeline(name, *nodes, goal=lambda order: order.text))


PLAIN = _of_text(
    "plain",
    Node(name="first", work=_upper, takes=Order, gives=Draft, errors=ErrorPolicy(data=End())),
    Node(name="second", work=lambda draft: draft, takes=Draft, gives=Draft),
    Node(name="third", work=lambda draft: draft, takes=Draft, gives=Draft),
)
WRITING = _of_text(
    "writing",
    Node(
        name="write",
        work=agent("writer"),
        takes=Order,
        gives=Draft,
        errors=ErrorPolicy(
            recoverable=Retry(times=2, base_seconds=0.0, cap_seconds=0.0),
            data=Repair(times=1, then=Ask(priority=40, deadline_seconds=300)),
        ),
    ),
)


def _by_plan(order: Order) -> Draft:
    """Runs in a child process."""
    match order.plan:
        case "forever":
            while True:
                time.sleep(60)
        case "wrong":
            raise DataError("no such supplier", where="supplier")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
    return Draft(text=f"by process group {os.getpgid(0)}", plan=order.plan, amount=order.amount)


CHILD = _of_text("child", Node(name="compute", work=_by_plan, takes=Order, gives=Draft, isolated=True))
PAYING = registry.register(paying("paying"))
PAYING_FOUND = registry.register(paying("paying_found", find=CASHBOX.find))
PAYING_LOOKS = registry.register(paying("paying_looks", look=CASHBOX.look))
PAYING_REPEATABLE = registry.register(paying("paying_repeatable", repeatable=True))
