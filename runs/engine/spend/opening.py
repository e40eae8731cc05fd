"""Opening an account that a permit did not find. Holds neither the gate nor the accounts while it adds up (migration
0035 says how the sum is exact all the same). Reserves nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError, InterfaceError, connection

from runs.engine import gate

OPENING = 7_050_204  # with the account's name: one process adds it up, the others wait for that
_ALONE = "SELECT pg_advisory_lock(%s, hashtext(%s))"
_NOT_ALONE = "SELECT pg_advisory_unlock(%s, hashtext(%s))"
_BEGAN = """
    SELECT CASE WHEN %s IN ('hour', 'day', 'month') THEN date_trunc(%s, clock_timestamp(), 'UTC')
        ELSE 'epoch'::timestamptz END
"""
_UPTO = "SELECT runs_open_upto(%s, %s, %s, %s, %s)"
_FOUND = "SELECT spent, again FROM runs_open_found(%s, %s, %s, %s, %s, %s)"
_OPEN = "SELECT runs_open(%s, %s, %s, %s, %s, %s, %s, %s::bigint[])"


def open_account(kind: str, window: str, scope_kind: str, scope: str) -> int | None:
    """Open the account of the present period; its number, or None when it is open already. Not for a run's own."""
    with _alone("/".join((kind, window, scope_kind, scope))):
        (began,) = _row(_BEGAN, [window, window])
        name = (kind, window, scope_kind, scope, began)
        (upto,) = _row(_UPTO, name)
        if upto is None:
            return None
        spent, again = _row(_FOUND, [*name, upto])
        (made,) = _row(_OPEN, [*name, upto, spent, again])
        return int(made) if made is not None else None


def _row(sql: str, values: Sequence[Any]) -> Any:
    """The one row of a statement, which is a transaction by itself."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone()


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """The lock outlasts the three transactions: it is the session's, and never left behind."""
    with connection.cursor() as cursor:
        cursor.execute(_ALONE, [OPENING, name])
    try:
        yield
    finally:
        try:
            with connection.cursor() as cursor:
                cursor.execute(_NOT_ALONE, [OPENING, name])
        except (DatabaseError, InterfaceError):
            gate.hang_up()
