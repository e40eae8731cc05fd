"""A worker that is asked to end lets calls under way finish for a while, and hands over what does not."""

from __future__ import annotations

import os
import signal
import time

import pytest

from runs.models import Attempt, Call, Event, Run, Step, Worker
from tests.faults import figures
from tests.faults.acts import start
from tests.faults.fleet import Fleet, Process, until

DRAIN_SECONDS = 20.0  # within which a worker is gone, whatever it does


def _worker(fleet: Fleet, name: str, *, call_seconds: float, drain_seconds: float) -> Process:
    return fleet.agents(name, SIMULATED_SECONDS=call_seconds, RUNS_DRAIN_SECONDS=drain_seconds)


def _leave(worker: Process) -> float:
    """Ask it to end; the seconds until it has."""
    begun = time.monotonic()
    os.kill(worker.pid, signal.SIGTERM)
    until(worker.ended, f"{worker.name} has left")
    assert worker.code == 0, worker.log.read_text()
    return time.monotonic() - begun


def _calls(run: Run) -> list[tuple[str, int]]:
    return list(Call.objects.filter(run=run).order_by("pk").values_list("state", "send"))


def _thinking(number: int) -> bool:
    return Call.objects.filter(state="permitted").count() == number


def test_a_call_under_way_finishes_and_the_next_step_is_left_to_others(fleet: Fleet) -> None:
    run = start("deploy_ponder")
    leaving = _worker(fleet, "leaving", call_seconds=6.0, drain_seconds=15)
    until(lambda: _thinking(1), "it is asking its model")
    assert _leave(leaving) < figures.room(DRAIN_SECONDS)
    assert _calls(run) == [("done", 1)]
    assert Step.objects.filter(run=run, state="done").count() == 1
    left = Run.objects.get(pk=run.pk)
    assert left.lease_owner == ""
    assert Worker.objects.get(name__startswith="agents-leaving").gone_at is not None
    _worker(fleet, "staying", call_seconds=0.0, drain_seconds=15)
    until(lambda: Run.objects.get(pk=run.pk).state == "done", "the run is done")
    assert _calls(run) == [("done", 1)] * 3
    assert not Event.objects.filter(run=run, kind="worker lost").exists()


def test_a_call_that_takes_too_long_is_cut_and_taken_over_at_once(fleet: Fleet) -> None:
    """At once: not after the lease, which is long here."""
    run = start("deploy_ponder")
    leaving = _worker(fleet, "leaving", call_seconds=600.0, drain_seconds=1)
    until(lambda: _thinking(1), "it is asking its model")
    _worker(fleet, "staying", call_seconds=0.0, drain_seconds=15)
    took = _leave(leaving)
    assert took < figures.room(DRAIN_SECONDS)
    until(lambda: Run.objects.get(pk=run.pk).state == "done", "the run is done")
    assert not Event.objects.filter(run=run, kind="worker lost").exists(), "it was the lease"
    first = Attempt.objects.filter(step__run=run).order_by("pk").first()
    assert first is not None
    assert (first.number, first.worker.rpartition("-")[0]) == (
        1,
        "agents-staying",
    )  # the same attempt went on
    assert _calls(run)[:2] == [("cut", 1), ("done", 2)]
    assert not Event.objects.filter(run=run, kind="worker lost").exists()
    assert not Step.objects.filter(run=run, losses__gt=0).exists()


def test_a_thread_that_nothing_frees_does_not_keep_the_process(fleet: Fleet) -> None:
    run = start("deploy_block")
    mark = fleet.folder / "blocks"
    fleet.env |= {"DEPLOY_BLOCKS": "600", "DEPLOY_MARK": str(mark)}
    leaving = _worker(fleet, "leaving", call_seconds=0.0, drain_seconds=1)
    until(
        mark.exists, "it blocks"
    )  # not only claimed: a step that has not begun is let go without further ado
    assert _leave(leaving) < figures.room(DRAIN_SECONDS)
    left = Run.objects.get(pk=run.pk)
    assert (left.state, left.lease_owner) == ("ready", "")
    assert Event.objects.filter(run=run, kind="given back").exists()
    fleet.env["DEPLOY_BLOCKS"] = "0"
    _worker(fleet, "staying", call_seconds=0.0, drain_seconds=15)
    until(lambda: Run.objects.get(pk=run.pk).state == "done", "the run is done")


@pytest.mark.parametrize("runs", [0, 10])
def test_an_idle_and_a_busy_worker_leave_in_order(fleet: Fleet, runs: int) -> None:
    first = start("fault_chain")
    leaving = _worker(fleet, "leaving", call_seconds=0.3, drain_seconds=15)
    until(lambda: Run.objects.get(pk=first.pk).state == "done", "it works")
    made = [start("deploy_ponder") for _ in range(runs)]
    if runs:
        until(lambda: Call.objects.filter(state="done", run__in=made).count() >= 4, "it is busy")
    assert _leave(leaving) < figures.room(DRAIN_SECONDS)
    assert not Run.objects.exclude(lease_owner="").exists()
    if not runs:
        return
    _worker(fleet, "staying", call_seconds=0.0, drain_seconds=15)
    until(lambda: Run.objects.filter(state="done").count() == 1 + len(made), "every run is done")
    assert not Call.objects.exclude(state="done").exists()
    assert not Call.objects.filter(send__gt=1).exists()


def test_of_a_plan_what_goes_on_finishes_and_the_rest_is_left(fleet: Fleet) -> None:
    run = start("deploy_crew")
    leaving = _worker(fleet, "leaving", call_seconds=6.0, drain_seconds=15)
    until(lambda: _thinking(6), "six tasks ask their models")
    assert _leave(leaving) < figures.room(DRAIN_SECONDS)
    assert _calls(run) == [("done", 1)] * 6
    states = list(Step.objects.filter(run=run, node="ponder").values_list("state", flat=True))
    assert (states.count("done"), states.count("ready")) == (6, 14)
    assert Run.objects.get(pk=run.pk).lease_owner == ""
    _worker(fleet, "staying", call_seconds=0.0, drain_seconds=15)
    until(lambda: Run.objects.get(pk=run.pk).state == "done", "the run is done")
    assert _calls(run) == [("done", 1)] * 20
