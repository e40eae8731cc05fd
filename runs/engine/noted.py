"""Limits that only warn or observe, where a run has passed them: an event `guard`, once a run and limit. Stops nothing.

For what `runs.engine.bounds` enforces: wall time, step latency, retries, plans. Asks the book that whoever enforces has
just read, so it costs no query; where no limit of a kind warns or observes, nothing is looked at.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import connection, transaction

from runs import registry
from runs.definitions import Plan, Supervised, Workflow
from runs.engine import bounds, contracts, limits
from runs.engine.found import GUARD, Found
from runs.engine.record import announce_run, event, lock_run, now
from runs.guards.caps import over
from runs.limits.applying import Book
from runs.limits.kinds import TABLE, LimitKind, Mode, Window
from runs.limits.rows import Row
from runs.limits.units import about
from runs.models import Event, Run, Step
from runs.models.run import Hold

if TYPE_CHECKING:
    from runs.engine.claimed import Claimed  # which knows how runs end, and runs that end tell of themselves

_LATENCY = (LimitKind.STEP_LATENCY, Window.NONE)
_TIME = (LimitKind.WALL_TIME, Window.RUN)


def wall_time(run: Run, workflow: Workflow, moment: datetime) -> list[Found]:
    """What tells of a run's time. Held time is given back: it moves the run's deadline
    when the hold ends, and until then the run's time stands still."""
    rows = _rows(limits.known(), *_TIME, workflow, run, moment)
    if not rows:
        return []
    stood = run.held_since if run.hold != Hold.NONE and run.held_since else moment
    left = (run.deadline_at - stood).total_seconds()
    return _passed(rows, round((workflow.deadline_seconds - left) * 1000))


def at_the_end(run: Run, moment: datetime) -> None:
    """Tell of the time of a run that ends, however it does. The caller holds its row lock and saves it."""
    workflow = (
        registry.workflow(run.workflow, run.version, run.definition) if _TIME in limits.known().told else None
    )
    if workflow is not None:
        write(run, wall_time(run, workflow, moment))


def retries(run: Run, workflow: Workflow, moment: datetime) -> list[Found]:
    """What tells of a run's retries, the one that was just decided among them."""
    rows = _rows(limits.known(), LimitKind.RETRIES, Window.RUN, workflow, run, moment)
    return _passed(rows, run.retries)


def plan(run: Run, workflow: Workflow, step: Step, output: Any, moment: datetime) -> list[Found]:
    """What tells of how wide and deep plans are; nothing for an output that is no plan."""
    pattern = workflow.pattern
    if not isinstance(output, Plan) or not isinstance(pattern, Supervised):
        return []
    book = limits.known()
    wide = _rows(book, LimitKind.FAN_OUT_WIDTH, Window.NONE, workflow, run, moment)
    deep = _rows(book, LimitKind.FAN_OUT_DEPTH, Window.NONE, workflow, run, moment)
    if not deep:
        return _passed(wide, len(output.tasks))
    planners = {worker.name for worker in pattern.workers if worker.plans}
    further = any(task.worker in planners for task in output.tasks)
    return _passed(wide, len(output.tasks)) + _passed(deep, contracts.depth_of(step) + further)


def write(run: Run, founds: Sequence[Found], *, step: Step | None = None) -> bool:
    """Append what was not told of this run yet; whether there was any. As for `event`, the caller holds the run's row
    lock and saves the run."""
    if not founds:
        return False
    told = Event.objects.filter(run_id=run.pk, kind=GUARD).values_list("data", flat=True)
    before = {_which(one) for one in told}
    fresh = [one.data for one in founds if _which(one.data) not in before]
    for data in fresh:
        event(run, GUARD, step=step, **data)
    return bool(fresh)


def slow(claimed: Claimed) -> None:
    """Tell of an attempt that is over and took longer in one go than people would like."""
    book = limits.known()
    if _LATENCY in book.told:
        Slow.of(claimed, book, claimed.attempt.agent, now()).look()
        connection.close()


@dataclass(slots=True, kw_only=True)
class Slow:
    """How long an attempt takes in one go, against the limits that only tell of it."""

    claimed: Claimed
    rows: tuple[Row, ...]

    @classmethod
    def of(cls, claimed: Claimed, book: Book, agent: str, moment: datetime) -> Slow:
        rows = _rows(book, *_LATENCY, claimed.workflow, claimed.run, moment, agent=agent)
        return cls(claimed=claimed, rows=rows)

    def look(self) -> None:
        """Tell of those that are passed by now, each once. Holds no transaction, and must not be called in one."""
        if not self.rows:
            return
        worked = round((time.monotonic() - self.claimed.began) * 1000)
        founds = _passed(self.rows, worked)
        if founds:
            self.rows = tuple(row for row in self.rows if worked <= row.value)
            _tell(self.claimed, founds)


def _tell(claimed: Claimed, founds: Sequence[Found]) -> None:
    """The same in a transaction of its own, unless somebody else holds the run by now."""
    with transaction.atomic():
        run = lock_run(claimed.run.pk)
        if run is None or run.fence != claimed.fence or not write(run, founds, step=claimed.step):
            return
        run.save(update_fields=["event_seq"])
        announce_run(run)
    connection.close()


def _rows(
    book: Book,
    kind: LimitKind,
    window: Window,
    workflow: Workflow,
    run: Run,
    at: datetime,
    *,
    agent: str = "",
) -> tuple[Row, ...]:
    """The strictest that warns there and the strictest that observes."""
    if (kind, window) not in book.told:
        return ()
    rows = book.strictest(kind, window, to=bounds.place(workflow, run, agent=agent), at=at)
    return tuple(row for row in rows if row.mode is not Mode.ENFORCE)


def _passed(rows: Sequence[Row], value: int) -> list[Found]:
    return [_found(row, value) for row in rows if over(value, row.value)]


def _found(row: Row, value: int) -> Found:
    amount = f"{about(TABLE[row.kind].unit, value)} of {row.amount}"
    says = f"{row.what} of {row.scope_words}, past the limit that {row.mode.value}s: {amount}."
    return Found(guard=row.kind.value, scope=row.scope_words, says=says, mode=row.mode, row=row, value=value)


def _which(data: dict[str, Any]) -> tuple[Any, ...]:
    """One limit as it was set: a change of its value or mode is told anew."""
    return tuple(data.get(name) for name in ("guard", "limit", "mode", "cap"))
