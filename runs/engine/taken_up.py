"""The straight way of a run that a person has answered: its one waiting step goes on, by one read and one SQL function.
Decides nothing that is not plain: a denial, a lost worker, steps side by side go the long way (`choose`). A person's
own value has a straight way of its own (`given`).

The function is in runs/migrations/0018_take_up.py; it checks all that may have changed since the read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runs import registry
from runs.definitions import Orchestrated, Pipeline, Workflow
from runs.engine import bounds, given, holds, lanes, plainly
from runs.engine.beginnings import agent_of
from runs.engine.claimed import Claimed
from runs.engine.plainly import ATTEMPT, RUN, STEP
from runs.engine.record import tell_run
from runs.engine.rows import Rows
from runs.engine.worker.runtime import current
from runs.models import (
    Attempt,
    AttemptState,
    Body,
    Question,
    QuestionKind,
    QuestionState,
    Run,
    RunState,
    Step,
    Verb,
)

_GO_ON = (QuestionKind.APPROVAL, QuestionKind.UNKNOWN, QuestionKind.LIMIT)  # the attempt that asked goes on
_VALUE = (QuestionKind.CONTRACT, Verb.APPROVE)
_QUESTION = Rows(Question, "id", "kind", "state", "verb", "answer_text", "answer", "answered_by")
_WAITED = f"""
    SELECT {RUN.columns("run")}, {STEP.columns("step")}, {ATTEMPT.columns("attempt")},
        {_QUESTION.columns("question")}, input.content, given.content
    FROM runs_run run
    JOIN runs_step step ON step.run_id = run.id AND step.state = 'waiting'
        AND step.state NOT IN ('done', 'failed', 'ended')
    JOIN LATERAL (SELECT * FROM runs_attempt WHERE step_id = step.id ORDER BY number DESC LIMIT 1) attempt ON true
    JOIN LATERAL (SELECT * FROM runs_question WHERE step_id = step.id ORDER BY id DESC LIMIT 1) question ON true
    JOIN runs_body input ON input.digest = run.input_id
    JOIN runs_body given ON given.digest = step.input_id
    WHERE run.id = %s AND run.state = 'ready' AND run.hold = '' AND NOT run.recorded
    LIMIT 1
"""
_TAKE_UP = "SELECT * FROM runs_take_up(%s, %s, %s, %s, %s, %s, %s, %s, %s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waited:
    """A run that waited for a person, as it was read."""

    run: Run
    step: Step
    attempt: Attempt
    question: Question


def take_up(run_id: int, worker: str) -> tuple[Claimed, ...] | None:
    """Take the lease of a run whose one waiting step was answered, and claim that step; None when it is not so plain.

    Raises OperationalError or InterfaceError when the database cannot be reached.
    """
    if current().leaving or bounds.walled():
        return None
    row = lanes.row(_WAITED, [run_id])
    if row is None:
        return None
    waited = _read(row)
    run = waited.run
    workflow = registry.workflow(run.workflow, run.version, run.definition)
    if workflow is None or not _plain(workflow, waited):
        return None
    if (waited.question.kind, waited.question.verb) == _VALUE:
        return given.go_on(run, waited.step, waited.question, workflow, worker)
    anew = waited.question.kind not in _GO_ON
    attempt = _new(waited, workflow) if anew else waited.attempt
    taken = _taken(waited, attempt, worker, anew=anew)
    return None if taken is None else (_claimed(waited, attempt, workflow, worker, taken),)


def _read(row: tuple[Any, ...]) -> _Waited:
    values = iter(row)
    run, step, attempt = RUN.next_of(values), STEP.next_of(values), ATTEMPT.next_of(values)
    question = _QUESTION.next_of(values)
    run.input = Body(digest=run.input_id, content=next(values))
    step.run, step.input = run, Body(digest=step.input_id, content=next(values))
    attempt.step = step
    return _Waited(run=run, step=step, attempt=attempt, question=question)


def _plain(workflow: Workflow, waited: _Waited) -> bool:
    question, attempt = waited.question, waited.attempt
    if not isinstance(workflow.pattern, (Pipeline, Orchestrated)) or not workflow.has(waited.step.node):
        return False
    if question.state != QuestionState.ANSWERED or question.verb == Verb.REJECT:
        return False
    if question.kind in _GO_ON:
        return attempt.state == AttemptState.ASKED and not attempt.by
    return question.kind != QuestionKind.CLAIMS  # another agent's attempt, or claims that stand


def _new(waited: _Waited, workflow: Workflow) -> Attempt:
    attempt = Attempt(
        step=waited.step,
        number=waited.attempt.number + 1,
        agent=agent_of(workflow.node(waited.step.node)),
        note=waited.question.answer_text,
    )
    attempt._state.adding = False
    return attempt


def _taken(waited: _Waited, attempt: Attempt, worker: str, *, anew: bool) -> tuple[Any, ...] | None:
    run = waited.run
    known = None if anew else attempt.pk
    values = [run.pk, run.fence, worker, holds.lease(), waited.step.pk, known]
    return plainly.done(_TAKE_UP, [*values, attempt.number, attempt.agent, attempt.note])


def _claimed(
    waited: _Waited, attempt: Attempt, workflow: Workflow, worker: str, taken: tuple[Any, ...]
) -> Claimed:
    run, step = waited.run, waited.step
    run.fence, attempt.pk, run.event_seq, left = taken
    run.state, run.lease_owner = RunState.RUNNING, worker
    step.state, step.fence = "running", run.fence
    attempt.state, attempt.fence, attempt.worker = AttemptState.RUNNING, run.fence, worker
    tell_run(run)
    return Claimed(
        run=run,
        workflow=workflow,
        node=workflow.node(step.node),
        step=step,
        attempt=attempt,
        fence=run.fence,
        worker=worker,
        seconds_left=left,
        past=() if isinstance(workflow.pattern, Pipeline) else None,
    )
