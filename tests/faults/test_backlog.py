"""A time without workers while intake goes on, with runs that fan out: what has piled up is drained oldest first.

Counted is what is on record as done, not what workers say they did: the backlog must be zero, and stay it.
"""

from __future__ import annotations

import threading
import time

from django.db import connection
from django.db.models import Min
from pytest_django import Settings

from runs.engine.record import now
from runs.models import Run, Step
from runs.tasks import POLL_THREADS
from tests.faults import counts, figures
from tests.faults.acts import start
from tests.faults.broker import Broker
from tests.faults.fleet import LONG_LEASE, Fleet, pause, until
from tests.faults.load import workflows as load

AWAY_SECONDS = counts.of(fast=10, soak=600)
EVERY_SECONDS = 0.5  # a run is started
FANS_EVERY = 10  # one run in so many fans out
THREADS = 2
WORKERS = ("left", "right")
# Runs that are under way at once: each worker's threads and its pollers', and what it has taken off the queue.
BESIDE = len(WORKERS) * (2 * THREADS + POLL_THREADS)
PATIENCE_SECONDS = max(2 * AWAY_SECONDS, 120)


def test_what_piled_up_without_workers_is_drained_oldest_first_while_intake_goes_on(
    fleet: Fleet, broker: Broker, settings: Settings
) -> None:
    settings.RUNS_INTAKE_LIMIT = (
        100_000  # with the limit of every day callers would be asked to come back later
    )
    marks = fleet.folder / "marks.jsonl"
    marks.touch(mode=0o600)
    fleet.env = {"FAULT_MARKS": str(marks)}
    with _Intake(broker) as intake:
        pause(AWAY_SECONDS)
        piled = list(Run.objects.values_list("pk", flat=True))
        back = time.monotonic()
        for name in WORKERS:
            fleet.agents(name, threads=THREADS, RUNS_LEASE_SECONDS=LONG_LEASE, RUNS_SWEEP_SECONDS=5)
        fleet.ordinary()
        fleet.beat()
        until(lambda: _drained(piled), "the backlog is zero, with intake going on", PATIENCE_SECONDS)
        took = time.monotonic() - back
        done = Run.objects.filter(state="done").count()
        intake.stop()
    until(lambda: not Run.objects.exclude(state="done").exists(), "the last ones are done", 120)
    assert Run.objects.count() == intake.started
    fans = Run.objects.filter(workflow=load.FANS.name).count()
    assert Step.objects.filter(parent__isnull=False, state="done").count() == fans * load.FAN
    overtaken = _overtaken()
    figures.tell(
        f"backlog: {AWAY_SECONDS} s without workers, a run every {EVERY_SECONDS:g} s, {fans} of {load.FAN} tasks",
        target=f"drained oldest first within {2 * AWAY_SECONDS} s",
        measured=f"{len(piled)} had piled up, {done} done after {took:.0f} s; one overtaken by {overtaken} at most",
        n=intake.started,
    )
    assert overtaken <= BESIDE
    if counts.soaking():
        assert took <= 2 * AWAY_SECONDS


def _drained(piled: list[int]) -> bool:
    """What had piled up is done, and nothing has been waiting for longer than a moment."""
    if Run.objects.filter(pk__in=piled).exclude(state="done").exists():
        return False
    oldest = Run.objects.filter(state__in=("ready", "sleeping"), hold="").aggregate(due=Min("due_at"))["due"]
    return oldest is None or (now() - oldest).total_seconds() < 2.0


def _overtaken() -> int:
    """How many runs were begun before one that is older than they are, at most, for any run."""
    begun = list(Step.objects.filter(seq=1).order_by("run_id").values_list("started_at", flat=True))
    return max(sum(1 for later in begun[place + 1 :] if later < at) for place, at in enumerate(begun))


class _Intake:
    """Starts runs for as long as it may, each with its hint, as a caller does who knows of no outage."""

    def __init__(self, broker: Broker) -> None:
        self.started = 0
        self._broker = broker
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="intake")

    def __enter__(self) -> _Intake:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic())):
            due += EVERY_SECONDS
            workflow = load.CHAIN if self.started % FANS_EVERY else load.FANS
            run = start(workflow.name, number=self.started, ms=1)
            self._broker.hint(run.pk)
            self.started += 1
        connection.close()
