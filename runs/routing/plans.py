"""Supervised workflows: the tasks of plans, plans inside plans, and what comes after a plan is joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runs.canonical import plain
from runs.definitions import Results, Supervised, TaskResult, TaskState
from runs.routing.chain import along
from runs.routing.history import GOING, Visited, output_of
from runs.routing.joins import Joined, verdict_of, why_not
from runs.routing.routes import Fail, Finish, Go, Route, Visit, Wait


def supervised(pattern: Supervised, run_input: Any, history: Sequence[Visited]) -> Route:
    """What runs next."""
    top = [one for one in history if one.parent is None]
    if not top:
        return Go(visits=(Visit(node=pattern.supervisor.name, input=run_input),))
    tree = _Tree(pattern=pattern, tasks=_by_parent(history))
    plan = top[0]
    if plan.outcome == GOING:
        return Wait()
    if len(top) > 1:
        return along([node.name for node in pattern.then], None, top[1:])
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
                visits=tuple(_task(plan, place, task) for place, task in enumerate(output_of(plan)["tasks"]))
            )
        inner = [self._inner(task) for task in known]
        outcomes = [_outcome(task, far) for task, far in zip(known, inner, strict=True)]
        verdict = verdict_of(self.pattern.join, len(known), outcomes)
        if verdict == Joined.FAILED:
            return Fail(reason=why_not(self.pattern.join, len(known), outcomes, plan.node))
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
        """What comes when the plan is joined."""
        results = plain(Results(input=run_input, results=self._results(plan)))
        if not self.pattern.then:
            return Finish(output=results)
        return Go(visits=(Visit(node=self.pattern.then[0].name, input=results),), drop=drop)

    def _results(self, plan: Visited) -> tuple[TaskResult, ...]:
        tasks = self.tasks.get(plan.id, ())
        return tuple(
            self._result(planned, task) for planned, task in zip(output_of(plan)["tasks"], tasks, strict=True)
        )

    def _result(self, planned: Mapping[str, Any], task: Visited) -> TaskResult:
        far = self._inner(task)
        outcome = _outcome(task, far)
        return TaskResult(
            worker=task.node,
            input=dict(planned["input"]),
            state=TaskState.ENDED if outcome == GOING else TaskState(outcome),
            output=output_of(task) if far is None and outcome == TaskState.DONE else None,
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
