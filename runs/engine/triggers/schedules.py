"""Starts what is due by schedule. Looks at one moment of each schedule only: the newest that has not been dealt with.

Looked at every few seconds by several processes at once: the due moment is part of the start key. What cannot be
started (a stop, a full intake, a wrong input) is tried again at every look until the next moment takes its place.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from runs.cron import Cron, parse
from runs.engine import starts, triggers
from runs.engine.record import now
from runs.engine.triggers import AWAY
from runs.models import Trigger
from runs.starts_by import Schedule

_log = logging.getLogger("opsconsole.schedules")
MOST_COUNTED = 1000  # missed moments; beyond that the number says nothing more
LATE_SECONDS = 60.0


def look(moment: datetime | None = None) -> int:
    """Start what is due at `moment` (or now, by PostgreSQL's clock); returns how many runs were started."""
    moment = moment or now()
    return sum(_look_at(workflow, schedule, moment) for workflow, schedule in triggers.of_kind(Schedule))


def _look_at(workflow: str, schedule: Schedule, moment: datetime) -> int:
    try:
        return _start_due(workflow, schedule, moment)
    except AWAY:
        raise
    except Exception:  # one schedule that cannot be read must not keep the others waiting
        _log.exception("schedule %s of %s", schedule.name, workflow)
        return 0


def _start_due(workflow: str, schedule: Schedule, moment: datetime) -> int:
    cron = parse(schedule.cron, schedule.timezone)
    trigger = triggers.row(workflow, schedule, moment)
    if trigger.spec != schedule.says:
        return _noted(trigger, schedule, moment)
    due = cron.latest(after=trigger.since, upto=moment)
    if due is None:
        return 0
    missed = cron.between(trigger.since, due, most=MOST_COUNTED)
    try:
        begun = triggers.fire(
            workflow,
            schedule,
            _input(schedule, due, cron),
            f"schedule:{schedule.name}:{iso(due)}",
            due=due,
            says=_says(due, moment, missed),
            due_at=iso(due),
            missed=missed,
        )
    except starts.NotStarted as why:
        triggers.failed(trigger, f"Due {iso(due)}: {triggers.whole_sentence(why)}", due=due)
        return 0
    except AWAY:
        raise
    except Exception as error:
        triggers.failed(trigger, f"Due {iso(due)}: {triggers.words(error)}", due=due)
        return 0
    return int(begun.created)


def _noted(trigger: Trigger, schedule: Schedule, moment: datetime) -> int:
    """A schedule that is new, or another than before, counts from now on."""
    rows = Trigger.objects.filter(pk=trigger.pk, spec=trigger.spec)
    rows.update(spec=schedule.says, since=moment, last_error="")
    return 0


def _input(schedule: Schedule, due: datetime, cron: Cron) -> Mapping[str, Any]:
    return schedule.input(due.astimezone(cron.zone)) if callable(schedule.input) else schedule.input


def _says(due: datetime, moment: datetime, missed: int) -> str:
    if not missed and (moment - due).total_seconds() < LATE_SECONDS:
        return ""
    said = f"Due {iso(due)}, started late at {iso(moment)}."
    if not missed:
        return said
    number = f"{missed} or more" if missed >= MOST_COUNTED else str(missed)
    return f"{said} Left out before it: {number}."


def iso(moment: datetime) -> str:
    """A moment to the second, in UTC, as start keys have it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
