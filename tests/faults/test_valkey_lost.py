"""Valkey wiped, killed and gone while runs are active: it only ever carried hints, so nothing is lost (law L1)."""

from __future__ import annotations

import random
import time

import pytest

from escalations import controls
from runs.engine.record import now
from runs.models import Call, Limit, Question, Run, Step
from tests import factories
from tests.faults import figures, workflows
from tests.faults.acts import start
from tests.faults.broker import Broker
from tests.faults.fleet import LONG_LEASE, Fleet, pause, until

RUNS, FEW = 24, 6
THINKING_SECONDS = 0.1
WIPES, RESTARTS = 10, 3
HELD = 250  # more than one batch of those that are let go
POLLED_SECONDS = 10.0


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


def test_what_a_pause_held_goes_on_within_ten_seconds_while_valkey_is_down(
    fleet: Fleet, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what the act itself has no time to lift: no sweep is told to go on with it."""
    broker.kill()
    for name in ("left", "right"):
        fleet.agents(name, RUNS_LEASE_SECONDS=LONG_LEASE)
    boss = factories.person("ada", "admin")
    pause_ = controls.engage(actor=boss, kind="pause", scope_kind="everything")
    runs = [start(workflows.PLAIN.name) for _ in range(HELD)]
    until(lambda: Run.objects.filter(hold="pause").count() == HELD, "the workers have marked them all")
    monkeypatch.setattr(controls, "AT_ONCE_SECONDS", 0.0)  # as if there were thousands
    controls.release(actor=boss, control_id=pause_.pk, reason="again")
    left, began = _held(), time.monotonic()
    until(lambda: not _held(), "all are let go")
    took = time.monotonic() - began
    until(lambda: not _active(), "every run is final")
    assert {Run.objects.get(pk=run.pk).state for run in runs} == {"done"}
    figures.tell(
        f"Valkey down, a pause over {HELD} runs is released, {left} of them left to the sweep",
        target="let go within 10 s",
        measured=f"the last after {took:.1f} s",
        n=HELD,
    )
    assert took <= figures.room(POLLED_SECONDS)


def test_a_raised_limit_wakes_the_runs_it_stopped_while_valkey_is_down(fleet: Fleet, broker: Broker) -> None:
    broker.kill()
    standing = Limit.objects.create(
        kind="turns",
        window="run",
        scope_kind="organisation",
        value=1,
        mode="enforce",
        valid_from=now(),
        set_by="Ada",
    )
    fleet.agents("left", RUNS_LEASE_SECONDS=LONG_LEASE)
    fleet.agents("right", RUNS_LEASE_SECONDS=LONG_LEASE)
    run = start(workflows.CHAIN.name)
    until(Question.objects.filter(run=run, kind="limit", state="open").exists, "it asks for room")
    standing.valid_until = standing.ended_at = now()
    standing.ended_by = "Ada"
    standing.save()
    until(lambda: not _active(), "it goes on")
    _all_ended_right([run], fleet)


def _held() -> int:
    return Run.objects.filter(hold="pause").count()


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
