"""Orchestrated workflows: the first edge that holds says what comes next."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from runs.canonical import canonical, plain
from runs.definitions import END, Edge, Node, Orchestrated, Trail, Workflow
from runs.errors import broken
from runs.routing.history import GOING, Visited, output_of, read_as
from runs.routing.routes import Finish, Go, NoWay, Route, Visit, Wait


def by_rules(workflow: Workflow, machine: Orchestrated, run_input: Any, history: Sequence[Visited]) -> Route:
    """What runs next. Raises NoWay, ContractBroken for what is handed on and is not taken there, what a rule raises."""
    if not history:
        return Go(visits=(Visit(node=machine.nodes[0].name, input=run_input),))
    if history[-1].outcome == GOING:
        return Wait()
    trail = _trail(workflow, run_input, history)
    edge = _edge(machine, trail, history)
    given = plain(edge.hand(trail)) if edge.hand else output_of(history[-1])
    if edge.target == END:
        canonical(given)  # what cannot be kept is said here, where a person is asked
        return Finish(output=given)
    _must_meet(workflow.node(edge.target), given, edge)
    return Go(visits=(Visit(node=edge.target, input=given),))


def _trail(workflow: Workflow, run_input: Any, history: Sequence[Visited]) -> Trail:
    visits: dict[str, list[Visited]] = {}
    for one in history:
        visits.setdefault(one.node, []).append(one)
    return Trail(
        input=read_as(workflow.takes, run_input),
        outputs={name: _Outputs(workflow.node(name).gives, some) for name, some in visits.items()},
    )


class _Outputs(Sequence[BaseModel]):
    """A node's outputs as its contract, each made when it is looked at."""

    def __init__(self, contract: type[BaseModel], visits: list[Visited]) -> None:
        self._contract = contract
        self._visits = visits

    def __len__(self) -> int:
        return len(self._visits)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return tuple(read_as(self._contract, output_of(one)) for one in self._visits[place])
        return read_as(self._contract, output_of(self._visits[place]))


def _edge(machine: Orchestrated, trail: Trail, history: Sequence[Visited]) -> Edge:
    source = history[-1].node
    output = trail.last(source)
    used_up: dict[str, int] = {}
    for edge in machine.edges:
        if edge.source != source or (edge.when is not None and not edge.when(output)):
            continue
        if edge.most is not None and _taken(machine, edge, history) >= edge.most:
            used_up[f"to {edge.target} ({edge.most} times)"] = edge.most
            continue
        return edge
    bounds = f"; used up: {', '.join(used_up)}" if used_up else ""
    raise NoWay(
        f"no edge out of {source} holds for what it gave{bounds}", most=next(iter(used_up.values()), None)
    )


def _taken(machine: Orchestrated, edge: Edge, history: Sequence[Visited]) -> int:
    """How often a run went from the edge's source to its target. Two edges between the same two count together."""
    return sum(
        1
        for one, after in itertools.pairwise(history)
        if (one.node, after.node) == (edge.source, edge.target)
    )


def _must_meet(node: Node, given: Any, edge: Edge) -> None:
    try:
        read_as(node.takes, given)
    except ValidationError as error:
        raise broken(error, f"input of {edge.target} from {edge.source}") from error
