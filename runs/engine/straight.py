"""The straight way of a run, one SQL function a step: an output is recorded, the one step after it begun. Decides
nothing that is not plain: whatever else there is to do, `claim` and `settle` do it at length.

The functions are in runs/migrations/0008_straight.py. They pass the gate first, check everything under the run's row
lock before they write, and give no row when something is not plain: a control, a hold, another fence, a deadline that
has passed, a step beside this one, a question that is open.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from runs import bodies, routing
from runs.canonical import canonical, text_digest
from runs.definitions import Node, Pipeline, Workflow
from runs.engine import beginnings, bounds, failpoints, holds, lanes, plainly, remembered
from runs.engine.beginnings import Beginnings, agent_of, only
from runs.engine.claimed import Claimed, Next, Nothing
from runs.engine.outcomes import Outcome, Output
from runs.engine.plainly import ATTEMPT, RUN, STEP
from runs.engine.record import tell_run
from runs.engine.rows import Rows
from runs.engine.worker.runtime import current
from runs.models import Body, Run, RunState, Step

# A fresh run, and its lease where what comes first is known: `runs_begin` is strict, a node of NULL does nothing.
# Columns by name: while newer code has given the table more, older code still runs beside it.
_BEGIN = f"""
    WITH fresh AS MATERIALIZED (
        SELECT {RUN.columns("run")}, body.content FROM runs_run run JOIN runs_body body ON body.digest = run.input_id
        WHERE run.id = %s AND run.state = 'ready' AND run.hold = '' AND NOT run.recorded
          AND NOT EXISTS (SELECT FROM runs_step step WHERE step.run_id = run.id)
    )
    SELECT fresh.*, begun.* FROM fresh CROSS JOIN LATERAL (
        SELECT %s::jsonb -> (fresh.definition || ' ' || fresh.version || ' ' || fresh.workflow) AS node
    ) known
        LEFT JOIN LATERAL runs_begin(fresh.id, fresh.fence, %s, %s, known.node ->> 0, known.node ->> 1) begun ON true
"""
_HAND_ON = "SELECT * FROM runs_hand_on(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
BODY = Rows(Body, "digest", "content", "size")
_PASSED_ON = object()  # a pipeline looks at no output: what it passes on is this
KEPT_BYTES = 4096  # an output larger than this is fetched again when a later rule looks at it
KEPT_STEPS = 1024  # and so is one that is older than this many steps


def begin(run_id: int, worker: str) -> tuple[Claimed, ...] | None:
    """Take the lease of a run that nobody has looked at yet and begin its first step; None when it is not so plain.

    Raises OperationalError or InterfaceError when the database cannot be reached.
    """
    if bounds.walled():
        return None
    known = beginnings.known()
    run, begun = _begun(run_id, worker, known)
    if run is not None and known.of(run) is None:
        known = beginnings.learn(run)
        if known.of(run) is None:
            return None
        run, begun = _begun(run_id, worker, known)
    first = known.of(run) if run is not None and begun[0] is not None else None
    if run is None or first is None:
        return None
    workflow, node = first
    run.fence, step_id, attempt_id, run.event_seq, left = begun
    run.state, run.lease_owner = RunState.RUNNING, worker
    tell_run(run)
    return (claimed_of(run, workflow, node, step_id, attempt_id, 1, run.input, worker, left, ()),)


def _begun(run_id: int, worker: str, known: Beginnings) -> tuple[Run | None, list[Any]]:
    """The run as it was found, when it is fresh; and what has begun of it, of NULLs when nothing has."""
    row = lanes.row(_BEGIN, [run_id, known.text, worker, holds.lease()])
    if row is None:
        return None, []
    values = iter(row)
    run = RUN.next_of(values)
    run.input = Body(digest=run.input_id, content=next(values))
    return run, list(values)


def hand_on(claimed: Claimed, outcome: Outcome) -> Next | None:
    """Record a step's output and claim what comes next of its run, in one statement; None when it is not so plain.

    Raises OperationalError or InterfaceError when the database cannot be reached: nobody knows whether it is recorded.
    """
    if not isinstance(outcome, Output) or claimed.past is None or current().leaving or bounds.walled():
        return None
    output = _body(outcome.text or canonical(outcome.value))
    looked_at = not isinstance(claimed.workflow.pattern, Pipeline)
    given_on = json.loads(output.content) if looked_at else _PASSED_ON
    visited = routing.Visited(id=claimed.step.pk, node=claimed.node.name, output=given_on)
    route = _route(claimed, visited)
    visit = only(route)
    if visit is not None:
        return _next(claimed, output, visit, visited)
    if isinstance(route, routing.Finish):
        return _end(claimed, output, output if route.output is visited.output else _of(route.output))
    return None


def _route(claimed: Claimed, visited: routing.Visited) -> routing.Route | None:
    try:
        if isinstance(claimed.workflow.pattern, Pipeline):
            return routing.route(claimed.workflow, None, (visited,))
        history = (*(claimed.past or ()), visited)
        return routing.route(claimed.workflow, bodies.load(claimed.run.input), history)
    except Exception:
        return None  # a rule that fails, or none that holds: said at length, to a person


def _next(claimed: Claimed, output: Body, visit: routing.Visit, visited: routing.Visited) -> Next | None:
    run, workflow = claimed.run, claimed.workflow
    node, seq = workflow.node(visit.node), claimed.step.seq + 1
    given = output if visit.input is visited.output else _of(visit.input)
    row = _recorded(claimed, output, given, seq, node.name, agent_of(node))
    if row is None:
        return None
    step_id, attempt_id, run.event_seq, left = row
    tell_run(run)
    past = _past(claimed, visited, output)
    remembered.handed_on(claimed, output.content, step_id)
    one = claimed_of(run, workflow, node, step_id, attempt_id, seq, given, claimed.worker, left, past)
    return (one,)


def _past(claimed: Claimed, visited: routing.Visited, output: Body) -> tuple[routing.Visited, ...]:
    """What the next step's rules may look back at. A large output, or an old one, is not kept in memory for that."""
    if isinstance(claimed.workflow.pattern, Pipeline):
        return ()
    past = claimed.past or ()
    if output.size > KEPT_BYTES:
        visited = _later(visited, lambda: Body.objects.get(pk=output.digest))
    if len(past) >= KEPT_STEPS and not isinstance(past[-KEPT_STEPS].output, routing.Later):
        old = past[-KEPT_STEPS]
        past = (*past[:-KEPT_STEPS], _later(old, partial(_output_of, old.id)), *past[1 - KEPT_STEPS :])
    return (*past, visited)


def _later(visited: routing.Visited, output: Callable[[], Body]) -> routing.Visited:
    return replace(visited, output=routing.Later(lambda: bodies.load(output())))


def _output_of(step_id: int) -> Body:
    return Body.objects.get(digest__in=Step.objects.filter(pk=step_id).values("output"))


def _end(claimed: Claimed, output: Body, given: Body) -> Next | None:
    row = _recorded(claimed, output, given, 0, None, "")
    if row is None:
        return None
    claimed.run.state, claimed.run.event_seq = RunState.DONE, row[2]
    tell_run(claimed.run)
    return Nothing(why="final")


def _recorded(
    claimed: Claimed, output: Body, given: Body, seq: int, node: str | None, agent: str
) -> tuple[Any, ...] | None:
    same = given.digest == output.digest
    values = [
        claimed.run.pk,
        claimed.fence,
        claimed.worker,
        holds.lease(),
        claimed.step.pk,
        claimed.attempt.pk,
        output.digest,
        output.content,
        output.size,
        given.digest,
        None if same else given.content,
        given.size,
        seq,
        node,
        agent,
    ]
    row = plainly.done(_HAND_ON, values, before_commit="mid_settle")
    failpoints.hit("after_commit_before_wake")
    return row


def _of(value: Any) -> Body:
    return _body(canonical(value))


def _body(text: str) -> Body:
    """The row of a value's canonical JSON, as the functions keep it: not to be saved."""
    return BODY.made([text_digest(text), text, len(text.encode())])


def claimed_of(
    run: Run,
    workflow: Workflow,
    node: Node,
    step_id: int,
    attempt_id: int,
    seq: int,
    given: Body,
    worker: str,
    left: float,
    past: tuple[routing.Visited, ...],
) -> Claimed:
    step = STEP.made(
        [step_id, run.pk, seq, node.name, "running", given.digest, run.fence], run=run, input=given
    )
    attempt = ATTEMPT.made(
        [attempt_id, step_id, 1, agent_of(node), "", "running", run.fence, worker, "", None], step=step
    )
    return Claimed(
        run=run,
        workflow=workflow,
        node=node,
        step=step,
        attempt=attempt,
        fence=run.fence,
        worker=worker,
        seconds_left=left,
        past=past,
    )
