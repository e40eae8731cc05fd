"""The gate: claims and permits pass it side by side, a stop takes it alone. Only locks; decides nothing.

It must be the FIRST statement of its transaction: under READ COMMITTED every later statement then sees the
controls as they are after the wait (one CTE would not: its snapshot is older than the wait).
"""

from __future__ import annotations

import contextlib
import select
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import OperationalError, connection

from runs.engine.record import at_once

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
# hand-over. Their request is past its hold time, so they abort unsent when they wake (see effects).
_END_STALE = """
    SELECT count(pg_terminate_backend(held.pid)) FROM pg_locks held JOIN pg_stat_activity act USING (pid)
    WHERE held.locktype = 'advisory' AND held.classid = 0 AND held.objid = %s AND held.objsubid = 1
      AND held.granted AND held.pid <> pg_backend_pid() AND act.state LIKE 'idle%%'
      AND clock_timestamp() - act.state_change > make_interval(secs => %s)
"""


def shared() -> None:
    """Pass the gate for the rest of this transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [GATE])


def exclusive() -> None:
    """Close the gate for the rest of this transaction: nobody claims or permits meanwhile.

    A holder that is frozen (not merely slow) is disconnected after some hold times, so that a stop can never be
    starved by a worker that is itself the problem: at the latest 1.5 s after it was asked for, with a hold of 250 ms.
    """
    hold_ms = int(settings.RUNS_GATE_HOLD_MS)
    for _ in range(_STALE_TRIES):
        if _locked_within(2 * hold_ms):
            return
        with connection.cursor() as cursor:
            cursor.execute(_END_STALE, [GATE, hold_ms * _STALE_HOLDS / 1000])
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [GATE])


def _locked_within(milliseconds: int) -> bool:
    try:
        at_once(_CLOSE, {"gate": GATE, "wait": f"{milliseconds}ms"})
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") != "55P03":  # lock_not_available
            raise
        at_once(_GIVE_UP, {})
        return False
    return True


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
