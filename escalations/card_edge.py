"""What a card says of the edge over which an output would go: who made it, who gets it, both contracts. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from runs.definitions import END, Orchestrated, Results, Supervised, Workflow
from runs.models import Question, QuestionKind, Step
from runs.shown import sides

OF_VALUES = (QuestionKind.CONTRACT, QuestionKind.CLAIMS)  # an output is handed on, or is not
MOST_CONSUMERS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """One node that may get the output. `rows`: both contracts, field by field; `differing` counts those that differ.

    `how` says what stands between the two; then a difference means nothing by itself.
    """

    name: str
    contract: str
    how: str
    rows: tuple[sides.Row, ...]
    differing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """Who produced a value and who would get it. `consumers` is empty where nobody takes it or nobody knows who does;
    `rows` is then the producer's contract alone."""

    producer: str
    consumer: str
    contract: str
    consumers: tuple[Consumer, ...] = ()
    rows: tuple[sides.Row, ...] = ()


def edge_of(question: Question, workflow: Workflow | None) -> Edge | None:
    """The edge behind a question about an output; None for another question."""
    if question.kind not in OF_VALUES or question.step is None:
        return None
    node = question.step.node
    if workflow is None or not workflow.has(node) or workflow.recorded:
        return Edge(producer=node, consumer="", contract=question.contract)
    where = str(question.action.get("where", ""))
    gives = workflow.node(node).gives
    consumers = tuple(_consumers(workflow, question.step, gives, where))[:MOST_CONSUMERS]
    return Edge(
        producer=node,
        consumer=_consumer(workflow, question.step),
        contract=gives.__name__,
        consumers=consumers,
        rows=() if consumers else _first(sides.rows(gives, gives, where=where)),
    )


def _consumers(workflow: Workflow, step: Step, gives: Any, where: str) -> Iterator[Consumer]:
    for name, takes, how in _takers(workflow, step):
        found = sides.rows(gives, takes, where=where)
        count = 0 if how else sides.differing(found)
        yield Consumer(name=name, contract=takes.__name__, how=how, rows=_first(found), differing=count)


def _first(rows: tuple[sides.Row, ...]) -> tuple[sides.Row, ...]:
    """Where the value broke is read first, then what differs."""
    return tuple(sorted(rows, key=lambda row: (not row.failing, not row.says)))


def _takers(workflow: Workflow, step: Step) -> Iterator[tuple[str, Any, str]]:
    """Every node that may get a step's output, what it takes, and what stands between."""
    pattern = workflow.pattern
    if isinstance(pattern, Orchestrated):
        for edge in pattern.edges:
            if edge.source == step.node and edge.target != END:
                how = "a rule makes its input from everything given so far" if edge.hand else ""
                yield edge.target, workflow.node(edge.target).takes, how
        return
    if isinstance(pattern, Supervised) and step.node not in {one.name for one in pattern.then}:
        planned = workflow.node(step.node).plans
        for node in pattern.workers if planned else pattern.then[:1]:
            how = (
                "each task of the plan is its input"
                if planned
                else "the engine collects all tasks as Results"
            )
            yield node.name, node.takes if planned else Results, how
        return
    for way in workflow.ways:
        if way.source == step.node:
            yield way.target, workflow.node(way.target).takes, ""


def _consumer(workflow: Workflow, step: Step) -> str:
    """Who gets the step's output, as far as that is certain before it is there."""
    targets = _targets(workflow, step.node)
    if step.parent_id is not None:
        return "the join, with the other tasks"
    if workflow.node(step.node).plans:
        return "the workers of the plan"
    if len(targets) > 1:
        return "where the rules say"
    return targets[0] if targets and targets[0] != END else "the end of the run"


def _targets(workflow: Workflow, node: str) -> list[str]:
    pattern = workflow.pattern
    if isinstance(pattern, Orchestrated):
        return [edge.target for edge in pattern.edges if edge.source == node]
    return [way.target for way in workflow.ways if way.source == node]
