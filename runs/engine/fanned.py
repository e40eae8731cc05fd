"""The straight way of a task of a plan: its output is recorded and the next task begun by one SQL function. Decides
nothing that is not plain: whatever moves a join, parks, fails or wakes goes the long way (`settle`, `choose`).

The function is in runs/migrations/0027_fanout.py. What it looks at does not grow with the number of tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runs import bodies
from runs.definitions import Agent, Rest, Supervised, Workflow
from runs.engine import bounds, failpoints, holds, plainly
from runs.engine.claimed import Claimed, Next, Nothing
from runs.engine.outcomes import Outcome, Output
from runs.engine.plainly import ATTEMPT
from runs.engine.record import tell_run
from runs.engine.rows import Rows
from runs.engine.worker.runtime import current
from runs.models import Body, Step

_TASK_DONE = "SELECT * FROM runs_task_done(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
_STEP = Rows(Step, "id", "run_id", "seq", "node", "state", "input_id", "parent_id", "place", "fence")


def hand_on(claimed: Claimed, outcome: Outcome) -> Next | None:
    """Record a task's output and claim the next task of its run, in one statement; None when it is not so plain.

    Raises OperationalError or InterfaceError when the database cannot be reached: nobody knows whether it is recorded.
    """
    pattern = claimed.workflow.pattern
    if not isinstance(outcome, Output) or not isinstance(pattern, Supervised) or current().leaving:
        return None
    if bounds.walled():
        return None
    if claimed.step.parent_id is None or claimed.node.plans:
        return None  # it says what comes next
    row = _recorded(claimed, bodies.of(outcome.value), pattern)
    if row is None:
        return None
    event_seq, left, *following = row
    claimed.run.event_seq = event_seq
    tell_run(claimed.run)
    return Nothing(why="others") if following[0] is None else (_claimed(claimed, left, following),)


def _recorded(claimed: Claimed, output: Body, pattern: Supervised) -> tuple[Any, ...] | None:
    need, share = _needed(pattern)
    values = [
        claimed.run.pk,
        claimed.fence,
        claimed.worker,
        holds.lease(),
        claimed.step.pk,
        claimed.attempt.pk,
        claimed.step.parent_id,
        output.digest,
        output.content,
        output.size,
        pattern.width,
        need,
        share,
        [worker.name for worker in pattern.workers],
        [worker.work.name if isinstance(worker.work, Agent) else "" for worker in pattern.workers],
    ]
    row = plainly.done(_TASK_DONE, values, before_commit="mid_settle")
    if row is not None:
        failpoints.hit("after_commit_before_wake")
    return row


def _needed(pattern: Supervised) -> tuple[int | None, float | None]:
    """How many done tasks of a plan end the others: a number or a share; neither where all settle first."""
    join = pattern.join
    if join.need is None or join.rest == Rest.WAIT:
        return None, None
    return (None, join.need) if isinstance(join.need, float) else (join.need, None)


def _claimed(before: Claimed, left: float, following: Sequence[Any]) -> Claimed:
    """The next task, as the function gave its rows."""
    step_id, seq, name, parent_id, place, input_id, content, attempt_id, number, note = following
    run, workflow, fence = before.run, before.workflow, before.fence
    step = _STEP.made(
        [step_id, run.pk, seq, name, "running", input_id, parent_id, place, fence],
        run=run,
        input=Body(digest=input_id, content=content),
    )
    agent = _agent(workflow, name)
    attempt = ATTEMPT.made(
        [attempt_id, step_id, number, agent, "", "running", fence, before.worker, note, None], step=step
    )
    return Claimed(
        run=run,
        workflow=workflow,
        node=workflow.node(name),
        step=step,
        attempt=attempt,
        fence=fence,
        worker=before.worker,
        seconds_left=left,
    )


def _agent(workflow: Workflow, name: str) -> str:
    work = workflow.node(name).work
    return work.name if isinstance(work, Agent) else ""
