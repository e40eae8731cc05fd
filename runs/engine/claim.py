"""Claiming: taking a due run's lease under the gate and its row's lock. Never performs anything."""

from __future__ import annotations

import logging
from datetime import datetime

from django.db import transaction
from django.db.models import F

from runs import registry
from runs.engine import failpoints, gate, holds, straight, taken_up
from runs.engine.away import away
from runs.engine.choose import claim_next
from runs.engine.claimed import Claimed, Next, Nothing
from runs.engine.endings import Closing, end_run
from runs.engine.loose import denied_before, quarantine
from runs.engine.record import event, lock_run, now
from runs.engine.worker import suspects
from runs.models import Hold, Run, RunState, StepState

__all__ = ["Claimed", "Next", "Nothing", "claim"]
_log = logging.getLogger("opsconsole.claim")


def claim(run_id: int, *, worker: str, answered: bool = False) -> Next:
    """Take the lease of a due run and claim what it can do next. What nobody foresaw here asks a person.

    `answered` says which of the straight ways is looked at first. A worker that holds the lease already claims what
    else of the run can go on meanwhile, under the same fence.
    """
    try:
        claimed = _straight(run_id, worker, answered) or _claim(run_id, worker)
    except Exception as error:
        if away(error):
            raise  # nothing is wrong with the run: whoever looks next goes on
        _log.exception("run %s cannot be claimed", run_id)
        return _quarantine(run_id, worker, error)
    failpoints.hit("after_claim")
    return claimed


def _straight(run_id: int, worker: str, answered: bool) -> tuple[Claimed, ...] | None:
    if answered:
        return taken_up.take_up(run_id, worker) or straight.begin(run_id, worker)
    return straight.begin(run_id, worker) or taken_up.take_up(run_id, worker)


def _claim(run_id: int, worker: str) -> Next:
    with transaction.atomic():
        gate.shared()
        run = lock_run(run_id, skip_locked=True)
        moment = now()
        refused = _not_now(run, moment, worker)
        if run is None or refused:
            return Nothing(why=refused)
        closing = Closing(run)
        claimed = (
            _claim_more(closing, moment) if _mine(run, worker, moment) else _take(closing, worker, moment)
        )
        closing.close()
    return claimed


def _take(closing: Closing, worker: str, moment: datetime) -> Next:
    """Take the lease. Steps that were performed under the old fence lost their worker."""
    run = closing.run
    if run.state == RunState.RUNNING:
        if suspects.must_wait(run, worker, moment):
            run.due_at = moment + suspects.LATER
            return Nothing(why="later")
        run.steps.filter(state=StepState.RUNNING, fence=run.fence).update(losses=F("losses") + 1)
        event(run, "worker lost", worker=run.lease_owner, fence=run.fence)
    run.fence += 1
    denied = denied_before(run)
    if denied is not None:
        return end_run(closing, RunState.ENDED, denied, moment)
    return claim_next(closing, worker=worker, moment=moment)


def _claim_more(closing: Closing, moment: datetime) -> Next:
    """What else of a run that is performed here can go on: an answer came, a sleeping step woke."""
    return claim_next(closing, worker=closing.run.lease_owner, moment=moment)


def _mine(run: Run, worker: str, moment: datetime) -> bool:
    return (
        run.state == RunState.RUNNING
        and run.lease_owner == worker
        and run.lease_until is not None
        and run.lease_until > moment
    )


def _not_now(run: Run | None, moment: datetime, worker: str) -> str:
    if run is None:
        return "taken"
    if run.final:
        return "final"
    if _mine(run, worker, moment) and not _side_by_side(run):
        return "taken"
    if not _mine(run, worker, moment) and (run.due_at is None or run.due_at > moment):
        return "later" if run.due_at else "waits"
    if run.hold != Hold.NONE or holds.covering(run_id=run.pk, workflow=run.workflow):
        return "held"
    return ""


def _side_by_side(run: Run) -> bool:
    workflow = registry.workflow(run.workflow, run.version)
    return workflow is not None and workflow.width > 1


def _quarantine(run_id: int, worker: str, error: Exception) -> Nothing:
    with transaction.atomic():
        gate.shared()
        run = lock_run(run_id, skip_locked=True)
        moment = now()
        refused = _not_now(run, moment, worker)
        if run is None or refused:
            return Nothing(why=refused)
        if not _mine(run, worker, moment):
            run.fence += 1
        closing = Closing(run)
        parked = quarantine(closing, error, moment)
        closing.close()
    return parked
