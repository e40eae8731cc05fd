"""Advancing a run while this worker can: claim, perform, settle, again. Enqueues nothing; returns why it stopped."""

from __future__ import annotations

from runs.engine.claim import Claimed, Nothing, claim
from runs.engine.perform import perform
from runs.engine.runtime import Runtime, current
from runs.engine.settle import settle


def advance(run_id: int, runtime: Runtime | None = None) -> Nothing:
    """Look at one run and advance it until it waits, sleeps, is held, is done, or somebody else has it."""
    runtime = runtime or current()
    with runtime.looking():
        step = claim(run_id, worker=runtime.name)
        while isinstance(step, Claimed):
            with runtime.fly(step.run.pk, step.run.workflow, step.fence, step.left()) as flight:
                outcome = perform(step, flight)
            step = settle(step, outcome)
    return step
