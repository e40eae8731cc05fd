"""The tasks of plans, written down together when a run fans out. Begins none of them."""

from __future__ import annotations

from collections.abc import Sequence

from runs import bodies
from runs.engine.record import events
from runs.models import Body, Run, Step, StepState
from runs.routing import Visit

BATCH = 500  # rows a statement


def write(run: Run, tasks: Sequence[Visit], after: int) -> None:
    """Keep these tasks as steps that nobody has begun, numbered from the one after `after`."""
    inputs = [bodies.of(task.input) for task in tasks]
    # In one order, so that two runs that keep the same bodies do not wait for each other.
    kept = sorted({body.digest: body for body in inputs}.values(), key=lambda body: body.digest)
    Body.objects.bulk_create(kept, ignore_conflicts=True, batch_size=BATCH)
    steps = Step.objects.bulk_create(
        [
            Step(
                run=run,
                seq=seq,
                node=task.node,
                state=StepState.READY,
                input=body,
                parent_id=task.parent,
                place=task.place,
            )
            for seq, (task, body) in enumerate(zip(tasks, inputs, strict=True), start=after + 1)
        ],
        batch_size=BATCH,
    )
    events(run, "step", [(step, {"node": step.node, "seq": step.seq}) for step in steps])
