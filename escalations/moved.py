"""What has moved among runs since a process last looked: for screens whose hint was lost (law L8). Writes nothing.

Of a run that is watched its own numbers say it, without a gap. Of all others only that something has happened is
said, by the newest events; one that commits after a younger one is left to the next.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from django.db import connection

MOST = 500  # events of one look; more are not compared, whoever lists runs then asks again
_LOOK = """
    WITH fresh AS MATERIALIZED (
        SELECT id, run_id, seq FROM runs_event WHERE id > %(since)s ORDER BY id LIMIT %(most)s)
    SELECT (SELECT max(id) FROM runs_event), (SELECT count(*) FROM fresh),
        (SELECT array_agg(ARRAY[run_id, seq]) FROM (SELECT run_id, max(seq) AS seq FROM fresh GROUP BY run_id) AS each),
        (SELECT array_agg(ARRAY[id, event_seq::bigint]) FROM runs_run WHERE id = ANY(%(watched)s))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one look found. `moved`: runs with events since the look before, by their last; `whole`: it has them all."""

    newest: int
    moved: Mapping[int, int]
    whole: bool
    watched: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """What nobody has been told of."""

    runs: frozenset[int]  # of those that are watched
    some: bool  # any run at all


def look(since: int, watched: Collection[int]) -> Found:
    """One query, by keys alone. `since`: the newest event of the look before."""
    with connection.cursor() as cursor:
        cursor.execute(_LOOK, {"since": since, "most": MOST, "watched": list(watched)})
        newest, count, moved, standing = cursor.fetchone()
    return Found(
        newest=newest or 0, moved=dict(moved or ()), whole=count < MOST, watched=dict(standing or ())
    )


class Heard:
    """How far hints have said it, run by run. Only what came since the look before is remembered."""

    def __init__(self) -> None:
        self.newest: int | None = None  # event, at the last look; None before the first
        self._since: dict[int, int] = {}
        self._watched: dict[int, int] = {}

    def knows(self, run: int | None) -> bool:
        """Whether a screen that begins to watch this run needs no look first."""
        return self.newest is not None and (run is None or run in self._watched)

    def note(self, run: int, seq: int) -> None:
        self._since[run] = max(seq, self._since.get(run, 0))

    def compare(self, found: Found) -> Missed:
        """What was found and not heard of. The first look, and the first at a run, only say from where on."""
        heard, self._since = self._since, {}
        runs = {
            run
            for run, seq in found.watched.items()
            if seq > max(heard.get(run, 0), self._watched.get(run, seq))
        }
        some = not found.whole or any(seq > heard.get(run, 0) for run, seq in found.moved.items())
        begins = self.newest is None
        self.newest, self._watched = found.newest, dict(found.watched)
        return Missed(runs=frozenset(runs), some=some and not begins)
