"""Small writes under a run's row lock that several engine parts share: events, moves. No decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection, transaction
from psycopg import ClientCursor
from psycopg.types.json import Jsonb

from runs import live
from runs.models import Attempt, AttemptState, Run, RunState, Step, StepState
from runs.models.run import may_move
from runs.models.step import ATTEMPT_MOVES, STEP_MOVES

_EVENT = """
    INSERT INTO runs_event (run_id, seq, at, kind, step_id, data)
    VALUES (%s, %s, statement_timestamp(), %s, %s, %s)
"""
_EVENTS = """
    INSERT INTO runs_event (run_id, seq, at, kind, step_id, data)
    SELECT %s, %s + one.number, statement_timestamp(), %s, one.step, one.data
    FROM unnest(%s::bigint[], %s::jsonb[]) WITH ORDINALITY AS one(step, data, number)
"""


class IllegalMove(Exception):
    """This cannot follow from the present state."""


def now() -> Any:
    """PostgreSQL's clock, as of this statement. Worker clocks decide nothing."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        row = cursor.fetchone()
    return row[0] if row else None


def lock_run(run_id: int, *, skip_locked: bool = False) -> Run | None:
    """The run, its row locked for this transaction; None when it is gone or (skip_locked) somebody has it."""
    rows = Run.objects.select_for_update(no_key=True, skip_locked=skip_locked)
    return rows.filter(pk=run_id).first()


def at_once(statements: str, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Several statements in one message to the server; the first one's row, if it gives one.

    The values are bound here: the server binds those of one statement only. Raises what Django's cursor raises.
    """
    connection.ensure_connection()
    with connection.wrap_database_errors, ClientCursor(connection.connection) as cursor:
        cursor.execute(statements.encode(), values)
        return cursor.fetchone() if cursor.description else None


def last_of(statements: str, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """The same; the row of the last one that gives any."""
    connection.ensure_connection()
    with connection.wrap_database_errors, ClientCursor(connection.connection) as cursor:
        cursor.execute(statements.encode(), values)
        row = None
        while True:
            row = cursor.fetchone() if cursor.description else row
            if not cursor.nextset():
                return row


def event(run: Run, kind: str, *, step: Step | None = None, **data: Any) -> None:
    """Append an event. The caller holds the run's row lock and saves the run afterwards (`event_seq`)."""
    run.event_seq += 1
    values: list[Any] = [run.pk, run.event_seq, kind, step.pk if step else None, Jsonb(data)]
    with connection.cursor() as cursor:
        cursor.execute(_EVENT, values)


def events(run: Run, kind: str, told: Sequence[tuple[Step, dict[str, Any]]]) -> None:
    """Append events of one kind of many steps, in this order. As for `event`, the caller saves the run afterwards."""
    steps = [step.pk for step, _ in told]
    with connection.cursor() as cursor:
        cursor.execute(_EVENTS, [run.pk, run.event_seq, kind, steps, [Jsonb(data) for _, data in told]])
    run.event_seq += len(told)


def move_run(run: Run, state: RunState) -> None:
    """Change a run's state by the table. Raises IllegalMove."""
    if run.state == state:
        return
    if not may_move(run.state, state):
        raise IllegalMove(f"run {run.pk} is {run.state}, it cannot become {state}")
    run.state = state


def move_step(step: Step, state: StepState) -> None:
    if step.state == state:
        return
    if state not in STEP_MOVES[step.state]:
        raise IllegalMove(f"{step} is {step.state}, it cannot become {state}")
    step.state = state


def move_attempt(attempt: Attempt, state: AttemptState) -> None:
    if attempt.state == state:
        return
    if state not in ATTEMPT_MOVES[attempt.state]:
        raise IllegalMove(f"{attempt} is {attempt.state}, it cannot become {state}")
    attempt.state = state


def let_go(run: Run) -> None:
    """Drop the lease."""
    run.lease_owner = ""
    run.lease_until = None


def announce_run(run: Run) -> None:
    """Tell the screens, after the commit, that this run changed. A hint: they fetch again."""
    run_id, seq = run.pk, run.event_seq
    transaction.on_commit(lambda: live.announce_run(run_id, seq), robust=True)


def tell_run(run: Run) -> None:
    """The same for a run whose change is committed, unless this is part of a caller's transaction."""
    if connection.in_atomic_block:
        announce_run(run)
    else:  # not by on_commit: it would take a connection only to see that there is nothing to wait for
        live.announce_run(run.pk, run.event_seq)


def wake_run(run: Run) -> None:
    """Hint, after the commit, that somebody should look at this run."""
    run_id = run.pk

    def tell() -> None:
        live.wake(run_id)

    transaction.on_commit(tell, robust=True)
