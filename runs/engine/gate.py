"""The gate: claims and permits pass it side by side, a stop takes it alone. Only locks; decides nothing.

It must be the FIRST statement of its transaction: under READ COMMITTED every later statement then sees the
controls as they are after the wait (one CTE would not: its snapshot is older than the wait).
"""

from __future__ import annotations

import contextlib
import select
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import OperationalError, connection

from runs.engine.record import at_once, last_of

GATE = 7_050_201  # advisory lock ids of this project: 70502xx
_STALE_TRIES = 20
# So many hold times a holder may do nothing in the database before a stop ends it. It looks last after one of them, and
# on a starved machine a thread stood for over half of one between that look and its request: which left after the stop.
_STALE_HOLDS = 4.0

# One message to the server: every trip counts while somebody waits for a stop. A savepoint, because running out of
# time must not end the transaction.
_CLOSE = """
    SAVEPOINT closing;
    SELECT set_config('lock_timeout', %(wait)s, true);
    SELECT pg_advisory_xact_lock(%(gate)s);
    SELECT set_config('lock_timeout', '0', true);
    RELEASE SAVEPOINT closing
"""
_GIVE_UP = "ROLLBACK TO SAVEPOINT closing; RELEASE SAVEPOINT closing"

# Holders of the gate that hold it while doing nothing in the database: a frozen worker between permit and
# hand-over. Their request is past its hold time, so they abort unsent when they wake (see effects). And whoever does
# nothing with a lock for which a holder of the gate waits: one that is frozen in the middle of a transaction.
_END_STALE = """
    WITH RECURSIVE behind(pid) AS (
        SELECT held.pid FROM pg_locks held
            WHERE held.locktype = 'advisory' AND held.classid = 0 AND held.objid = %s AND held.objsubid = 1
                AND held.granted
        UNION
        SELECT blocking.pid FROM behind CROSS JOIN LATERAL unnest(pg_blocking_pids(behind.pid)) AS blocking(pid)
    )
    SELECT count(pg_terminate_backend(act.pid)) FROM behind JOIN pg_stat_activity act USING (pid)
    WHERE act.pid <> pg_backend_pid() AND act.state LIKE 'idle%%'
      AND clock_timestamp() - act.state_change > make_interval(secs => %s)
"""


def shared() -> None:
    """Pass the gate for the rest of this transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [GATE])


def exclusive() -> None:
    """Close the gate for the rest of this transaction: nobody claims or permits meanwhile.

    A holder that is frozen (not merely slow) is disconnected after some hold times, and so is who is frozen with
    a lock that a holder waits for; a stop can never be starved by a worker that is itself the problem: at the latest
    1.5 s after it was asked for, with a hold of 250 ms.
    """
    exclusive_then("SELECT 1", {})


def exclusive_then(statements: str, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Close the gate, and do these in the same message to the server: each sees everything as it is behind the gate.
    The last row that they give."""
    hold_ms = int(settings.RUNS_GATE_HOLD_MS)
    given = {**values, "gate": GATE, "wait": f"{2 * hold_ms}ms"}
    for _ in range(_STALE_TRIES):
        with contextlib.suppress(_OutOfTime):
            return _closed_then(statements, given)
        with connection.cursor() as cursor:
            cursor.execute(_END_STALE, [GATE, hold_ms * _STALE_HOLDS / 1000])
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [GATE])
    return last_of(statements, values)


class _OutOfTime(Exception):
    """Others hold the gate."""


def _closed_then(statements: str, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
    try:
        return last_of(f"{_CLOSE}; {statements}", values)
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") != "55P03":  # lock_not_available
            raise
        at_once(_GIVE_UP, {})
        raise _OutOfTime from error


@dataclass(slots=True)
class Passage:
    """One passage of the gate. `left_at` is PostgreSQL's time just before the gate was let go, None if that failed."""

    left_at: datetime | None = None


@contextlib.contextmanager
def held_by_session() -> Iterator[Passage]:
    """Hold the gate over a commit, until an effect's request has left. Closes the connection if it cannot let go."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock_shared(%s)", [GATE])
    passage = Passage()
    try:
        yield passage
    finally:
        passage.left_at = _let_go()


def is_held() -> bool:
    """Whether the session that holds the gate still lives, as far as this side can tell without asking: a server that
    has ended it has said so on its socket."""
    conn = connection.connection
    if conn is None or conn.closed:
        return False
    news = select.poll()
    news.register(conn.pgconn.socket, select.POLLIN)
    return not news.poll(0)


def _let_go() -> datetime | None:
    # The time is taken before the lock goes, so it can never be later than a control that waited for it.
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp(), pg_advisory_unlock_shared(%s)", [GATE])
            left_at, released = cursor.fetchone() or (None, False)
    except Exception:
        hang_up()
        return None
    if not released:
        hang_up()
        return None
    return left_at


def hang_up() -> None:
    """Really close: a pooled connection that went back with the lock would block every stop."""
    if connection.connection is not None:
        with contextlib.suppress(Exception):
            connection.connection.close()
    connection.close()
