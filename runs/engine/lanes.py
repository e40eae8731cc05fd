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


class Lane(psycopg.Connection[tuple[Any, ...]]):
    """A connection with its one cursor: making one costs a tenth of a statement."""

    used = 0.0  # when, by this process's clock
    _cursor: psycopg.Cursor[tuple[Any, ...]] | None = None

    def first(self, sql: str, values: Sequence[Any]) -> tuple[Any, ...] | None:
        """The first row of a prepared statement."""
        if self._cursor is None:
            self._cursor = psycopg.Cursor(self)  # Django's own binds on the client, which prepares nothing
        found = self._cursor.execute(sql, values, prepare=True).fetchone()
        self.used = time.monotonic()
        return found


_pools: dict[int, ConnectionPool[Lane]] = {}
_lock = threading.Lock()


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
    with connection.wrap_database_errors:
        pool = _pool()
        lane = pool.getconn()
        try:
            if not before_commit or not failpoints.armed(before_commit):
                return lane.first(sql, values)
            with lane.transaction():
                found = lane.first(sql, values)
                failpoints.hit(before_commit)
                return found
        finally:
            pool.putconn(lane)


def _pool() -> ConnectionPool[Lane]:
    pool = _pools.get(os.getpid())
    if pool is not None:
        return pool
    with _lock:
        if os.getpid() not in _pools:
            _pools.clear()  # a parent's, after a fork
            _pools[os.getpid()] = _opened()
        return _pools[os.getpid()]


def _opened() -> ConnectionPool[Lane]:
    options = {**connection.get_connection_params(), "autocommit": True}
    return ConnectionPool(
        connection_class=Lane,
        kwargs=options,
        min_size=1,
        max_size=MOST,
        timeout=10,
        reconnect_timeout=5,  # by itself it would wait as long again as the server was away
        max_idle=60,
        num_workers=1,
        check=_ask,
        open=True,
    )


def _ask(lane: Lane) -> None:
    """Whether a connection lives. Raises OperationalError; the pool takes another one then."""
    if time.monotonic() - lane.used > ASK_AFTER_SECONDS:
        ConnectionPool.check_connection(lane)


def close() -> None:
    """End them: nobody performs steps in this process any more."""
    with _lock:
        pool = _pools.pop(os.getpid(), None)
    if pool is not None:
        pool.close()
