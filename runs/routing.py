"""Who works next: one pure function of the definition and the history. No database, no effects.

An agent never chooses: what it returned is only ever data that rules written by engineers look at (law L7).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from runs.canonical import canonical, plain
from runs.definitions import (
    END,
    Edge,
    Join,
    Node,
    Orchestrated,
    Pipeline,
    Plan,
    Recorded,
    Rest,
    Results,
    Supervised,
    TaskResult,
    TaskState,
    Trail,
    Workflow,
)
from runs.errors import ContractBroken, broken

GOING = ""  # the outcome of a step that has none yet


@dataclass(frozen=True, slots=True)
class Later:
    """An output that is fetched when a rule looks at it: a long history need not be held in memory."""

    fetch: Callable[[], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Visited:
    """A step: its node, and its output, which has met the node's contract; it may be a `Later`.

    `outcome`: done, failed, ended, or GOING. `parent` is the id of the step whose plan it is a task of, `place` its
    number in that plan from 0.
    """

    node: str
    output: Any = None
    id: int = 0
    outcome: str = TaskState.DONE
    parent: int | None = None
    place: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Work for one node, with the input it gets."""

    node: str
    input: Any
    parent: int | None = None
    place: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """These visits come next; more than one means side by side. The steps in `drop` are not needed any more."""

    visits: tuple[Visit, ...]
    drop: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Nothing comes before what is going now has settled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """Nothing is left to do; this is the run's output."""

    output: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """It cannot go on by the definition: a join that cannot be met any more."""

    reason: str


Route = Go | Wait | Finish | Fail


class NoWay(Exception):
    """No edge out of a node holds: the definition does not say what comes next. A person is asked."""


def route(workflow: Workflow, run_input: Any, history: Sequence[Visited]) -> Route:
    """What runs next. `history` is every step, oldest first.

    Raises NoWay when no rule says, and whatever a rule itself raises.
    """
    match workflow.pattern:
        case Pipeline(nodes=nodes):
            return _chain([node.name for node in nodes], run_input, history)
        case Orchestrated() as machine:
            return _by_rules(workflow, machine, run_input, history)
        case Supervised() as supervised:
            return _supervised(supervised, run_input, history)
        case Recorded():
            return _played(history)


def _chain(nodes: Sequence[str], given: Any, history: Sequence[Visited]) -> Route:
    """One node after the other. `given` is what the first one gets."""
    if not history:
        return Go(visits=(Visit(node=nodes[0], input=given),))
    last = history[-1]
    if last.outcome == GOING:
        return Wait()
    place = nodes.index(last.node) + 1
    if place == len(nodes):
        return Finish(output=_output(last))
    return Go(visits=(Visit(node=nodes[place], input=_output(last)),))


def _played(history: Sequence[Visited]) -> Route:
    """Every step was planned at the start: when the last one has settled, all have. It is all that is looked at."""
    last = history[-1]
    return Wait() if last.outcome == GOING else Finish(output=last.output)


# orchestrated


def _by_rules(workflow: Workflow, machine: Orchestrated, run_input: Any, history: Sequence[Visited]) -> Route:
    if not history:
        return Go(visits=(Visit(node=machine.nodes[0].name, input=run_input),))
    if history[-1].outcome == GOING:
        return Wait()
    trail = _trail(workflow, run_input, history)
    edge = _edge(machine, trail, history)
    given = plain(edge.hand(trail)) if edge.hand else _output(history[-1])
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
        input=_as(workflow.takes, run_input),
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
            return tuple(_as(self._contract, _output(one)) for one in self._visits[place])
        return _as(self._contract, _output(self._visits[place]))


def _output(visited: Visited) -> Any:
    return visited.output.fetch() if isinstance(visited.output, Later) else visited.output


def _as(contract: type[BaseModel], value: Any) -> BaseModel:
    return contract.model_validate_json(canonical(value))


def _edge(machine: Orchestrated, trail: Trail, history: Sequence[Visited]) -> Edge:
    source = history[-1].node
    output = trail.last(source)
    used_up: list[str] = []
    for edge in machine.edges:
        if edge.source != source or (edge.when is not None and not edge.when(output)):
            continue
        if edge.most is not None and _taken(machine, edge, history) >= edge.most:
            used_up.append(f"to {edge.target} ({edge.most} times)")
            continue
        return edge
    bounds = f"; used up: {', '.join(used_up)}" if used_up else ""
    raise NoWay(f"no edge out of {source} holds for what it gave{bounds}")


def _taken(machine: Orchestrated, edge: Edge, history: Sequence[Visited]) -> int:
    """How often a run went from the edge's source to its target. Two edges between the same two count together."""
    return sum(
        1
        for one, after in itertools.pairwise(history)
        if (one.node, after.node) == (edge.source, edge.target)
    )


def _must_meet(node: Node, given: Any, edge: Edge) -> None:
    try:
        _as(node.takes, given)
    except ValidationError as error:
        raise broken(error, f"input of {edge.target} from {edge.source}") from error


# supervised


def _supervised(pattern: Supervised, run_input: Any, history: Sequence[Visited]) -> Route:
    top = [one for one in history if one.parent is None]
    if not top:
        return Go(visits=(Visit(node=pattern.supervisor.name, input=run_input),))
    tree = _Tree(pattern=pattern, tasks=_by_parent(history))
    plan = top[0]
    if plan.outcome == GOING:
        return Wait()
    if len(top) > 1:
        return _chain([node.name for node in pattern.then], None, top[1:])
    match tree.joined(plan):
        case _Met(drop=drop):
            return tree.after(plan, run_input, drop)
        case Go() | Wait() | Fail() as route:
            return route


def _by_parent(history: Sequence[Visited]) -> dict[int, list[Visited]]:
    found: dict[int, list[Visited]] = {}
    for one in history:
        if one.parent is not None:
            found.setdefault(one.parent, []).append(one)
    for tasks in found.values():
        tasks.sort(key=lambda task: task.place)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Met:
    """A plan is joined; the steps in `drop` are left over."""

    drop: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tree:
    """The tasks of a run's plans."""

    pattern: Supervised
    tasks: Mapping[int, Sequence[Visited]] = field(default_factory=dict)

    def joined(self, plan: Visited) -> _Met | Go | Wait | Fail:
        """How far a settled plan is, and what it asks for."""
        known = self.tasks.get(plan.id, ())  # all of the plan's, or none
        if not known:
            return Go(
                visits=tuple(_task(plan, place, task) for place, task in enumerate(_output(plan)["tasks"]))
            )
        inner = [self._inner(task) for task in known]
        outcomes = [_outcome(task, far) for task, far in zip(known, inner, strict=True)]
        verdict = verdict_of(self.pattern.join, len(known), outcomes)
        if verdict == Joined.FAILED:
            return Fail(reason=_short(self.pattern.join, len(known), outcomes, plan))
        if verdict == Joined.DONE:
            return _Met(drop=self._open(plan))
        return self._further(known, inner)

    def _further(
        self, tasks: Sequence[Visited], inner: Sequence[_Met | Go | Wait | Fail | None]
    ) -> Go | Wait:
        """What the plans of tasks ask for; what is left over under one that is over is dropped."""
        begin: list[Visit] = []
        drop: list[int] = []
        for task, far in zip(tasks, inner, strict=True):
            match far:
                case Go():
                    begin += far.visits
                    drop += far.drop
                case _Met() | Fail():
                    drop += self._open(task)
        return Go(visits=tuple(begin), drop=tuple(drop)) if begin or drop else Wait()

    def _inner(self, task: Visited) -> _Met | Go | Wait | Fail | None:
        """How far a task's own plan is; None for a task that has none (yet)."""
        if task.outcome != TaskState.DONE or not self._plans(task):
            return None
        return self.joined(task)

    def _plans(self, task: Visited) -> bool:
        return any(worker.plans for worker in self.pattern.workers if worker.name == task.node)

    def _open(self, plan: Visited) -> tuple[int, ...]:
        """Every step under a plan that is still going."""
        found: list[int] = []
        for task in self.tasks.get(plan.id, ()):
            if task.outcome == GOING:
                found.append(task.id)
            found += self._open(task)
        return tuple(found)

    def after(self, plan: Visited, run_input: Any, drop: tuple[int, ...]) -> Route:
        results = plain(Results(input=run_input, results=self._results(plan)))
        if not self.pattern.then:
            return Finish(output=results)
        return Go(visits=(Visit(node=self.pattern.then[0].name, input=results),), drop=drop)

    def _results(self, plan: Visited) -> tuple[TaskResult, ...]:
        tasks = self.tasks.get(plan.id, ())
        return tuple(
            self._result(planned, task) for planned, task in zip(_output(plan)["tasks"], tasks, strict=True)
        )

    def _result(self, planned: Mapping[str, Any], task: Visited) -> TaskResult:
        far = self._inner(task)
        outcome = _outcome(task, far)
        return TaskResult(
            worker=task.node,
            input=dict(planned["input"]),
            state=TaskState.ENDED if outcome == GOING else TaskState(outcome),
            output=_output(task) if far is None and outcome == TaskState.DONE else None,
            results=self._results(task) if far is not None and task.id in self.tasks else (),
        )


def _task(plan: Visited, place: int, task: Mapping[str, Any]) -> Visit:
    return Visit(node=task["worker"], input=task["input"], parent=plan.id, place=place)


def _outcome(task: Visited, inner: _Met | Go | Wait | Fail | None) -> str:
    """A task that is itself a plan is as far as its plan is."""
    match inner:
        case None:
            return task.outcome
        case Fail():
            return TaskState.FAILED
        case _Met():
            return TaskState.DONE
        case _:
            return GOING


class Joined:
    """Whether a plan is joined."""

    OPEN = "open"
    DONE = "done"
    FAILED = "failed"


def verdict_of(join: Join, tasks: int, outcomes: Sequence[str]) -> str:
    """Joined.DONE, FAILED (it cannot be met any more) or OPEN, of a plan with so many tasks.

    With Rest.WAIT everything settles first, so that nothing under way is thrown away, unless it can't be met.
    """
    done = sum(1 for one in outcomes if one == TaskState.DONE)
    going = sum(1 for one in outcomes if one == GOING)
    needed = join.needed(tasks)
    if done + going < needed:
        return Joined.FAILED
    if done >= needed and (not going or join.rest == Rest.END):
        return Joined.DONE
    return Joined.OPEN


def _short(join: Join, tasks: int, outcomes: Sequence[str], plan: Visited) -> str:
    done = sum(1 for one in outcomes if one == TaskState.DONE)
    lost = sum(1 for one in outcomes if one not in (TaskState.DONE, GOING))
    needed = join.needed(tasks)
    return f"{plan.node}: {needed} of {tasks} tasks are needed, {done} are done, {lost} failed or were ended"


def check_plan(pattern: Supervised, plan: Plan, depth: int) -> None:
    """Whether a plan may be acted on. `depth` is 1 for the supervisor's plan, 2 for a plan of one of its tasks.

    Raises ContractBroken with the path of the first thing that is wrong.
    """
    if len(plan.tasks) > pattern.most_tasks:
        raise ContractBroken(
            f"tasks of the plan: {len(plan.tasks)} tasks, at most {pattern.most_tasks} are allowed",
            where="tasks",
        )
    needed = pattern.join.needed(len(plan.tasks))
    if needed > len(plan.tasks):
        raise ContractBroken(
            f"tasks of the plan: {len(plan.tasks)} tasks, but the join needs {needed}", where="tasks"
        )
    workers = {worker.name: worker for worker in pattern.workers}
    for place, task in enumerate(plan.tasks):
        worker = workers.get(task.worker)
        if worker is None:
            raise ContractBroken(
                f"tasks.{place}.worker: there is no worker {task.worker[:80]!r}; allowed: {', '.join(sorted(workers))}",
                where=f"tasks.{place}.worker",
            )
        if worker.plans and depth >= pattern.depth:
            raise ContractBroken(
                f"tasks.{place}.worker: {worker.name} plans itself, and plans may stand {pattern.depth} deep",
                where=f"tasks.{place}.worker",
            )
        _check_task(worker, task.input, place)


def _check_task(worker: Node, given: Any, place: int) -> None:
    try:
        _as(worker.takes, given)
    except ValidationError as error:
        wrong = broken(error, f"input of task {place} for {worker.name}")
        raise ContractBroken(wrong.message, where=f"tasks.{place}.input.{wrong.where}") from error
