"""Many runs out of one: every row that belongs to a run, copied with COPY under new numbers. Knows no table by heart.

The rows come from a real run that the engine made; a SELECT numbers the copies and COPY moves them, so that a million
runs take minutes. Triggers and foreign keys are off meanwhile (session_replication_role, a superuser's setting): the
embedded server's account may. The journal's copies keep their first entry's hash: lists do not check the chain, and
nobody should verify a copied journal.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

# Parents first. Of each: its own key, and what points to rows that are copied too.
_RUN, _STEP, _QUESTION, _ESCALATION = "runs_run", "runs_step", "runs_question", "escalations_escalation"
_SHIFTED: dict[str, dict[str, str]] = {
    _RUN: {"id": _RUN},
    _STEP: {"id": _STEP, "run_id": _RUN, "parent_id": _STEP},
    "runs_attempt": {"id": "runs_attempt", "step_id": _STEP},
    _QUESTION: {"id": _QUESTION, "run_id": _RUN, "step_id": _STEP},
    "runs_call": {
        "id": "runs_call",
        "run_id": _RUN,
        "step_id": _STEP,
        "attempt_id": "runs_attempt",
        "question_id": _QUESTION,
    },
    "runs_event": {"id": "runs_event", "run_id": _RUN, "step_id": _STEP},
    _ESCALATION: {"id": _ESCALATION, "question_id": _QUESTION, "run_id": _RUN},
    "escalations_journalentry": {
        "seq": "escalations_journalentry",
        "run_id": _RUN,
        "escalation_id": _ESCALATION,
    },
}
_NAMES_ITS_RUN = {("runs_call", "key"), (_QUESTION, "call_key")}  # else a copy's answer is none to its call
_BY_STEP = "step_id IN (SELECT id FROM runs_step WHERE run_id = {run})"
Conn = psycopg.Connection[tuple[Any, ...]]
_CHUNK = 50_000  # copies a statement
_PATIENCE = 60  # seconds
_OLDER_LOOKS = """
SELECT count(*) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND datname = current_database() AND xact_start < %s
    AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A table's own numbers: where the template's begin, how many it has, and the greatest of all."""

    first: int
    many: int
    last: int


def copy_run(run_id: int, count: int, *, url: str = "") -> None:
    """Copy one run so many times, with everything that belongs to it, in the database at `url` (that of DATABASE_URL
    when none is given). Raises LookupError when there is no such run."""
    url = url or os.environ["DATABASE_URL"]
    with psycopg.connect(url) as reader, psycopg.connect(url) as writer:
        writer.execute("SET session_replication_role = replica")
        keys = {table: _key(reader, table, run_id) for table in _SHIFTED}
        if not keys[_RUN].many:
            raise LookupError(f"there is no run {run_id}")
        for table in _SHIFTED:
            if keys[table].many:
                _copy_table(reader, writer, table, run_id, count, keys)
        reader.rollback()
        writer.commit()


def lengthen(run_id: int, steps: int, *, url: str = "") -> None:
    """So many more steps of a run that is over, each like its last one: done, with an attempt and three events."""
    with psycopg.connect(url or os.environ["DATABASE_URL"]) as conn:
        for statement in _LONGER:
            conn.execute(statement, {"run": run_id, "steps": steps})
        conn.execute("ANALYZE runs_step, runs_attempt, runs_event")


_LONGER = (
    """
    INSERT INTO runs_step (run_id, seq, node, state, input_id, output_id, answered_by, started_at, finished_at)
    SELECT run_id, seq + more, node, state, input_id, output_id, '', started_at + more * interval '1 s',
        finished_at + more * interval '1 s'
    FROM generate_series(1, %(steps)s) AS more,
        (SELECT * FROM runs_step WHERE run_id = %(run)s ORDER BY seq DESC LIMIT 1) AS last
    """,
    """
    INSERT INTO runs_attempt (step_id, number, agent, state, fence, worker, note, error_class, error, error_where,
        started_at, finished_at)
    SELECT id, 1, '', 'done', 1, 'test', '', '', '', '', started_at, finished_at FROM runs_step AS step
    WHERE run_id = %(run)s AND NOT EXISTS (SELECT FROM runs_attempt WHERE step_id = step.id)
    """,
    """
    INSERT INTO runs_event (run_id, seq, kind, step_id, data)
    SELECT %(run)s, (SELECT event_seq FROM runs_run WHERE id = %(run)s) + row_number() OVER (ORDER BY step.seq, kind),
        kind, step.id, jsonb_build_object('node', node, 'seq', step.seq)
    FROM (SELECT * FROM runs_step WHERE run_id = %(run)s ORDER BY seq DESC LIMIT %(steps)s) AS step,
        unnest(ARRAY['step', 'attempt', 'step done']) AS kind
    """,
    """
    UPDATE runs_run SET event_seq = (SELECT max(seq) FROM runs_event WHERE run_id = %(run)s),
        finished_at = (SELECT max(finished_at) FROM runs_step WHERE run_id = %(run)s) WHERE id = %(run)s
    """,
)


def tidy(*, url: str = "") -> None:
    """What autovacuum would have done by the time that so many rows were there for real. Raises TimeoutError when
    somebody else looks at an older state of the database for so long that dead rows cannot be taken away."""
    with psycopg.connect(url or os.environ["DATABASE_URL"], autocommit=True) as conn:
        _wait_for_older_looks(conn)
        conn.execute("VACUUM ANALYZE")
        conn.execute("CHECKPOINT")


def _wait_for_older_looks(conn: Conn) -> None:
    """An autovacuum that analyses a table looks at its rows as they were when it began; VACUUM keeps those so long."""
    row = conn.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    end = time.monotonic() + _PATIENCE
    while conn.execute(_OLDER_LOOKS, row).fetchone() != (0,):
        if time.monotonic() > end:
            raise TimeoutError(f"Another session has been looking at an older state for {_PATIENCE} s.")
        time.sleep(0.1)


def _own(table: str) -> str:
    return "seq" if table == "escalations_journalentry" else "id"


def _key(conn: Conn, table: str, run_id: int) -> Key:
    query = sql.SQL(
        "SELECT coalesce(min({own}), 0), coalesce(max({own}) - min({own}) + 1, 0),"
        " (SELECT coalesce(max({own}), 0) FROM {table}) FROM {table} WHERE "
    ).format(own=sql.Identifier(_own(table)), table=sql.Identifier(table))
    row = conn.execute(query + _belongs(table, run_id)).fetchone()
    assert row is not None
    first, many, last = row
    return Key(first=first, many=many, last=last)


def _belongs(table: str, run_id: int) -> sql.Composed:
    """Which rows of a table are the run's."""
    if table == _RUN:
        return sql.SQL("id = {run}").format(run=run_id)
    if table == "runs_attempt":
        return sql.SQL(_BY_STEP).format(run=run_id)
    return sql.SQL("run_id = {run}").format(run=run_id)


def _copy_table(
    reader: Conn,
    writer: Conn,
    table: str,
    run_id: int,
    count: int,
    keys: dict[str, Key],
) -> None:
    names = [row[0] for row in reader.execute(_COLUMNS, [table])]
    into = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, names))
    )
    for low, high in _chunks(count):
        rows = sql.SQL(
            "COPY (SELECT {} FROM generate_series({}, {}) AS copy, {} AS old WHERE {} ORDER BY copy) "
            "TO STDOUT (FORMAT binary)"
        ).format(
            sql.SQL(", ").join(_value(table, name, keys) for name in names),
            low,
            high,
            sql.Identifier(table),
            _belongs(table, run_id),
        )
        with reader.cursor().copy(rows) as source, writer.cursor().copy(into) as target:
            for data in source:
                target.write(data)
    if _own(table) == "id":
        writer.execute(
            sql.SQL("SELECT setval(pg_get_serial_sequence({}, 'id'), (SELECT max(id) FROM {}))").format(
                table, sql.Identifier(table)
            )
        )


_COLUMNS = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
"""


def _chunks(count: int) -> Iterator[tuple[int, int]]:
    for low in range(1, count + 1, _CHUNK):
        yield low, min(low + _CHUNK - 1, count)


def _value(table: str, name: str, keys: dict[str, Key]) -> sql.Composable:
    """A column of the copy: a number moved past all that are there, else what the template has."""
    column = sql.Identifier("old", name)
    owner = _SHIFTED[table].get(name)
    if owner is not None and keys[owner].many:
        key = keys[owner]
        past = key.last - key.first + 1
        return sql.SQL("{} + {} + (copy - 1) * {}").format(column, sql.Literal(past), sql.Literal(key.many))
    if (table, name) in _NAMES_ITS_RUN:
        run = _value(table, "run_id", keys)
        return sql.SQL("regexp_replace({}, '^run-[0-9]+-', 'run-' || ({}) || '-')").format(column, run)
    if name == "start_key":
        return sql.SQL("{} || '-' || ({})").format(column, _value(table, "id", keys))
    return column
