"""Valkey wiped, killed and then away for a while under hundreds of active runs: nothing is lost, work goes on by
polling, and when it is back everything is as before.
"""

from __future__ import annotations

import random
import time

from django.db.models import Max

from runs.models import Call, Event, Run, Step
from tests.faults import counts, figures, workflows
from tests.faults.acts import fresh, start
from tests.faults.broker import Broker
from tests.faults.fleet import LONG_LEASE, Fleet, pause, until

RUNS = counts.of(fast=40, soak=200)
SWEEP = counts.of(fast=1, soak=5)
WIPES, KILLS = counts.of(fast=4, soak=30), counts.of(fast=2, soak=10)
AWAY_SECONDS = counts.of(fast=5, soak=45)
POLLED_SECONDS, NORMAL_SECONDS = 10.0, 30.0
AT_ONCE_SECONDS = 1.0  # from a hint to the first step, when all is well
THINKING_SECONDS = counts.of(fast=2, soak=20) / 10


def test_valkey_wiped_killed_and_away_loses_no_run_and_is_missed_for_seconds_only(
    fleet: Fleet, broker: Broker
) -> None:
    for name in ("left", "right"):
        fleet.agents(
            name,
            threads=8,
            SIMULATED_SECONDS=THINKING_SECONDS,
            RUNS_LEASE_SECONDS=LONG_LEASE,
            RUNS_SWEEP_SECONDS=SWEEP,
        )
    fleet.ordinary()
    fleet.beat()
    runs = [start(workflows.CHAIN.name) for _ in range(RUNS)]
    broker.hint(*(run.pk for run in runs))
    until(lambda: Step.objects.exists(), "the first step runs", 60)
    _hurt(broker)
    assert _active(), "there was nothing to lose any more"
    broker.kill()
    longest = _longest_standstill(until_=time.monotonic() + AWAY_SECONDS)
    broker.start()
    normal = _seconds_to_normal(broker)
    until(lambda: not _active(), "every run is final", 600 if counts.soaking() else 120)
    assert set(Run.objects.values_list("state", flat=True)) == {"done"}
    assert Step.objects.filter(run__in=runs, state="done").count() == RUNS * workflows.CHAIN_STEPS
    assert Call.objects.filter(send__gt=1).count() == 0, "somebody lost a lease"
    assert [process.name for process in fleet.processes if process.ended()] == []
    figures.tell(
        f"Valkey wiped {WIPES} times, killed {KILLS} times, away {AWAY_SECONDS} s; {RUNS} active runs",
        target="none lost; progress within 10 s; normal within 30 s",
        measured=f"0 lost; longest standstill {longest:.1f} s; normal after {normal:.1f} s",
        n=RUNS,
    )
    assert longest <= POLLED_SECONDS
    assert normal <= NORMAL_SECONDS


def _hurt(broker: Broker) -> None:
    dice = random.Random(7)
    for number in range(WIPES):
        pause(dice.uniform(0.02, 0.3))
        assert _active(), "there was nothing to lose any more"
        broker.wipe()
        if number % (WIPES // KILLS) == 0:
            broker.kill()
            pause(dice.uniform(0.0, 0.3))
            broker.start()


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


def _seconds_to_normal(broker: Broker) -> float:
    """Until a hint is obeyed at once again. New runs go to the end of the queue, so it is one that is done already:
    a worker that heard of it wakes up within the second, and the queue is empty."""
    back = time.monotonic()
    while time.monotonic() - back < 2 * NORMAL_SECONDS:
        asked = time.monotonic()
        probe = start(workflows.PLAIN.name)
        broker.hint(probe.pk)
        until(lambda probe=probe: fresh(probe).fence > 0, "it is taken", 60)  # type: ignore[misc]
        if time.monotonic() - asked <= AT_ONCE_SECONDS:
            return time.monotonic() - back
    return time.monotonic() - back
