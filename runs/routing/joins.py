"""When a plan is joined: by how its tasks ended, and by how many are needed."""

from __future__ import annotations

from collections.abc import Sequence

from runs.definitions import Join, Rest, TaskState
from runs.routing.history import GOING


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


def why_not(join: Join, tasks: int, outcomes: Sequence[str], planner: str) -> str:
    """Why a plan cannot be joined any more, in a sentence."""
    done = sum(1 for one in outcomes if one == TaskState.DONE)
    lost = sum(1 for one in outcomes if one not in (TaskState.DONE, GOING))
    needed = join.needed(tasks)
    return f"{planner}: {needed} of {tasks} tasks are needed, {done} are done, {lost} failed or were ended"
