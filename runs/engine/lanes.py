"""A few connections of this process for the hot path: prepared statements, each its own transaction, no ORM.

Django's pool asks a connection whether it lives before every use and sets it up anew, which costs as much as a
statement. These are only asked when nobody has used them for a while. Values go to libpq as plain text and by one
call, where psycopg's cursor would choose a type for each and turn its own loop around the socket.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import psycopg
from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction
from psycopg import errors
from psycopg.adapt import Transformer
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg_pool import ConnectionPool

from runs.engine import failpoints

if TYPE_CHECKING:
    from psycopg.abc import Buffer
    from psycopg.abc import Transformer as Reader

MOST = 4  # connections a process: a statement takes a millisecond, more would only queue in PostgreSQL
ASK_AFTER_SECONDS = 1.0  # unused for so long, a connection is asked whether it lives


def _text(value: str) -> bytes:
    if "\x00" in value:  # libpq would end the text there
        raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    return value.encode()


def _nothing(_: None) -> None:
    return None


# By type, and no other: what is not here goes the cursor's way.
_BOUND: dict[type, Callable[[Any], bytes | None]] = {
    str: _text,
    int: lambda value: b"%d" % value,
    bool: lambda value: b"t" if value else b"f",
    timedelta: lambda value: b"%d microseconds" % (value // timedelta(microseconds=1)),
    type(None): _nothing,
}


class Lane(psycopg.Connection[tuple[Any, ...]]):
    """A connection with what it has prepared, and its one cursor: making one costs a tenth of a statement."""

    used = 0.0  # when, by this process's clock
    _cursor: psycopg.Cursor[tuple[Any, ...]] | None = None
    _reads: Reader | None = None
    _names: dict[str, bytes] | None = None  # of prepared statements

    def first(self, sql: str, values: Sequence[Any]) -> tuple[Any, ...] | None:
        """The first row of a prepared statement."""
        try:
            bound = [_BOUND[type(value)](value) for value in values]
        except KeyError:
            found = self._first_of_cursor(sql, values)
        else:
            found = self._first(sql, bound)
        self.used = time.monotonic()
        return found

    def _first(self, sql: str, bound: list[bytes | None]) -> tuple[Any, ...] | None:
        name = None if self._names is None else self._names.get(sql)
        values = cast("list[Buffer]", bound)  # None, NULL, is allowed as well
        result = self.pgconn.exec_prepared(name or self._made_ready(sql), values)
        if result.status != ExecStatus.TUPLES_OK:
            raise self._said(result)
        if not result.ntuples:
            return None
        if self._reads is None:
            self._reads = Transformer(self)
        self._reads.set_pgresult(result)
        found: tuple[Any, ...] | None = self._reads.load_row(0, tuple)
        return found

    def _made_ready(self, sql: str) -> bytes:
        """Of a statement that this connection has not seen; its places are written %s."""
        if self._names is None:
            self._names = {}
        name = f"lane_{len(self._names)}".encode()
        first, *others = sql.split("%s")
        numbered = first + "".join(f"${number}{part}" for number, part in enumerate(others, 1))
        result = self.pgconn.prepare(name, numbered.encode())
        if result.status != ExecStatus.COMMAND_OK:
            raise self._said(result)
        self._names[sql] = name
        return name

    def _said(self, result: PGresult) -> psycopg.Error:
        if self.pgconn.status != ConnStatus.OK:
            return psycopg.OperationalError(result.get_error_message())
        return errors.error_from_result(result)

    def _first_of_cursor(self, sql: str, values: Sequence[Any]) -> tuple[Any, ...] | None:
        if self._cursor is None:
            self._cursor = psycopg.Cursor(self)  # Django's own binds on the client, which prepares nothing
        return self._cursor.execute(sql, values, prepare=True).fetchone()


class _Lanes:
    """A pool, and beside it the lanes that lie ready: the pool's own giving and taking costs as much as a statement.

    The pool opens them, mends what is broken and serves who has to wait.
    """

    def __init__(self, pool: ConnectionPool[Lane]) -> None:
        self._pool = pool
        self._ready: deque[Lane] = deque()  # the last one used comes first: the others may fall idle
        self._waiting = 0
        self._lock = threading.Lock()

    def take(self) -> Lane:
        """A lane that nobody else has. Raises PoolTimeout, which is an OperationalError."""
        lane = self._one_ready()
        if lane is not None:
            return lane
        with self._lock:
            self._waiting += 1
        try:
            # Who gives back looks at `_waiting` afterwards, who waits looks once more: one of them sees the other.
            return self._one_ready() or self._pool.getconn()
        finally:
            with self._lock:
                self._waiting -= 1

    def give_back(self, lane: Lane) -> None:
        if lane.pgconn.transaction_status != TransactionStatus.IDLE:
            self._pool.putconn(lane)
            return
        self._ready.append(lane)
        if self._waiting:
            self._to_the_pool()

    def close(self) -> None:
        while self._to_the_pool():
            pass
        self._pool.close()

    def _one_ready(self) -> Lane | None:
        try:
            lane = self._ready.pop()
        except IndexError:
            return None
        if time.monotonic() - lane.used <= ASK_AFTER_SECONDS:
            return lane
        self._pool.putconn(lane)  # which asks it before it gives it away again
        while self._to_the_pool():
            pass  # these have been unused for longer still
        return None

    def _to_the_pool(self) -> bool:
        try:
            self._pool.putconn(self._ready.popleft())
        except IndexError:
            return False
        return True


_pools: dict[int, _Lanes] = {}
_lock = threading.Lock()


def row(sql: str, values: Sequence[Any], *, before_commit: str = "") -> tuple[Any, ...] | None:
    """The first row of one statement, committed; None when it gives none. Inside a transaction of the caller it is part
    of that. `before_commit` names a failpoint to pass while it is not committed yet.

    Raises Django's database errors.
    """
    mine = connections[DEFAULT_DB_ALIAS]
    if mine.in_atomic_block:
        with transaction.atomic(), mine.cursor() as cursor:
            cursor.execute(sql, values)
            found: tuple[Any, ...] | None = cursor.fetchone()
            return found
    with mine.wrap_database_errors:
        lanes = _pools.get(os.getpid()) or _here()
        lane = lanes.take()
        try:
            if not before_commit or not failpoints.armed(before_commit):
                return lane.first(sql, values)
            with lane.transaction():
                found = lane.first(sql, values)
                failpoints.hit(before_commit)
                return found
        finally:
            lanes.give_back(lane)


def _here() -> _Lanes:
    with _lock:
        if os.getpid() not in _pools:
            _pools.clear()  # a parent's, after a fork
            _pools[os.getpid()] = _Lanes(_opened())
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
        lanes = _pools.pop(os.getpid(), None)
    if lanes is not None:
        lanes.close()
