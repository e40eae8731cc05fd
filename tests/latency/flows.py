"""Workflows whose tools, looks and steps do not end by themselves within their run's deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from runs import registry
from runs.definitions import (
    END,
    Edge,
    Effect,
    EffectGate,
    Node,
    NotKnown,
    Orchestrated,
    Tool,
    Workflow,
)
from tests.flows.making import pipeline, workflow
from tests.runs.flows import CASHBOX, Draft, Order, Paid, Payment, _upper, agent

ENDLESS = threading.Event()  # set by tests when they are over, so that nothing stays behind
ASKED_TO_LOOK = threading.Event()


def _prepares_too_long(payment: Payment, gate: EffectGate) -> Mapping[str, Any]:
    while gate.seconds_left > 0:
        time.sleep(0.01)
    gate.hand_over(lambda _: CASHBOX.pay(gate.key, payment.amount))
    return {"paid": payment.amount}


def _pays(payment: Payment, gate: EffectGate) -> Mapping[str, Any]:
    gate.hand_over(lambda _: CASHBOX.pay(gate.key, payment.amount))
    return {"paid": payment.amount}


def _never_says(payment: Payment, key: str) -> Mapping[str, Any] | NotKnown | None:
    ASKED_TO_LOOK.set()
    ENDLESS.wait(3600)
    return None


def _tool(perform: Any, look: Any = None) -> Tool:
    return Tool(
        name="cashbox.pay",
        arguments=Payment,
        perform=perform,
        sentence=lambda payment: f"Pay {payment.amount}",
        effect=Effect.IRREVERSIBLE,
        approval=lambda payment, draft: None,
        look=look,
    )


def _paying(name: str, tool: Tool, seconds: float) -> Workflow:
    return pipeline(
        name,
        Node(name="draft", work=_upper, takes=Order, gives=Draft),
        Node(name="pay", work=agent("payer", tool), takes=Draft, gives=Paid),
        goal=lambda order: f"Pay {order.amount}",
        deadline_seconds=seconds,
    )


def computes(order: Order) -> Draft:
    time.sleep(3600)
    return Draft(text="never", plan="", amount=0)


SLOW_TOOL = registry.register(_paying("latency_slow_tool", _tool(_prepares_too_long), 6.0))
SLOW_LOOK = registry.register(_paying("latency_slow_look", _tool(_pays, _never_says), 6.0))
SLOW_CHILD = registry.register(
    pipeline(
        "latency_slow_child",
        Node(name="compute", work=computes, takes=Order, gives=Draft, isolated=True),
        deadline_seconds=6.0,
    )
)


def _takes_its_time(payment: Payment, gate: EffectGate) -> Mapping[str, Any]:
    while gate.seconds_left > 0:
        time.sleep(0.01)
    return {"paid": payment.amount}


SLOW_READ = registry.register(
    _paying(
        "latency_slow_read",
        Tool(
            name="cashbox.pay",
            arguments=Payment,
            perform=_takes_its_time,
            sentence=lambda payment: f"Look at {payment.amount}",
            effect=Effect.NONE,
            egress=False,
        ),
        3.0,
    )
)


def _nobody_foresaw(draft: Draft) -> bool:
    raise ZeroDivisionError("nobody foresaw this")


UNDECIDED = registry.register(
    workflow(
        "latency_undecided",
        Orchestrated(
            nodes=(Node(name="draft", work=_upper, takes=Order, gives=Draft),),
            edges=(Edge(source="draft", target=END, when=_nobody_foresaw, says="it depends"),),
        ),
    )
)
