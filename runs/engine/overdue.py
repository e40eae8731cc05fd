"""Runs that have passed a limit of wall time which only warns or observes, while nobody looked at them: told by whoever
sweeps. A run tells of itself whenever it goes from step to step and when it ends (`noted`); here are those that wait
for a person or a moment, or are long at one step. Stops nothing, and does not tell twice.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet

from runs import registry
from runs.definitions import Workflow
from runs.engine import limits, noted
from runs.engine.record import announce_run, lock_run, now
from runs.engine.shortened import covered
from runs.limits.kinds import LimitKind, Mode
from runs.limits.rows import Row
from runs.models import Run, RunState
from runs.models.run import FINAL, Hold

A_WHILE = 1.5  # seconds one part of a sweep may take: the next sweep goes on
BATCH = 200  # runs that are read at once
SLACK = timedelta(seconds=60)  # a run may have begun in a transaction that nobody saw yet
_OPEN = [state for state in RunState if state not in FINAL]
_Which = tuple[int, str, int]  # a limit, as it was set


@dataclass(slots=True)
class _Pass:
    """A pass over the runs of one definition, which may take several sweeps: when it began, and the last run told."""

    began: datetime
    last: int = 0


# By limit, workflow and version: until when everything has been told by this process, and the passes under way.
_told: dict[tuple[_Which, str, int], datetime] = {}
_under_way: dict[tuple[_Which, str, int], _Pass] = {}
_turn = 0  # whose is next; each sweep goes on where the one before had no more time


def tell(*, seconds: float = A_WHILE) -> int:
    """Tell of what has passed such a limit since this process looked last, for a while; returns of how many runs. Where
    no limit on wall time warns or observes it asks for the edition of the limits alone."""
    until = time.monotonic() + seconds
    book, moment = limits.current(), now()
    rows = [row for row in book.rows if _tells(row, moment)]
    _forget_all_but({_which(row) for row in rows})
    asks = [(row, workflow) for row in rows for workflow, _ in registry.versions()]
    count = 0
    for _ in asks:
        row, workflow = asks[_turn % len(asks)]
        count += _tell_all(row, workflow, moment, until)
        if time.monotonic() >= until:
            break
    return count


def _tell_all(row: Row, workflow: Workflow, moment: datetime, until: float) -> int:
    """Go on with the pass over one definition's runs; the next turn is another's when it is over."""
    global _turn
    key = (_which(row), workflow.name, workflow.version)
    going = _under_way.setdefault(key, _Pass(began=moment))
    runs = _passed(row, workflow, moment, _told.get(key)).order_by("pk").values_list("pk", flat=True)
    count = 0
    while ids := list(runs.filter(pk__gt=going.last)[:BATCH]):
        count += sum(_tell(run_id) for run_id in ids)
        going.last = ids[-1]
        if time.monotonic() >= until:
            return count
    _told[key] = _under_way.pop(key).began
    _turn += 1
    return count


def _forget_all_but(standing: set[_Which]) -> None:
    for known in (_told, _under_way):
        for key in [one for one in known if one[0] not in standing]:
            del known[key]


def _tells(row: Row, moment: datetime) -> bool:
    return row.kind is LimitKind.WALL_TIME and row.mode is not Mode.ENFORCE and row.holds(moment)


def _which(row: Row) -> _Which:
    return row.id, row.mode.value, row.value


def _passed(row: Row, workflow: Workflow, moment: datetime, since: datetime | None) -> QuerySet[Run]:
    """Open runs of a definition that have passed it since then. A held run's time stands still."""
    less = timedelta(seconds=workflow.deadline_seconds - row.value / 1000)
    runs = covered(Run.objects.filter(state__in=_OPEN, hold=Hold.NONE), row).filter(
        workflow=workflow.name, version=workflow.version, deadline_at__lt=moment + less
    )
    return runs if since is None else runs.filter(deadline_at__gte=since - SLACK + less)


@transaction.atomic
def _tell(run_id: int) -> bool:
    run = lock_run(run_id)
    workflow = registry.workflow(run.workflow, run.version, run.definition) if run and not run.final else None
    if run is None or workflow is None or run.hold != Hold.NONE:
        return False
    if not noted.write(run, noted.wall_time(run, workflow, now())):
        return False
    run.save(update_fields=["event_seq"])
    announce_run(run)
    return True
