"""What keeps a pattern or an error policy from working: unknown nodes, circles without a bound, workers off the list.

Pure; `runs.checks` turns it into Django's system checks.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, RootModel

from runs.definitions import (
    END,
    Agent,
    Another,
    Edge,
    Fallback,
    Node,
    Orchestrated,
    Pattern,
    Pipeline,
    Results,
    Retry,
    Supervised,
    Verify,
)
from runs.policies import links
from runs.verdicts import work_name

Problem = tuple[str, str, str]  # code, what, fix
DEEPEST_PLANS = 3
WIDEST = 64  # steps of one run at once; a worker process has that many threads for them


def is_contract(given: Any) -> bool:
    """Whether this is a pydantic model: authors may not type-check."""
    return inspect.isclass(given) and issubclass(given, BaseModel)


def pattern_problems(pattern: Pattern) -> Iterator[Problem]:
    """Everything that keeps a pattern from working."""
    match pattern:
        case Pipeline(nodes=nodes):
            yield from _chain_problems(nodes)
        case Orchestrated():
            yield from _machine_problems(pattern)
        case Supervised():
            yield from _supervised_problems(pattern)


def _chain_problems(nodes: Sequence[Node]) -> Iterator[Problem]:
    for before, after in itertools.pairwise(nodes):
        yield from _handed_on(before, after)


def _handed_on(before: Node, after: Node) -> Iterator[Problem]:
    if not _fits(before.gives, after.takes):
        yield (
            "runs.E010",
            f"{before.name!r} gives {before.gives.__name__}, but {after.name!r} takes {after.takes.__name__}",
            f"Let {after.name!r} take {before.gives.__name__}, or put a node between them.",
        )


def _fits(given: Any, taken: Any) -> bool:
    """Whether one contract can be handed on as the other; what is no contract is reported elsewhere."""
    if not (is_contract(given) and is_contract(taken)):
        return True
    return issubclass(given, taken)


# orchestrated


def _machine_problems(machine: Orchestrated) -> Iterator[Problem]:
    nodes = {node.name: node for node in machine.nodes}
    if END in nodes:
        yield "runs.E021", f"a node is named {END!r}", f"Name it otherwise: {END!r} is where a run ends."
    for edge in machine.edges:
        yield from _edge_problems(edge, nodes)
    known = [edge for edge in machine.edges if edge.source in nodes and edge.target in {*nodes, END}]
    yield from _ways_out(machine.nodes, known)
    circle = _unbounded_circle(list(nodes), known)
    if circle:
        yield (
            "runs.E024",
            f"the circle {' -> '.join(circle)} has no bound",
            "Give one of its edges `most`, and another edge for when that is used up.",
        )


def _edge_problems(edge: Edge, nodes: dict[str, Node]) -> Iterator[Problem]:
    for side, name in (("source", edge.source), ("target", edge.target)):
        if name not in nodes and not (side == "target" and name == END):
            yield (
                "runs.E021",
                f"an edge from {edge.source!r} to {edge.target!r}: there is no node {name!r}",
                f"Use one of: {', '.join(nodes)}, or END as a target.",
            )
            return
    if edge.most is not None and edge.most < 1:
        yield (
            "runs.E022",
            f"the edge to {edge.target!r} may be taken {edge.most} times",
            "Allow at least one.",
        )
    if edge.target in nodes and edge.hand is None:
        yield from _handed_on(nodes[edge.source], nodes[edge.target])


def _ways_out(nodes: Sequence[Node], edges: Sequence[Edge]) -> Iterator[Problem]:
    reached = _reached(nodes[0].name, edges)
    for node in nodes:
        if not any(edge.source == node.name for edge in edges):
            yield "runs.E023", f"no edge leads out of {node.name!r}", "Give it one; END ends the run."
        if node.name not in reached:
            yield "runs.E023", f"no edge leads to {node.name!r}", "Give it one, or take the node away."
    if nodes and END not in reached:
        yield "runs.E023", "no way leads to the end", "Let an edge lead to END."


def _reached(start: str, edges: Sequence[Edge]) -> set[str]:
    found, new = {start}, {start}
    while new:
        new = {edge.target for edge in edges if edge.source in new} - found
        found |= new
    return found


def _unbounded_circle(names: Sequence[str], edges: Sequence[Edge]) -> list[str]:
    """A circle along edges without `most`, its first node repeated at the end; empty when there is none."""
    onward = {name: [e.target for e in edges if e.source == name and e.most is None] for name in names}
    done: set[str] = set()
    for start in names:
        path, waiting = [start], [iter(onward[start])]
        while path and start not in done:
            target = next(waiting[-1], None)
            if target is None:
                done.add(path.pop())
                waiting.pop()
            elif target in path:
                return [*path[path.index(target) :], target]
            elif target not in done and target in onward:
                path.append(target)
                waiting.append(iter(onward[target]))
    return []


# supervised


def _supervised_problems(pattern: Supervised) -> Iterator[Problem]:
    if not pattern.workers:
        yield "runs.E025", "its supervisor has no workers", "List the nodes that tasks may be given to."
    if not pattern.supervisor.plans:
        yield (
            "runs.E026",
            f"the supervisor {pattern.supervisor.name!r} gives no plan",
            "Set its gives to Plan, or a model derived from it.",
        )
    yield from _idle_supervisors(pattern)
    yield from _bounds(pattern)
    yield from _tasks_are_objects(pattern)
    if pattern.then and not _fits(Results, pattern.then[0].takes):
        yield (
            "runs.E010",
            f"{pattern.then[0].name!r} stands after the join and does not take Results",
            "Set its takes to Results.",
        )
    yield from _chain_problems(pattern.then)


def _tasks_are_objects(pattern: Supervised) -> Iterator[Problem]:
    """Tasks and their results are kept as objects, in plans and after the join."""
    sides = [(pattern.supervisor.name, "takes", pattern.supervisor.takes)]
    for worker in pattern.workers:
        sides += [(worker.name, "takes", worker.takes), (worker.name, "gives", worker.gives)]
    for node, side, contract in sides:
        if is_contract(contract) and issubclass(contract, RootModel) and not _is_object(contract):
            yield (
                "runs.E046",
                f"{side} of {node!r} is {contract.__name__}, a bare value and no object",
                "Give it a model with named fields: plans and results hold objects.",
            )


def _is_object(contract: type[BaseModel]) -> bool:
    return contract.model_json_schema().get("type") == "object"


def _idle_supervisors(pattern: Supervised) -> Iterator[Problem]:
    """Who plans performs nothing itself."""
    for node in (pattern.supervisor, *(worker for worker in pattern.workers if worker.plans)):
        for tool in (tool for agent in node.agents for tool in agent.tools):
            if tool.acts:
                yield (
                    "runs.E027",
                    f"{node.name!r} plans, and its tool {tool.name!r} acts",
                    "Give the tool to a worker: a supervisor performs nothing itself.",
                )


def _bounds(pattern: Supervised) -> Iterator[Problem]:
    if pattern.most_tasks < 1 or not 1 <= pattern.depth <= DEEPEST_PLANS or not 1 <= pattern.width <= WIDEST:
        yield (
            "runs.E028",
            f"most_tasks={pattern.most_tasks}, depth={pattern.depth}, width={pattern.width}",
            f"most_tasks at least 1, depth from 1 to {DEEPEST_PLANS}, width from 1 to {WIDEST}.",
        )
    if pattern.depth == 1 and any(worker.plans for worker in pattern.workers):
        yield "runs.E028", "a worker plans, and depth is 1", "Set depth=2, or take the worker away."
    need = pattern.join.need
    if need is not None and (need <= 0 or (isinstance(need, float) and need > 1)):
        yield "runs.E029", f"the join needs {need}", "Need all (None), a number from 1, or a share up to 1.0."
    if isinstance(need, int) and need > pattern.most_tasks:
        yield (
            "runs.E029",
            f"the join needs {need} of at most {pattern.most_tasks} tasks",
            "Need fewer, or allow more tasks.",
        )


# error policies


def policy_problems(node: Node) -> Iterator[Problem]:
    """What keeps a node's error policy from working."""
    for link in (link for chain in node.errors.chains for link in links(chain)):
        match link:
            case Fallback(models=()):
                yield "runs.E040", f"node {node.name!r} falls back to no model", "Name at least one."
            case Fallback() if not isinstance(node.work, Agent):
                yield "runs.E040", f"node {node.name!r} is no agent and has no model", "Take Fallback away."
            case Another(agent=work) | Verify(by=work) if _same(node, work):
                yield (
                    "runs.E041",
                    f"node {node.name!r}: {work_name(work)!r} would stand in for itself",
                    "Name another agent; Retry says that the same one may try again.",
                )
            case Retry(times=times) if times < 1:
                yield "runs.E040", f"node {node.name!r} retries {times} times", "Retry at least once."
            case _:
                continue


def _same(node: Node, work: Any) -> bool:
    if isinstance(node.work, Agent) and isinstance(work, Agent):
        return work.name == node.work.name
    return work is node.work
