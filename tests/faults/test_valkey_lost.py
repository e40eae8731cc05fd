"""Valkey wiped, killed and gone while runs are active: it only ever carried hints, so nothing is lost (law L1)."""

from __future__ import annotations

import random

from runs.models import Call, Run, Step
from tests.faults import workflows
from tests.faults.acts import start
from tests.faults.broker import Broker
from tests.faults.fleet import LONG_LEASE, Fleet, pause, until

RUNS, FEW = 24, 6
THINKING_SECONDS = 0.1
WIPES, RESTARTS = 10, 3


def test_valkey_wiped_at_random_moments_loses_no_run(fleet: Fleet, broker: Broker) -> None:
    _whole_fleet(fleet)
    runs = _started(broker)
    moments = random.Random(7)
    for _ in range(WIPES):
        pause(moments.uniform(0.02, 0.4))
        _something_to_lose(runs, broker)
        broker.wipe()
    _all_ended_right(runs, fleet)


def test_valkey_killed_and_started_again_loses_no_run(fleet: Fleet, broker: Broker) -> None:
    _whole_fleet(fleet)
    runs = _started(broker)
    moments = random.Random(8)
    for _ in range(RESTARTS):
        pause(moments.uniform(0.1, 0.5))
        _something_to_lose(runs, broker)
        broker.kill()
        pause(moments.uniform(0.0, 0.5))
        broker.start()
    _all_ended_right(runs, fleet)


def test_runs_go_on_while_valkey_is_down(fleet: Fleet, broker: Broker) -> None:
    """Also those that are started meanwhile: the workers poll."""
    fleet.agents("left", RUNS_LEASE_SECONDS=LONG_LEASE)
    first = start(workflows.CHAIN.name)
    broker.hint(first.pk)
    until(lambda: not _active(), "the worker is up")
    broker.kill()
    runs = [start(workflows.CHAIN.name) for _ in range(4)]
    _all_ended_right([first, *runs], fleet)


def test_a_worker_that_starts_while_valkey_is_down_works(fleet: Fleet, broker: Broker) -> None:
    broker.kill()
    run = start(workflows.CHAIN.name)
    fleet.agents("left", RUNS_LEASE_SECONDS=LONG_LEASE)
    _all_ended_right([run], fleet)


def _whole_fleet(fleet: Fleet) -> None:
    for name in ("left", "right"):
        fleet.agents(name, threads=8, SIMULATED_SECONDS=THINKING_SECONDS, RUNS_LEASE_SECONDS=LONG_LEASE)
    fleet.ordinary()
    fleet.beat()


def _started(broker: Broker) -> list[Run]:
    """All of them hinted, the first of them begun."""
    runs = [start(workflows.CHAIN.name) for _ in range(RUNS)]
    broker.hint(*(run.pk for run in runs))
    until(lambda: Step.objects.count() > 0, "the first step runs")
    return runs


def _something_to_lose(runs: list[Run], broker: Broker) -> None:
    """More runs, where the workers were given so much of the machine that they are nearly done."""
    if _active() >= FEW:
        return
    more = [start(workflows.CHAIN.name) for _ in range(FEW)]
    broker.hint(*(run.pk for run in more))
    runs += more


def _active() -> int:
    return Run.objects.exclude(state__in=("done", "failed", "ended")).count()


def _all_ended_right(runs: list[Run], fleet: Fleet) -> None:
    until(lambda: not _active(), "every run is final")
    assert [process.name for process in fleet.processes if process.ended()] == []  # nobody died with Valkey
    assert set(Run.objects.values_list("state", flat=True)) == {"done"}
    for run in runs:
        steps = Step.objects.filter(run=run).order_by("seq").values_list("seq", "state")
        assert list(steps) == [(seq, "done") for seq in range(1, workflows.CHAIN_STEPS + 1)]
    assert Call.objects.filter(send__gt=1).count() == 0  # nobody lost a lease, so nothing was asked twice
