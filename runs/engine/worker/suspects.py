"""Which of several runs took their worker down. Decides when a suspect is claimed; claims nothing.

When a worker dies, every step that was under way there has lost it, and only one may be the cause. So a worker
performs one suspect of all runs at a time, beside steps that are none: whoever it takes down then is at most suspected
himself, and the cause alone is lost a third time. (Within one run `choose` sees to the same.)
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import connection
from django.db.models import F

from runs.engine.turn import SUSPECT_AFTER
from runs.models import Run, RunState, Step, StepState

LATER = timedelta(seconds=1)
_LOCK = 7_050_202  # advisory, with the worker: two of its threads must not both find that they are the first


def must_wait(run: Run, worker: str, moment: datetime) -> bool:
    """Whether a locked run that has just lost its worker has to wait, because this worker performs another suspect."""
    lost = run.steps.filter(state=StepState.RUNNING, fence=run.fence)
    if not lost.filter(losses__gte=SUSPECT_AFTER - 1).exists():
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_LOCK, worker])
    others = Step.objects.filter(run__due_at__gt=moment, run__state=RunState.RUNNING, run__lease_owner=worker)
    suspects = others.filter(state=StepState.RUNNING, losses__gte=SUSPECT_AFTER, fence=F("run__fence"))
    return suspects.exclude(run=run).exists()
