"""Which steps of a run its page shows: a stretch of its history, and of each plan the tasks that tell most. Reads only.

Most is told by what waits, failed or goes on, itself or, in a plan inside the plan, something below it.
However many steps a run has, at most MOST of them are fetched; what is not is counted by state.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from runs.models import Run, Step, StepState
from runs.shown.timeline import MOST_ROWS, MOST_TASKS, URGENT
from runs.shown.words import HEAD

TOPS = 60  # steps that are no tasks
NESTED = 3  # tasks of a plan inside a plan
MOST = 600
_DEEPEST = 8

_URGENCY = " ".join(f"WHEN '{state}' THEN {place}" for state, place in URGENT.items())
_STRETCH = f"""
WITH RECURSIVE above AS (
    SELECT id, parent_id FROM runs_step WHERE id = %(plan)s AND run_id = %(run)s
    UNION ALL
    SELECT step.id, step.parent_id FROM runs_step AS step JOIN above ON step.id = above.parent_id
), top AS (
    (SELECT id, seq FROM runs_step WHERE run_id = %(run)s AND parent_id IS NULL AND state <> 'ready'
        AND seq < %(until)s ORDER BY seq DESC LIMIT %(tops)s)
    UNION ALL
    (SELECT id, seq FROM runs_step WHERE run_id = %(run)s AND parent_id IS NULL AND state = 'ready'
        AND NOT %(past)s ORDER BY seq LIMIT %(tasks)s)
), shown AS (
    SELECT id, seq AS top, 0 AS depth FROM top
    UNION ALL
    SELECT task.id, shown.top, shown.depth + 1 FROM shown CROSS JOIN LATERAL (
        SELECT id, row_number() OVER (
            ORDER BY id IN (SELECT id FROM above) DESC, least(
                CASE state {_URGENCY} ELSE {len(URGENT)} END,
                (SELECT min(CASE state {_URGENCY} END) FROM runs_step AS below
                    WHERE below.parent_id = own.id AND state IN ('waiting', 'running', 'sleeping'))
            ), place
        ) AS place FROM runs_step AS own WHERE parent_id = shown.id
    ) AS task
    WHERE shown.depth < {_DEEPEST} AND task.place <= CASE
        WHEN shown.id = %(plan)s THEN %(rows)s WHEN shown.depth = 0 THEN %(tasks)s ELSE %(nested)s END
)
SELECT step.id, step.run_id, step.seq, step.node, step.state, step.answered_by, step.parent_id, step.place,
    step.started_at, step.finished_at, shown.top, shown.depth,
    EXISTS (SELECT FROM runs_event WHERE run_id = %(run)s AND step_id = step.id AND kind = 'dropped') AS dropped,
    CASE WHEN step.parent_id IS NOT NULL THEN
        (SELECT left(content, %(head)s) FROM runs_body WHERE digest = step.input_id) END AS head,
    (SELECT jsonb_object_agg(state, number) FROM (
        SELECT state, count(*) AS number FROM runs_step AS task WHERE parent_id = step.id GROUP BY state
    ) AS counted) AS tasks_by_state
FROM shown JOIN runs_step AS step ON step.id = shown.id
ORDER BY shown.top DESC, shown.depth, step.seq LIMIT %(most)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """`steps` in order, each with `head` (the beginning of a task's input). `rest` counts by planner and state the
    tasks that were not fetched. `cut`: there are begun steps before these."""

    steps: tuple[Step, ...]
    dropped: frozenset[int]
    rest: Mapping[int, Mapping[str, int]]
    cut: bool


def stretch(run: Run, *, until: int | None = None, plan: int | None = None) -> Stretch:
    """The newest steps, or those before step number `until`; of step `plan` all tasks that a page holds. One query."""
    given = {
        "run": run.pk,
        "plan": plan or 0,
        "until": until or 2**31 - 1,
        "past": until is not None,
        "tops": TOPS + 1,
        "tasks": MOST_TASKS,
        "nested": NESTED,
        "rows": MOST_ROWS,
        "head": HEAD,
        "most": MOST + 1,
    }
    rows = list(Step.objects.raw(_STRETCH, given))
    begun = list(dict.fromkeys(row.top for row in rows if row.depth or row.state != StepState.READY))  # type: ignore[attr-defined]
    cut = len(begun) > TOPS or len(rows) > MOST
    if cut and len(begun) > 1:
        rows = [row for row in rows if row.top != begun[-1]]  # type: ignore[attr-defined]  # it may not be whole
    rows = sorted(rows[:MOST], key=lambda row: row.seq)
    fetched: dict[int, Counter[str]] = {}
    for row in rows:
        if row.parent_id is not None:
            fetched.setdefault(row.parent_id, Counter())[row.state] += 1
    return Stretch(
        steps=tuple(rows),
        dropped=frozenset(row.pk for row in rows if row.dropped),  # type: ignore[attr-defined]
        rest={row.pk: left for row in rows if (left := _left(row, fetched.get(row.pk, Counter())))},
        cut=cut,
    )


def _left(planner: Step, fetched: Mapping[str, int]) -> Mapping[str, int]:
    told = planner.tasks_by_state  # type: ignore[attr-defined]
    counts: dict[str, int] = json.loads(told) if isinstance(told, str) else told or {}
    left = {state: number - fetched.get(state, 0) for state, number in counts.items()}
    return {state: number for state, number in left.items() if number > 0}
