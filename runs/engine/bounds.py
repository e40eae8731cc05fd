"""The bounds of a definition together with the limits that people set: the stricter one holds. Acquires nothing.

Whoever applies a bound asks here; what the definition says holds whatever people set.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timedelta

from runs import registry
from runs.definitions import Supervised, Workflow
from runs.engine import limits
from runs.limits import fixed
from runs.limits.applying import Book
from runs.limits.kinds import LimitKind, Window
from runs.limits.rows import Row, Where
from runs.models import Run

RECENT_SECONDS = 1.0
_recent: tuple[float, Book] | None = None


def place(workflow: Workflow, run: Run, *, agent: str = "", tool: str = "", model: str = "") -> Where:
    """Where a run stands, for limits."""
    return Where(team=workflow.team, workflow=workflow.name, agent=agent, tool=tool, model=model, run=run.pk)


def walled() -> bool:
    """Whether people limit wall time anywhere, as of at most a second ago. For the straight way, which knows the
    definition's deadline alone."""
    global _recent
    moment = time.monotonic()
    if _recent is None or moment - _recent[0] > RECENT_SECONDS:
        _recent = (moment, limits.current())
    return any(row.kind is LimitKind.WALL_TIME for row in _recent[1].rows)


def deadline(run: Run, workflow: Workflow, moment: datetime) -> tuple[datetime, Row | None]:
    """When a run's time is up, and the limit of people that says so, if one is stricter than the definition.

    Held time is given back: it has moved the run's own deadline.
    """
    row = _people(LimitKind.WALL_TIME, Window.RUN, workflow, run, moment)
    if row is None:
        return run.deadline_at, None
    less = workflow.deadline_seconds - row.value / 1000
    return run.deadline_at - timedelta(seconds=less), row


def ends_by(run: Run, moment: datetime) -> datetime:
    """When a run's time is up, by its definition and by people; by its row alone when its definition is gone."""
    workflow = registry.workflow(run.workflow, run.version, run.definition)
    return run.deadline_at if workflow is None else deadline(run, workflow, moment)[0]


def retries_left(run: Run, workflow: Workflow, moment: datetime) -> tuple[int, Row | None]:
    """The retries that a run may still spend, and the limit of people that says so, if one is stricter."""
    row = _people(LimitKind.RETRIES, Window.RUN, workflow, run, moment)
    return (row.value if row else workflow.retry_budget) - run.retries, row


def of_plans(
    run: Run, workflow: Workflow, pattern: Supervised, moment: datetime
) -> tuple[Supervised, tuple[Row, ...]]:
    """The pattern with plans as wide and deep as people allow, and the limits that are stricter than it."""
    wide = _people(LimitKind.FAN_OUT_WIDTH, Window.NONE, workflow, run, moment)
    deep = _people(LimitKind.FAN_OUT_DEPTH, Window.NONE, workflow, run, moment)
    bound = replace(
        pattern,
        most_tasks=wide.value if wide else pattern.most_tasks,
        depth=deep.value if deep else pattern.depth,
    )
    return bound, tuple(row for row in (wide, deep) if row)


def step_latency(book: Book, run: Run, workflow: Workflow, agent: str, moment: datetime) -> Row | None:
    """How long a worker may be at a step in one go, if people limit that; in milliseconds."""
    to = place(workflow, run, agent=agent)
    return book.bound(LimitKind.STEP_LATENCY, Window.NONE, to=to, at=moment)


def _people(kind: LimitKind, window: Window, workflow: Workflow, run: Run, moment: datetime) -> Row | None:
    """What people set, where that is stricter than the definition."""
    book = limits.current()
    if not book.rows:
        return None
    to = place(workflow, run)
    row = book.bound(kind, window, to=to, at=moment, fixed=fixed.of_workflow(workflow))
    return None if row is None or row.origin else row
