"""What all of a run adds up to: its steps, when it was held, what guards said of it, what it used up and where its time
went. One statement, however long the run is. Reads only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from runs.models import Run, StepState
from runs.shown import guarded, spans, used
from runs.shown.course import Visits, Went
from runs.shown.guarded import Guarded
from runs.shown.spans import Spans
from runs.shown.used import Used
from runs.shown.visited import Held

_ADDED_UP = f"""
WITH {used.CALLED}, {spans.RECENT}, mine AS MATERIALIZED (
    SELECT id, seq, node, parent_id, answered_by, CASE WHEN id IN (
        SELECT step_id FROM runs_event WHERE run_id = %(run)s AND kind = 'dropped'
    ) THEN 'not needed' ELSE state END AS state
    FROM runs_step WHERE run_id = %(run)s
)
SELECT 'steps', jsonb_build_object(
    'node', node, 'task', parent_id IS NOT NULL, 'state', state, 'number', count(*), 'last', max(seq)
)::text FROM mine GROUP BY node, parent_id IS NOT NULL, state
UNION ALL
SELECT 'last', jsonb_build_object('node', node, 'state', state, 'answered_by', answered_by, 'seq', seq,
    'tries', (SELECT count(*) FROM runs_attempt WHERE step_id = mine.id)
)::text FROM mine WHERE seq IN (SELECT max(seq) FROM mine GROUP BY node)
UNION ALL
SELECT DISTINCT 'way', jsonb_build_object('from', came_from, 'to', node)::text FROM (
    SELECT lag(node) OVER (ORDER BY seq) AS came_from, node FROM mine
    WHERE parent_id IS NULL AND state <> 'ready'
) AS along WHERE came_from IS NOT NULL
UNION ALL
SELECT DISTINCT 'way', jsonb_build_object('from', planner.node, 'to', task.node)::text
FROM mine AS task JOIN mine AS planner ON planner.id = task.parent_id WHERE task.state <> 'ready'
UNION ALL
(SELECT 'hold', jsonb_build_object('kind', kind, 'at', at, 'data', data)::text FROM runs_event
WHERE run_id = %(run)s AND kind IN ('held', 'resumed') ORDER BY seq DESC LIMIT 100)
UNION ALL {guarded.TOLD} UNION ALL {used.USED} UNION ALL {spans.SPANS}
"""
_ABOUT = ("steps", "last", "way", "hold", "told", "used", "use", "account", "wait", "edition", "spans")


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedUp:
    """`holds` are the newest stretches during which the run was held, the oldest of them first. `edition`: the number
    of the last change of any limit."""

    went: Went
    holds: tuple[Held, ...]
    guarded: Guarded
    used: Used
    spans: Spans
    edition: int


def added_up(run: Run) -> AddedUp:
    """One query, which reads every step of the run and makes a few rows of them."""
    rows: dict[str, list[dict[str, Any]]] = {about: [] for about in _ABOUT}
    with connection.cursor() as cursor:
        cursor.execute(_ADDED_UP, {"run": run.pk, "zero": run.created_at})
        for about, told in cursor.fetchall():
            rows[about].append(json.loads(told))
    holds = tuple(_holds(list(reversed(rows["hold"]))))
    said = guarded.guarded(rows["told"], rows["wait"])
    latest = max((one["seq"] for one in rows["last"]), default=0)
    own = [one for one in rows["steps"] if not one["task"] and one["state"] != StepState.READY]
    return AddedUp(
        went=Went(
            state=run.state,
            visits={one["node"]: _visits(one, rows["steps"]) for one in rows["last"]},
            ways=frozenset((one["from"], one["to"]) for one in rows["way"]),
            newest=next((one["node"] for one in rows["last"] if one["seq"] == latest), None),
            newest_of_its_own=max(own, key=lambda one: int(one["last"]))["node"] if own else None,
        ),
        holds=holds,
        guarded=said,
        used=used.used(run, rows["used"], rows["use"], rows["account"]),
        spans=spans.spans(run, rows["spans"][0], holds=holds, guarded=said),
        edition=rows["edition"][0]["number"],
    )


def _visits(last: dict[str, Any], steps: list[dict[str, Any]]) -> Visits:
    here = [one for one in steps if one["node"] == last["node"]]
    counts: dict[str, int] = {}
    for one in here:
        counts[one["state"]] = counts.get(one["state"], 0) + one["number"]
    return Visits(
        counts=counts,
        tasks=any(one["task"] for one in here),
        state=last["state"],
        answered_by=last["answered_by"],
        tries=last["tries"],
    )


def _holds(told: list[dict[str, Any]]) -> Iterator[Held]:
    """Stretches from "held" to the next "resumed". A second control during a hold changes only its words."""
    begun: dict[str, Any] | None = None
    for one in told:
        if one["kind"] == "held":
            begun = begun or one
        elif begun is not None:
            yield _held(begun, datetime.fromisoformat(one["at"]))
            begun = None
    if begun is not None:
        yield _held(begun, None)


def _held(told: dict[str, Any], end: datetime | None) -> Held:
    begin = datetime.fromisoformat(told["at"])
    data = told["data"]
    return Held(kind=str(data.get("hold", "")), by=str(data.get("by", "")), begin=begin, end=end)
