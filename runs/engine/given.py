"""The straight way of a run whose waiting step a person has given its output: checked by the step's contract, recorded,
and what comes next claimed, by one SQL function. Whatever is not plain goes the long way (`answered`).

The function is in runs/migrations/0042_given.py; it checks all that may have changed since the read.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from runs import bodies, routing
from runs.definitions import Pipeline, Workflow
from runs.engine import contracts, holds, plainly, straight
from runs.engine.beginnings import agent_of, only
from runs.engine.claimed import Claimed
from runs.engine.past import past
from runs.engine.record import tell_run
from runs.errors import ContractBroken
from runs.models import Question, Run, RunState, Step

_GIVEN = f"SELECT * FROM runs_given({', '.join(['%s'] * 15)})"


def go_on(
    run: Run, step: Step, question: Question, workflow: Workflow, worker: str
) -> tuple[Claimed, ...] | None:
    """Claim what comes after a step whose output is the person's; None when it is not so plain."""
    try:
        output = contracts.checked(workflow, step, _value(question), by_person=True)
    except ContractBroken:
        return None  # asked for again, at length
    kept = bodies.of(output)
    visited = routing.Visited(id=step.pk, node=step.node, output=json.loads(kept.content))
    visit = only(_route(workflow, run, visited))
    if visit is None:
        return None
    node = workflow.node(visit.node)
    given = kept if visit.input is visited.output else bodies.of(visit.input)
    seq, agent = step.seq + 1, agent_of(node)
    values: list[Any] = [run.pk, run.fence, worker, holds.lease(), step.pk, question.answered_by]
    for body in (kept, given):
        values += [body.digest, body.content, body.size]
    row = plainly.done(_GIVEN, [*values, seq, node.name, agent])
    if row is None:
        return None
    run.fence, step_id, attempt_id, run.event_seq, left = row
    run.state, run.lease_owner = RunState.RUNNING, worker
    tell_run(run)
    one = straight.claimed_of(run, workflow, node, step_id, attempt_id, seq, given, worker, left, ())
    return (one if isinstance(workflow.pattern, Pipeline) else replace(one, past=None),)


def _value(question: Question) -> Any:
    return (question.answer or {}).get("value")


def _route(workflow: Workflow, run: Run, visited: routing.Visited) -> routing.Route | None:
    try:
        if isinstance(workflow.pattern, Pipeline):
            return routing.route(workflow, None, (visited,))
        history = [one for one in past(workflow, run) if one.id != visited.id]
        return routing.route(workflow, bodies.load(run.input), [*history, visited])
    except Exception:
        return None  # a rule that fails, or none that holds: said at length, to a person
