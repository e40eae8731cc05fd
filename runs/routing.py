"""Who works next: one pure function of the definition and the history. No database, no effects.

An agent never chooses: what it returned is only ever data that rules written by engineers look at (law L7).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runs.definitions import Pipeline, Workflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Visited:
    """A settled step: its node and its output, which has met the node's contract."""

    node: str
    output: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Work for one node, with the input it gets."""

    node: str
    input: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """These visits come next; more than one means side by side."""

    visits: tuple[Visit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """Nothing is left to do; this is the run's output."""

    output: Any


Route = Go | Finish


def route(workflow: Workflow, run_input: Any, history: Sequence[Visited]) -> Route:
    """What runs next. `history` is every settled step, oldest first."""
    match workflow.pattern:
        case Pipeline(nodes=nodes):
            return _pipeline([node.name for node in nodes], run_input, history)


def _pipeline(nodes: Sequence[str], run_input: Any, history: Sequence[Visited]) -> Route:
    if not history:
        return Go(visits=(Visit(node=nodes[0], input=run_input),))
    last = history[-1]
    place = nodes.index(last.node) + 1
    if place == len(nodes):
        return Finish(output=last.output)
    return Go(visits=(Visit(node=nodes[place], input=last.output),))
