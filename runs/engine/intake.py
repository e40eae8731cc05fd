"""How many runs may queue. The queue is counted at the door, but not for each of a burst while it has plenty of room:
a count reads every row of it.
"""

from __future__ import annotations

import threading
import time

from django.conf import settings
from django.db import connection

SECONDS = 1.0  # for so long a count stands
SHARES = 8  # processes that may start runs at the same time: each has an eighth of the room that it has seen

_GOING = """
    SELECT count(*) FROM (
        SELECT FROM runs_run run WHERE run.state IN ('ready', 'running', 'sleeping') LIMIT %s) going
"""


class _Room:
    """What the last count of this process left it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        self._limit, self._until, self._left = -1, 0.0, 0

    def taken(self, limit: int) -> bool | None:
        """Whether there was a place left; None when somebody has to count, who is the caller then."""
        with self._lock:
            if limit != self._limit or time.monotonic() >= self._until:
                self._limit, self._until, self._left = limit, time.monotonic() + SECONDS, 0
                return None
            if self._left <= 0:
                return False
            self._left -= 1
            return True

    def counted(self, limit: int, going: int) -> None:
        with self._lock:
            if limit == self._limit:
                self._left = (limit - going) // SHARES


_room = _Room()


def limit_to_count() -> int | None:
    """The limit that the next start has to count the queue against; None where it need not.

    A caller that got None starts one run at most. By starts of up to `SHARES` processes the limit is never passed; by
    runs that go on again after a person's answer it may be, for `SECONDS`.
    """
    limit = int(settings.RUNS_INTAKE_LIMIT)
    taken = _room.taken(limit)
    if taken is None:
        _room.counted(limit, _going(limit))
        taken = _room.taken(limit)
    return None if taken else limit


def forget() -> None:
    """For tests: as a process that has just started."""
    _room.forget()


def _going(limit: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_GOING, [limit])
        row = cursor.fetchone()
    return int(row[0]) if row else 0
