"""A few connections of this process for the hot path: prepared statements, each its own transaction, no ORM.

Django's pool asks a connection whether it lives before every use and sets it up anew, which costs as much as a
statement. These are only asked when nobody has used them for a while.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import Any

import psycopg
from django.db import connection, transaction
from psycopg_pool import ConnectionPool

from runs.engine import failpoints

MOST = 4  # connections a process: a statement takes a millisecond, more would only queue in PostgreSQL
ASK_AFTER_SECONDS = 1.0  # unused for so long, a connection is asked whether it lives

Connection = psycopg.Connection[tuple[Any, ...]]
_pools: dict[int, ConnectionPool[Connection]] = {}
_lock = threading.Lock()
_used: dict[int, float] = {}  # backend -> when it was used last


def row(sql: str, values: Sequence[Any], *, before_commit: str = "") -> tuple[Any, ...] | None:
    """The first row of one statement, committed; None when it gives none. Inside a transaction of the caller it is part
    of that. `before_commit` names a failpoint to pass while it is not committed yet.

    Raises Django's database errors.
    """
    if connection.in_atomic_block:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql, values)
            found: tuple[Any, ...] | None = cursor.fetchone()
            return found
    with connection.wrap_database_errors, _pool().connection() as conn:
        if before_commit and failpoints.armed(before_commit):
            with conn.transaction():
                found = _row(conn, sql, values)
                failpoints.hit(before_commit)
        else:
            found = _row(conn, sql, values)
        _used[conn.info.backend_pid] = time.monotonic()
    return found


def _row(conn: Connection, sql: str, values: Sequence[Any]) -> tuple[Any, ...] | None:
    with psycopg.Cursor(conn) as cursor:  # Django's own binds on the client, which prepares nothing
        return cursor.execute(sql, values, prepare=True).fetchone()


def _pool() -> ConnectionPool[Connection]:
    pool = _pools.get(os.getpid())
    if pool is not None:
        return pool
    with _lock:
        if os.getpid() not in _pools:
            _pools.clear()  # a parent's, after a fork
            _pools[os.getpid()] = _opened()
        return _pools[os.getpid()]


def _opened() -> ConnectionPool[Connection]:
    options = {**connection.get_connection_params(), "autocommit": True}
    return ConnectionPool(
        kwargs=options,
        min_size=1,
        max_size=MOST,
        timeout=10,
        max_idle=60,
        num_workers=1,
        check=_ask,
        open=True,
    )


def _ask(conn: Connection) -> None:
    """Whether a connection lives. Raises OperationalError; the pool takes another one then."""
    if time.monotonic() - _used.get(conn.info.backend_pid, 0.0) > ASK_AFTER_SECONDS:
        ConnectionPool.check_connection(conn)


def close() -> None:
    """End them: nobody performs steps in this process any more."""
    with _lock:
        pool = _pools.pop(os.getpid(), None)
    if pool is not None:
        pool.close()
