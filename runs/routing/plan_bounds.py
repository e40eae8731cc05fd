"""Whether a plan may be acted on: how many tasks, for whom, how deep, with which inputs."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from runs.definitions import Node, Plan, Supervised
from runs.errors import ContractBroken, broken
from runs.routing.history import read_as


class TooWide(ContractBroken):
    """A plan has more tasks than its pattern allows."""


class TooDeep(ContractBroken):
    """A task plans where no further plan may stand."""


def check_plan(pattern: Supervised, plan: Plan, depth: int) -> None:
    """Whether a plan may be acted on. `depth` is 1 for the supervisor's plan, 2 for a plan of one of its tasks.

    Raises ContractBroken, TooWide or TooDeep where it is a bound, with the path of the first thing that is wrong.
    """
    if len(plan.tasks) > pattern.most_tasks:
        raise TooWide(
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
            raise TooDeep(
                f"tasks.{place}.worker: {worker.name} plans itself, and plans may stand {pattern.depth} deep",
                where=f"tasks.{place}.worker",
            )
        _check_task(worker, task.input, place)


def _check_task(worker: Node, given: Any, place: int) -> None:
    try:
        read_as(worker.takes, given)
    except ValidationError as error:
        wrong = broken(error, f"input of task {place} for {worker.name}")
        raise ContractBroken(wrong.message, where=f"tasks.{place}.input.{wrong.where}") from error
