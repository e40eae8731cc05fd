"""All that is on record about one run, as text: for who reads why a fault test failed. Judges nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.db import connection

LAST_LINES = 30  # of a process's log
_TABLES = {
    "run": "SELECT state, ending, hold, fence, lease_owner, lease_until, due_at FROM runs_run WHERE id = %s",
    "steps": """
        SELECT id, seq, node, state, fence, losses, due_at, started_at, finished_at FROM runs_step
        WHERE run_id = %s ORDER BY seq
    """,
    "attempts": """
        SELECT a.id, a.step_id, a.number, a.state, a.fence, a.worker, a.started_at, a.finished_at, a.error
        FROM runs_attempt a JOIN runs_step s ON s.id = a.step_id WHERE s.run_id = %s ORDER BY a.id
    """,
    "calls": """
        SELECT id, step_id, attempt_id, kind, key, send, state, fence, permitted_at, handed_at, finished_at, error
        FROM runs_call WHERE run_id = %s ORDER BY id
    """,
    "questions": """
        SELECT id, step_id, kind, state, verb, call_key FROM runs_question WHERE run_id = %s ORDER BY id
    """,
    "events": "SELECT at, seq, kind, step_id, data::text FROM runs_event WHERE run_id = %s ORDER BY seq",
}


def retold(
    run_id: int, arrivals: Sequence[Mapping[str, Any]], log: Path, moments: Mapping[str, datetime]
) -> str:
    """Its rows and events, what reached the sink, the end of the hurt process's log, and what was done to it when."""
    return "\n".join(_lines(run_id, arrivals, log, moments))


def _lines(
    run_id: int, arrivals: Sequence[Mapping[str, Any]], log: Path, moments: Mapping[str, datetime]
) -> Iterator[str]:
    for what, sql in _TABLES.items():
        with connection.cursor() as cursor:
            cursor.execute(sql, [run_id])
            names = [column.name for column in cursor.description or ()]
            rows = cursor.fetchall()
        yield f"{what} of run {run_id}:"
        for row in rows:
            said = (f"{name}={_short(value)}" for name, value in zip(names, row, strict=True))
            yield "  " + " ".join(said)
    yield "arrivals:"
    for one in arrivals:
        if str(one["key"]).startswith(f"run-{run_id}-"):
            moment = datetime.fromtimestamp(one["arrived_ns"] / 1e9, UTC)
            yield f"  {_short(moment)} {one['key']} {json.dumps(one['arguments'])}"
    yield "its process: " + ", ".join(f"{what} {_short(moment)}" for what, moment in moments.items())
    lines = log.read_text().splitlines() if log.exists() else []
    yield from (f"  {line}" for line in lines[-LAST_LINES:])


def _short(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%H:%M:%S.%f")[:-3]
    return str(value)
