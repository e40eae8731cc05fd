"""How many runs there are of each workflow, by version and state; counting stops at counted.MOST. Reads only.

A million runs are counted in the time of a few thousand: from one kind of run to the next along the index, and of each
kind at most so many.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django.db import connection

from runs.models.run import ACTIVE
from runs.shown.counted import MOST

Counts = dict[tuple[str, int], dict[str, int]]  # by workflow and version, then by state

_KINDS = """
WITH RECURSIVE kinds AS (
    (SELECT workflow, version, state FROM runs_run {only} ORDER BY workflow, version, state LIMIT 1)
    UNION ALL
    SELECT following.* FROM kinds CROSS JOIN LATERAL (
        SELECT workflow, version, state FROM runs_run
        WHERE (workflow, version, state) > (kinds.workflow, kinds.version, kinds.state) {and_only}
        ORDER BY workflow, version, state LIMIT 1
    ) AS following
)
SELECT workflow, version, state, (
    SELECT count(*) FROM (
        SELECT FROM runs_run AS run WHERE run.workflow = kinds.workflow
            AND run.version = kinds.version AND run.state = kinds.state LIMIT %(most)s
    ) AS counted
) FROM kinds
"""
# Not "=": the planner would then take the order of all runs for good enough, and walk through them to the first one.
_TEAMS = """
SELECT name.name, team.name FROM unnest(%(names)s::text[]) AS name (name)
CROSS JOIN LATERAL (SELECT team_id FROM runs_run WHERE workflow >= name.name AND workflow <= name.name
    ORDER BY workflow, id DESC LIMIT 1) AS run
JOIN runs_team AS team ON team.id = run.team_id
"""


def by_kind(workflow: str | None = None) -> Counts:
    """Of every workflow, or of that one. One query."""
    only, and_only = (
        ("", "") if workflow is None else ("WHERE workflow = %(name)s", "AND workflow = %(name)s")
    )
    found: Counts = {}
    with connection.cursor() as cursor:
        cursor.execute(_KINDS.format(only=only, and_only=and_only), {"name": workflow, "most": MOST})
        for name, version, state, number in cursor.fetchall():
            found.setdefault((name, version), {})[state] = number
    return found


def active(counts: Counts) -> dict[str, int]:
    """The runs of each workflow that are not final; only the workflows that have some."""
    found: dict[str, int] = {}
    for (name, _), states in counts.items():
        going = sum(states.get(state, 0) for state in ACTIVE)
        if going:
            found[name] = found.get(name, 0) + going
    return found


def teams(names: Iterable[str]) -> Mapping[str, str]:
    """The team of the newest run of each of these workflows. One query."""
    wanted = sorted(names)
    if not wanted:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_TEAMS, {"names": wanted})
        return dict(cursor.fetchall())
