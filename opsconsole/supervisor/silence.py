"""Which worker processes have said nothing for too long. Reads one table of the engine's; kills nobody.

A worker says every second in the database that it lives. While that cannot be asked, and for as long afterwards as
a worker may be silent, nobody is called silent: the silence may be the database's.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

import psycopg

# A new process may load for a while before its first word.
GRACE_SECONDS = 45.0
_ANSWER_SECONDS = 2

# An older process may have had the same number: only what was said since this one began counts.
_SILENT_FOR = """
    SELECT extract(epoch FROM clock_timestamp() - max(seen_at)) FROM runs_worker
    WHERE kind = %(kind)s AND pid = %(pid)s AND gone_at IS NULL
      AND started_at > clock_timestamp() - make_interval(secs => %(age)s)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A worker process: which kind, its number, and the seconds since it was started."""

    kind: str
    pid: int
    age: float


class Listener:
    """Asks the database for news of workers. `limit`: seconds that one may be silent."""

    def __init__(self, database_url: str, *, limit: float) -> None:
        self._url = database_url
        self._limit = limit
        self._answers_since: float | None = None

    def silent(self, watched: Iterable[Watched]) -> dict[int, float]:
        """{pid: seconds of silence} of those that are silent for too long; nobody while the database is."""
        try:
            heard = self._heard(watched)
        except psycopg.Error:
            self._answers_since = None
            return {}
        moment = time.monotonic()
        self._answers_since = self._answers_since or moment
        if moment - self._answers_since < self._limit:
            return {}
        return {pid: seconds for pid, seconds in heard.items() if seconds > self._limit}

    def _heard(self, watched: Iterable[Watched]) -> dict[int, float]:
        with psycopg.connect(
            self._url,
            connect_timeout=_ANSWER_SECONDS,
            autocommit=True,
            application_name="opsconsole-supervisor",
            options=f"-c statement_timeout={_ANSWER_SECONDS}s",
        ) as conn:
            return {one.pid: _silent_for(conn, one) for one in watched}


def _silent_for(conn: psycopg.Connection[tuple[float | None]], one: Watched) -> float:
    values = {"kind": one.kind, "pid": one.pid, "age": one.age + 1.0}
    row = conn.execute(_SILENT_FOR, values).fetchone()
    if row and row[0] is not None:
        return float(row[0])
    return one.age if one.age > GRACE_SECONDS else 0.0
