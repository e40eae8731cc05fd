"""Guards that speak in a run as the engine lets them: events under the run's row lock. Moves nothing but where said."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction

from runs.engine.record import event, lock_run
from runs.models import Run, RunState, Step, StepState, Wait


def told(run: Run, step: Step | None = None, **data: Any) -> None:
    """A guard's finding."""
    given = {
        "guard": "turns",
        "mode": "enforce",
        "scope": "agent writer",
        "limit": 0,
        "cap": 12,
        "value": 13,
        "says": "The writer asked for a thirteenth turn.",
    }
    _say(run, "guard", step, given | data)


def waits(run: Run, step: Step, until: datetime, **data: Any) -> None:
    """A wait for a guard, as runs.engine.waits writes it, and the run asleep because of it."""
    given = {
        "guard": "requests",
        "until": until.isoformat(),
        "says": "60 of 60 requests a minute are used by team Testers. It goes on by itself.",
    } | data
    Wait.objects.create(step=step, run=run, guard=given["guard"], until=until, says=given["says"])
    _say(run, "waits", step, given)
    Step.objects.filter(pk=step.pk).update(state=StepState.SLEEPING, due_at=until, finished_at=None)
    Run.objects.filter(pk=run.pk).update(
        state=RunState.SLEEPING, due_at=until, lease_owner="", lease_until=None, finished_at=None
    )


def looks_again(run: Run, step: Step) -> None:
    """It was taken up and has no room yet."""
    _say(run, "went on", step, {"number": 1})


def goes_on(run: Run, step: Step) -> None:
    """Its call was permitted, and has ended."""
    Wait.objects.filter(step=step).delete()
    _say(run, "call", step, {"call": 0})


@transaction.atomic
def _say(run: Run, kind: str, step: Step | None, data: dict[str, Any]) -> None:
    locked = lock_run(run.pk)
    assert locked is not None
    event(locked, kind, step=step, **data)
    locked.save(update_fields=["event_seq"])
