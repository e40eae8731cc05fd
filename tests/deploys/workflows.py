"""One workflow in two versions and a changed content, and calls that take their time. DEPLOYED names what a worker has.

As two trees of code would: what is not named there is not registered in that process.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from celery.signals import celeryd_init

from runs import registry
from runs.agents.door import ModelReply, ModelRequest
from runs.agents.simulated import says, simulated
from runs.definitions import ErrorPolicy, Node, Pipeline, Plan, Results, Retry, Supervised, Task, Workflow
from tests.faults.workflows import Order, _agent, _by, _find, _plain, _tool

NAME = "deploy_send"


def _version(version: int, *more: Node) -> Workflow:
    """prepare, think, send an effect, think, and whatever else: each by an agent or a function."""
    return Workflow(
        name=NAME,
        version=version,
        team="Testers",
        goal=lambda order: NAME,
        pattern=Pipeline(
            nodes=(
                _plain("prepare"),
                _by("think1", _agent("thinker")),
                _by("send", _agent("sender", _tool(find=_find))),
                _by("think2", _agent("thinker")),
                *more,
                _plain("close"),
            )
        ),
    )


@simulated("ponderer")
def ponder(request: ModelRequest) -> ModelReply:
    """Its provider takes its time, see SIMULATED_SECONDS."""
    return says(request, json.loads(request.messages[0].text))


def _block(order: Order) -> Order:
    """Nothing frees this thread, in a process that is told so; it leaves a mark first."""
    if mark := os.environ.get("DEPLOY_MARK"):
        Path(mark).touch()
    time.sleep(float(os.environ.get("DEPLOY_BLOCKS", "0")))
    return order


ONE, TWO = _version(1), _version(2, _by("think3", _agent("thinker")))
CHANGED = replace(ONE, retry_budget=3)
DEPLOYS = {"1": ONE, "1 changed": CHANGED, "2": TWO}
PONDER = registry.register(
    Workflow(
        name="deploy_ponder",
        version=1,
        team="Testers",
        goal=lambda order: "ponder",
        pattern=Pipeline(nodes=tuple(_by(f"ponder{n}", _agent("ponderer")) for n in (1, 2, 3))),
    )
)
BLOCK = registry.register(
    Workflow(
        name="deploy_block",
        version=1,
        team="Testers",
        goal=lambda order: "block",
        pattern=Pipeline(
            nodes=(
                Node(
                    name="block",
                    work=_block,
                    takes=Order,
                    gives=Order,
                    errors=ErrorPolicy(recoverable=Retry(times=1)),
                ),
            )
        ),
    )
)


def _compute(order: Order) -> Order:
    """In a child process, whose number it writes down."""
    if mark := os.environ.get("DEPLOY_CHILD"):
        Path(mark).write_text(str(os.getpid()))
        time.sleep(float(os.environ.get("DEPLOY_BLOCKS", "0")))
    return order


COMPUTE = registry.register(
    Workflow(
        name="deploy_compute",
        version=1,
        team="Testers",
        goal=lambda order: "compute",
        pattern=Pipeline(
            nodes=(
                Node(name="compute", work=_compute, takes=Order, gives=Order, isolated=True, seconds=3600.0),
            )
        ),
    )
)


def _plan(order: Order) -> Plan:
    return Plan(tasks=tuple(Task(worker="ponder", input={"effects": number}) for number in range(20)))


def _tally(results: Results) -> Order:
    return Order(effects=len(results.results))


CREW = registry.register(
    Workflow(
        name="deploy_crew",
        version=1,
        team="Testers",
        goal=lambda order: "crew",
        pattern=Supervised(
            supervisor=Node(name="plan", work=_plan, takes=Order, gives=Plan),
            workers=(_by("ponder", _agent("ponderer")),),
            then=(Node(name="tally", work=_tally, takes=Results, gives=Order),),
            width=6,
        ),
    )
)


@celeryd_init.connect
def _deploy(**_: Any) -> None:
    for name in filter(None, os.environ.get("DEPLOYED", "").split(",")):
        registry.register(DEPLOYS[name])
