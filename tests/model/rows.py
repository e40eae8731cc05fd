"""The database of the machine: emptied, and compared with the reference. Decides nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.db import connection

from tests.model.reference import Model

NEAR = 0.5  # seconds: the model's clock goes on by a microsecond whenever somebody looks at it

_OF_EXAMPLES = """
    runs_event, runs_call, runs_controlreceipt, escalations_decision, escalations_escalation, runs_question,
    runs_attempt, runs_step, runs_run, runs_control, runs_body, escalations_flood, escalations_journalentry,
    fault_fence, fault_outcome
"""
# Deleting a few rows is ten times as quick as truncating fifteen tables; what is left behind is vacuumed by itself.
_FORGET = "SET LOCAL session_replication_role = replica; " + "; ".join(
    f"DELETE FROM {table.strip()}" for table in _OF_EXAMPLES.split(",")
)
_SEEN = """
    WITH seen AS MATERIALIZED (SELECT clock_timestamp() AS at)
    SELECT coalesce(json_agg(json_build_object(
        'state', run.state, 'hold', run.hold, 'by', run.held_by_id, 'fence', run.fence, 'owner', run.lease_owner,
        'retries', run.retries, 'due', extract(epoch FROM run.due_at - seen.at),
        'lease', extract(epoch FROM run.lease_until - seen.at),
        'deadline', extract(epoch FROM run.deadline_at - seen.at),
        'steps', (SELECT json_agg(json_build_object(
            'node', step.node, 'task', step.parent_id IS NOT NULL, 'state', step.state, 'fence', step.fence,
            'losses', step.losses, 'due', extract(epoch FROM step.due_at - seen.at),
            'attempts', (SELECT json_agg(tried.state ORDER BY tried.number) FROM runs_attempt tried
                         WHERE tried.step_id = step.id)) ORDER BY step.seq)
            FROM runs_step step WHERE step.run_id = run.id),
        'questions', (SELECT json_agg(json_build_object(
            'kind', asked.kind, 'state', asked.state, 'verb', asked.verb, 'version', ticket.version,
            'ticket', ticket.state, 'due', extract(epoch FROM asked.expires_at - seen.at),
            'step', (SELECT step.seq FROM runs_step step WHERE step.id = asked.step_id)) ORDER BY asked.id)
            FROM runs_question asked LEFT JOIN escalations_escalation ticket ON ticket.question_id = asked.id
            WHERE asked.run_id = run.id)
        ) ORDER BY run.id), '[]'),
        (SELECT coalesce(json_agg(json_build_array(control.id, control.released_at IS NOT NULL) ORDER BY control.id),
                         '[]') FROM runs_control control)
    FROM runs_run run, seen
"""
TICKETS = {"open": "open", "answered": "decided", "expired": "expired", "withdrawn": "withdrawn"}


def forget() -> None:
    """Everything of the example before."""
    with connection.cursor() as cursor:
        cursor.execute(f"BEGIN; {_FORGET}; COMMIT")


def differences(model: Model) -> list[str]:
    """What the rows say otherwise than the reference."""
    with connection.cursor() as cursor:
        cursor.execute(_SEEN)
        runs, controls = (json.loads(one) if isinstance(one, str) else one for one in cursor.fetchone() or ())
    wrong = (
        [] if controls == [[one.pk, one.released] for one in model.controls] else [f"controls are {controls}"]
    )
    for number, (run, row) in enumerate(zip(model.runs, runs, strict=True), start=1):
        _adopt(model, run, row)
        wrong += [f"run {number} {what}" for what in _differ(_expected(model, run), row)]
    return wrong


def _adopt(model: Model, run: Any, row: dict[str, Any]) -> None:
    """Of several controls of one kind that cover a run it does not matter which one it is held by."""
    for control in model.controls:
        if (
            run.hold
            and control.pk == row["by"]
            and control.kind == run.by.kind
            and control.scope in ("", run.flow, run)
        ):
            run.by = control


def _expected(model: Model, run: Any) -> dict[str, Any]:
    def left(until: float | None) -> float | None:
        return None if until is None else until - model.now

    return {
        "state": run.state,
        "hold": run.hold,
        "by": run.by.pk if run.hold else None,
        "fence": run.fence,
        "owner": run.owner,
        "retries": run.retries,
        "due": left(run.due),
        "lease": left(run.lease),
        "deadline": left(run.deadline),
        "steps": [
            {
                "node": step.node,
                "task": step.task,
                "state": step.state,
                "fence": step.fence,
                "losses": step.losses,
                "due": left(step.due),
                "attempts": step.attempts or None,
            }
            for step in run.steps
        ]
        or None,
        "questions": [
            {
                "kind": asked.kind,
                "state": asked.state,
                "verb": asked.verb,
                "version": asked.version,
                "ticket": TICKETS[asked.state],
                "due": left(asked.due),
                "step": run.steps.index(asked.step) + 1 if asked.step else None,
            }
            for asked in run.questions
        ]
        or None,
    }


def _differ(expected: Any, found: Any, path: str = "") -> Iterator[str]:
    match expected, found:
        case dict(), dict():
            for name in expected:
                yield from _differ(expected[name], found[name], f"{path} {name}")
        case list(), list() if len(expected) == len(found):
            for place, (one, other) in enumerate(zip(expected, found, strict=True), start=1):
                yield from _differ(one, other, f"{path} {place}")
        case float(), float() | int() if abs(expected - found) < NEAR:
            return
        case _ if expected != found:
            yield f"{path}: expected {expected!r}, found {found!r}"
