"""After the last fault has healed: nothing is left to do, and every process that lives does three things more, rightly.

That a record is right does not show that anybody still works. Asserts nothing about the record itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Q, QuerySet

from runs.engine.record import now
from runs.models import Attempt, Hold, Run, RunState, Worker
from tests.faults import acts, workflows
from tests.faults.broker import Broker
from tests.faults.fleet import PATIENCE_SECONDS, Fleet, Process, until

OPERATIONS = 3


def heal(fleet: Fleet, broker: Broker, *, seconds: float = PATIENCE_SECONDS) -> None:
    """Fails when a run that is due stays undone, or a living worker does not do what it is given."""
    broker.stand()
    until(lambda: not due().exists(), "the backlog is zero", seconds)
    awake = [one for one in fleet.processes if not one.ended() and not one.frozen()]
    if {"ordinary", "beat"} <= {one.name for one in awake}:
        _three_sweeps_more(seconds)
    if living := [one for one in awake if one.worker]:
        _three_more(living, broker, seconds)


def due() -> QuerySet[Run]:
    """Runs that somebody should be working at now. What a pause holds that is over counts, too."""
    asleep = Q(state=RunState.SLEEPING, due_at__gt=now())
    free = Q(hold=Hold.NONE) | Q(hold=Hold.PAUSE, held_by__released_at__isnull=False)
    working = Run.objects.filter(free).exclude(asleep)
    return working.filter(state__in=(RunState.READY, RunState.RUNNING, RunState.SLEEPING))


def _three_sweeps_more(seconds: float) -> None:
    """Beat asks for a sweep and the ordinary worker performs it: only then somebody writes that beat was seen."""
    seen: set[Any] = set()

    def swept() -> bool:
        seen.update(Worker.objects.filter(name="beat").values_list("seen_at", flat=True))
        return len(seen) > OPERATIONS

    until(swept, f"{OPERATIONS} sweeps more by beat and the ordinary worker", seconds)


def _three_more(living: Sequence[Process], broker: Broker, seconds: float) -> None:
    before = Attempt.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    probes: list[Run] = []

    def done() -> bool:
        missing = [one for one in living if _did(one, before) < OPERATIONS]
        open_ones = Run.objects.filter(pk__in=[run.pk for run in probes]).exclude(state="done").count()
        if missing and open_ones < 2 * len(living):
            for one in missing:
                probe = acts.start(workflows.PLAIN.name)
                probes.append(probe)
                broker.hint(probe.pk, queue=one.queue or "agents")
        return not missing

    until(done, f"{', '.join(one.name for one in living)} did {OPERATIONS} things more", seconds)
    until(lambda: not due().exists(), "what was asked of them is done", seconds)  # a fourth may be under way
    for one in living:
        attempts = Attempt.objects.filter(worker=one.worker).order_by("-pk")
        last = list(attempts.values_list("state", flat=True)[:OPERATIONS])
        assert set(last) == {"done"}, f"{one.name}: {last}"


def _did(process: Process, since: int) -> int:
    return Attempt.objects.filter(worker=process.worker, pk__gt=since, state="done").count()
