"""Valkey wiped, killed and then away for a while under hundreds of active runs: nothing is lost, work goes on by
polling, and when it is back everything is as before.

A run that is begun late may have met a broken line or a queue. So the line is asked where nobody queues, by a worker
with a queue of its own that never polls; and of those that are busy it is asked that no thread of theirs is idle.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import datetime

from django.db.models import Max, Min, Q

from opsconsole.embedded.processes import wait_until
from runs.engine.record import now
from runs.models import Attempt, Call, Event, Run, Step, Worker
from runs.tasks import POLL_THREADS
from tests.faults import counts, figures, workflows
from tests.faults.acts import start
from tests.faults.broker import Broker
from tests.faults.fleet import LONG_LEASE, Fleet, Process, pause, until

RUNS = counts.of(fast=40, soak=200)
FEW = 8
THREADS = 8  # of each busy worker, for hints; its poller has some of its own
SWEEP = counts.of(fast=1, soak=5)
WIPES, KILLS = counts.of(fast=4, soak=30), counts.of(fast=2, soak=10)
AWAY_SECONDS = counts.of(fast=8, soak=45)
POLLED_SECONDS, NORMAL_SECONDS = 10.0, 30.0
AT_ONCE_SECONDS = 1.0  # from a hint to the first step, when all is well
THINKING_SECONDS = counts.of(fast=2, soak=20) / 10


def test_valkey_wiped_killed_and_away_loses_no_run_and_is_missed_for_seconds_only(
    fleet: Fleet, broker: Broker
) -> None:
    busy = [
        fleet.agents(
            name,
            threads=THREADS,
            SIMULATED_SECONDS=THINKING_SECONDS,
            RUNS_LEASE_SECONDS=LONG_LEASE,
            RUNS_SWEEP_SECONDS=SWEEP,
        )
        for name in ("left", "right")
    ]
    idle = fleet.alone("idle", failpoint="", RUNS_LEASE_SECONDS=LONG_LEASE)
    fleet.ordinary()
    fleet.beat()
    runs = [start(workflows.CHAIN.name) for _ in range(RUNS)]
    broker.hint(*(run.pk for run in runs))
    until(lambda: Step.objects.exists(), "the first step runs")
    _hurt(runs, broker)
    _something_to_lose(runs, broker)
    broker.kill()
    polls = fleet.alone(
        "polls",
        failpoint="",
        RUNS_LEASE_SECONDS=LONG_LEASE,
        RUNS_SWEEP_SECONDS=SWEEP,
        SIMULATED_SECONDS=THINKING_SECONDS,
    )
    until(lambda: Worker.objects.filter(name=polls.worker).exists(), "it is up, without Valkey")
    since = now()
    untold = [start(workflows.CHAIN.name) for _ in range(FEW)]  # nobody can be told of these
    runs += untold
    longest = _longest_standstill(until_=time.monotonic() + AWAY_SECONDS)
    polled = _polled_after(since, polls, untold)
    broker.start()
    line = _seconds_until(lambda: _obeyed_at_once(idle, broker))
    all_at_work = _seconds_until(lambda: not _due() or all(_performs(one) >= THREADS for one in busy)) + line
    until(lambda: not _active(), "every run is final", 600 if counts.soaking() else 120)
    assert set(Run.objects.values_list("state", flat=True)) == {"done"}
    assert Step.objects.filter(run__in=runs, state="done").count() == len(runs) * workflows.CHAIN_STEPS
    assert Call.objects.filter(send__gt=1).count() == 0, "somebody lost a lease"
    assert [process.name for process in fleet.processes if process.ended()] == []
    figures.tell(
        f"Valkey wiped {WIPES} times, killed {KILLS} times, away {AWAY_SECONDS} s; {len(runs)} active runs",
        target="none lost; progress within 10 s; normal within 30 s",
        measured=f"0 lost; polled after {polled:.1f} s, longest standstill {longest:.1f} s; a hint obeyed at once after"
        f" {line:.1f} s, every thread at work after {all_at_work:.1f} s",
        n=len(runs),
    )
    assert longest <= figures.room(POLLED_SECONDS)
    assert polled <= figures.room(POLLED_SECONDS)
    assert line <= figures.room(NORMAL_SECONDS)
    assert all_at_work <= figures.room(NORMAL_SECONDS)


def _hurt(runs: list[Run], broker: Broker) -> None:
    dice = random.Random(7)
    for number in range(WIPES):
        pause(dice.uniform(0.02, 0.3))
        _something_to_lose(runs, broker)
        broker.wipe()
        if number % (WIPES // KILLS) == 0:
            broker.kill()
            pause(dice.uniform(0.0, 0.3))
            broker.start()


def _something_to_lose(runs: list[Run], broker: Broker) -> None:
    """More runs, where the workers were given so much of the machine that they are nearly done."""
    if _active() >= FEW:
        return
    more = [start(workflows.CHAIN.name) for _ in range(FEW)]
    broker.hint(*(run.pk for run in more))
    runs += more


def _active() -> int:
    return Run.objects.exclude(state__in=("done", "failed", "ended")).count()


def _longest_standstill(*, until_: float) -> float:
    """Seconds in which nothing at all was recorded, at most, up to that moment."""
    last, moved, longest = -1, time.monotonic(), 0.0
    while time.monotonic() < until_ and _active():
        newest = Event.objects.aggregate(last=Max("id"))["last"] or 0
        if newest != last:
            last, moved = newest, time.monotonic()
        longest = max(longest, time.monotonic() - moved)
        pause(0.05)
    return longest


def _polled_after(since: datetime, polls: Process, untold: list[Run]) -> float:
    """Seconds until the first step was begun that only a poller can have begun: what threads have in hand, and what
    their pollers had taken before, goes on without anybody who polls."""
    begun = Attempt.objects.filter(started_at__gt=since)
    first = begun.filter(Q(worker=polls.worker) | Q(step__run__in=untold)).aggregate(at=Min("started_at"))[
        "at"
    ]
    assert first is not None, "nobody has polled while it was away"
    return float((first - since).total_seconds())


def _seconds_until(normal: Callable[[], bool]) -> float:
    """How long it took; no longer than twice what a test may take."""
    back = time.monotonic()
    while not normal() and time.monotonic() - back < 2 * figures.room(NORMAL_SECONDS):
        pause(0.05)
    return time.monotonic() - back


def _obeyed_at_once(idle: Process, broker: Broker) -> bool:
    """Whether a worker that only ever hears of runs by its queue begins one within the second. Others find the run
    only when it has been overlooked for longer."""
    probe = start(workflows.PLAIN.name)
    broker.hint(probe.pk, queue=idle.queue)
    begun = Attempt.objects.filter(step__run=probe, worker=idle.worker)
    return wait_until(begun.exists, AT_ONCE_SECONDS, 0.05)


def _due() -> bool:
    """Whether a run waits for a thread."""
    return Run.objects.filter(state="ready", due_at__lte=now()).exists()


def _performs(worker: Process) -> int:
    """Runs that it has now. By polling alone it never has more than its poller has threads."""
    assert POLL_THREADS < THREADS
    leased = Run.objects.filter(state="running", lease_owner=worker.worker, lease_until__gt=now())
    return leased.count()
