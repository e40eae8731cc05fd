"""Committed, and nobody reads the answer: the connection dies between PostgreSQL's commit and the worker's reading.

Nothing of the product knows of these failpoints: a worker that is told of one by FAILPOINT has the few calls that send
such a statement wrapped (`install`, in the forked child). With `reset` libpq itself finds the connection gone, in the
very call; with `kill` and `freeze` the answer lies in the socket and is read never, or after the lease.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from escalations import plain_starts
from runs.engine import failpoints, fanned, given, lanes, straight, taken_up
from runs.engine.spend import calls

# By the function of the statement.
STATEMENTS = {
    "unread_begin": straight._BEGIN,
    "unread_hand_on": straight._HAND_ON,
    "unread_task_done": fanned._TASK_DONE,
    "unread_take_up": taken_up._TAKE_UP,
    "unread_given": given._GIVEN,
    "unread_start": plain_starts._START,
    "unread_permit": calls._PERMIT,
    "unread_record": calls._RECORD,
}
NAMES = frozenset(STATEMENTS)


def install() -> None:
    """Wrap what sends the statement that FAILPOINT names, if it names one of these."""
    name, _, rest = os.environ.get("FAILPOINT", "").partition(":")
    if name not in NAMES:
        return
    failpoints.NAMES = failpoints.NAMES | NAMES
    action, _, passage = rest.partition(":")
    sql, wanted = STATEMENTS[name], int(passage or 1)

    def lost() -> bool:
        """Pass it; whether the connection is to be gone now."""
        failpoints.hit(name)
        return action == "reset" and failpoints._passed[name] == wanted

    lanes.Lane.first = _of_lane(lanes.Lane.first, sql, lost)  # type: ignore[method-assign]
    calls._row = _of_cursor(calls._row, sql, lost)


def _of_lane(send: Callable[..., Any], sql: str, lost: Callable[[], bool]) -> Callable[..., Any]:
    def first(self: lanes.Lane, asked: str, values: Sequence[Any]) -> Any:
        found = send(self, asked, values)
        if asked == sql and _did_something(asked, found) and lost():
            raise self._said(self.pgconn.exec_(b"SELECT 1"))
        return found

    return first


def _did_something(sql: str, found: Any) -> bool:
    """A beginning gives the run as it was read also when nothing has begun: then the fence is NULL."""
    if sql == straight._BEGIN:
        return found is not None and found[-5] is not None
    return found is not None


def _of_cursor(send: Callable[..., Any], sql: str, lost: Callable[[], bool]) -> Callable[..., Any]:
    def row(asked: str, values: Sequence[Any]) -> Any:
        found = send(asked, values)
        if asked == sql and found is not None and lost():
            send("SELECT 1", [])
        return found

    return row
