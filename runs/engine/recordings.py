"""Taking in one recorded run: the run and all its steps, planned, in one transaction. Plays nothing."""

from __future__ import annotations

from collections.abc import Iterable

from runs import bodies, registry
from runs.engine import gate, starts
from runs.engine.starts import NotStarted, Started
from runs.models import Body, Run, Step, StepState
from runs.recorded import family
from runs.recorded.items import Item, items, recording
from runs.recorded.toolsets import Toolsets
from runs.recorded.trace import Trace

BATCH = 500  # rows a statement


class OtherContent(NotStarted):
    """A run of the same run_id is on record, with other content."""

    def __init__(self, run_id: str, run: Run) -> None:
        super().__init__(f"run_id {run_id} is on record with other content, as run {run.pk}: skipped.")
        self.run = run


def take_in(trace: Trace, toolsets: Toolsets, *, speed: float, by: str) -> Started:
    """Make a recorded run a live one. The first thing in its transaction (it passes the gate).

    The run's start key is the recording's run_id: the same recording is taken in once. `speed` is a factor, 0 as
    fast as possible. Raises OtherContent, IntakeFull, Held; nothing is half-done then.
    """
    gate.shared()
    known = Run.objects.filter(recorded=True, start_key=trace.run_id).select_related("input").first()
    if known is None:
        started = _start(trace, toolsets, speed, by)
        if started.created:
            return started
        known = started.run  # somebody else took it in at the same moment
    if bodies.load(known.input).get("trace") != trace.digest:
        raise OtherContent(trace.run_id, known)
    return Started(run=known, created=False)


def _start(trace: Trace, toolsets: Toolsets, speed: float, by: str) -> Started:
    workflow = registry.workflow(family.name_of(trace.workflow), 1)
    if workflow is None:
        raise LookupError("the family of recorded workflows is not there")
    because = {"recorded": trace.source.name, "steps": len(trace.items)}
    given = recording(trace, speed)
    started = starts.begin(workflow, given, start_key=trace.run_id, by=by, because=because)
    if started.created:
        _plan(started.run, items(trace, toolsets, speed))
    return started


def _plan(run: Run, played: Iterable[Item]) -> None:
    """Every item as a step that nobody has begun. Its body is the step's input, stored once."""
    made = [(item, bodies.of(item.model_dump(mode="json", exclude_defaults=True))) for item in played]
    # In one order everywhere: two that store the same bodies in different orders would wait for each other.
    unique = {body.digest: body for _, body in made}
    ordered = [unique[digest] for digest in sorted(unique)]
    Body.objects.bulk_create(ordered, ignore_conflicts=True, batch_size=BATCH)
    steps = [
        Step(run=run, seq=seq, node=item.node, state=StepState.READY, input_id=body.digest)
        for seq, (item, body) in enumerate(made, start=1)
    ]
    Step.objects.bulk_create(steps, batch_size=BATCH)
