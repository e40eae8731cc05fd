"""Who works next: one pure function of the definition and the history. No database, no effects.

An agent never chooses: what it returned is only ever data that rules written by engineers look at (law L7).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runs.definitions import Orchestrated, Pipeline, Recorded, Supervised, Workflow
from runs.routing.chain import along, played
from runs.routing.history import GOING, Later, Visited
from runs.routing.joins import Joined, verdict_of
from runs.routing.plan_bounds import TooDeep, TooWide, check_plan
from runs.routing.plans import supervised
from runs.routing.routes import Fail, Finish, Go, NoWay, Route, Visit, Wait
from runs.routing.rules import by_rules

__all__ = [
    "GOING",
    "Fail",
    "Finish",
    "Go",
    "Joined",
    "Later",
    "NoWay",
    "Route",
    "TooDeep",
    "TooWide",
    "Visit",
    "Visited",
    "Wait",
    "check_plan",
    "route",
    "verdict_of",
]


def route(workflow: Workflow, run_input: Any, history: Sequence[Visited]) -> Route:
    """What runs next. `history` is every step, oldest first.

    Raises NoWay when no rule says, and whatever a rule itself raises.
    """
    match workflow.pattern:
        case Pipeline(nodes=nodes):
            return along([node.name for node in nodes], run_input, history)
        case Orchestrated() as machine:
            return by_rules(workflow, machine, run_input, history)
        case Supervised() as pattern:
            return supervised(pattern, run_input, history)
        case Recorded():
            return played(history)
