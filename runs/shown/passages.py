"""Every passage of a workflow: from where to where, what the one gives and what the other takes. Pure.

The engine checks both sides on every passage; between them stands at most a rule that hands on what it chooses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from pydantic import BaseModel

from runs.definitions import END, Edge, Node, Orchestrated, Pipeline, Supervised, Workflow
from runs.shown import sides
from runs.shown.fields import Contract, contract

Model = type[BaseModel]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side's contract. `number` names it on the page; only where it is `first` is it written out."""

    contract: Contract
    number: int
    first: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """One line of the drawing. `gives` is None at the start, `takes` at the end; `same`: one contract on both sides."""

    source: str
    target: str
    says: str
    how: str
    gives: Side | None
    takes: Side | None
    same: bool
    rows: tuple[
        sides.Row, ...
    ] = ()  # both contracts field by field, where they are two and no rule stands between

    @property
    def differing(self) -> int:
        """How many fields differ."""
        return sides.differing(self.rows)

    @property
    def written(self) -> bool:
        """Whether a contract is written out here, not only named."""
        return any(side is not None and side.first for side in (self.gives, self.takes))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plain:
    source: str
    target: str
    gives: Model | None
    takes: Model | None
    says: str = ""
    how: str = ""


START, FINISH = "start", "end"


def passages(workflow: Workflow) -> tuple[Passage, ...]:
    """Every passage in the order of the definition, from the run's input to its output."""
    numbers: dict[Model, int] = {}

    def side(model: Model | None) -> Side | None:
        if model is None:
            return None
        first = model not in numbers
        number = numbers.setdefault(model, len(numbers) + 1)
        return Side(contract=contract(model), number=number, first=first)

    found = []
    for one in _all(workflow):
        gives = side(one.gives)
        same = one.gives is not None and one.gives is one.takes
        takes = gives if same else side(one.takes)
        found.append(
            Passage(
                source=one.source,
                target=one.target,
                says=one.says,
                how=one.how,
                gives=gives,
                takes=takes,
                same=same,
                rows=_rows(one),
            )
        )
    return tuple(found)


def _rows(one: _Plain) -> tuple[sides.Row, ...]:
    if one.gives is None or one.takes is None or one.gives is one.takes or one.how:
        return ()
    return sides.rows(one.gives, one.takes)


def _all(workflow: Workflow) -> Iterator[_Plain]:
    if workflow.recorded or not workflow.nodes:
        return
    first = workflow.nodes[0]
    yield _Plain(source=START, target=first.name, gives=None, takes=first.takes, how="the run’s input")
    match workflow.pattern:
        case Pipeline(nodes=nodes):
            yield from _chain(nodes)
            yield _last(nodes[-1])
        case Orchestrated() as machine:
            yield from (_by_rule(workflow, edge) for edge in machine.edges)
        case Supervised() as supervised:
            yield from _fanned(supervised)


def _chain(nodes: Iterable[Node]) -> Iterator[_Plain]:
    for one, after in pairwise(nodes):
        yield _Plain(source=one.name, target=after.name, gives=one.gives, takes=after.takes)


def _last(node: Node) -> _Plain:
    return _Plain(source=node.name, target=FINISH, gives=node.gives, takes=None, how="the run’s output")


def _by_rule(workflow: Workflow, edge: Edge) -> _Plain:
    how = "a rule makes the input from everything given so far" if edge.hand else ""
    ends = edge.target == END
    if ends:
        how = (
            "a rule makes the run’s output from everything given so far" if edge.hand else "the run’s output"
        )
    return _Plain(
        source=edge.source,
        target=FINISH if ends else edge.target,
        gives=workflow.node(edge.source).gives,
        takes=None if ends else workflow.node(edge.target).takes,
        says=edge.says,
        how=how,
    )


def _fanned(pattern: Supervised) -> Iterator[_Plain]:
    planners = [
        pattern.supervisor,
        *(worker for worker in pattern.workers if worker.plans and pattern.depth > 1),
    ]
    for planner in planners:
        for worker in pattern.workers:
            yield _Plain(
                source=planner.name,
                target=worker.name,
                gives=planner.gives,
                takes=worker.takes,
                how="the input of each task of the plan, checked before anybody acts on it",
            )
    after = pattern.then[0] if pattern.then else None
    for worker in pattern.workers:
        yield _Plain(
            source=worker.name,
            target=after.name if after else FINISH,
            gives=worker.gives,
            takes=after.takes if after else None,
            how="the engine collects the tasks as Results",
        )
    yield from _chain(pattern.then)
    if after:
        yield _last(pattern.then[-1])
