"""A step that takes its worker down: after three times a person is asked, and everybody else goes on as before."""

from __future__ import annotations

import signal
import time

from runs.models import Event, Question
from tests.faults import counts, figures, workflows
from tests.faults.acts import answer, fresh, start
from tests.faults.broker import Broker
from tests.faults.console import Console, clients
from tests.faults.fleet import LONG_LEASE, Fleet, Process, pause, until

TRIES = 3
BEFORE_SECONDS = counts.of(fast=5, soak=100)
WITH_SECONDS = counts.of(fast=8, soak=200)  # three restarts are to be less than a twentieth of it


def test_a_poison_step_of_the_console_is_quarantined_and_others_do_not_notice(whole_console: Console) -> None:
    console = whole_console
    poisoned = "SELECT count(*) FROM runs_question WHERE state = 'open' AND run_id = %s"
    with clients(console, starters=2, deciders=0, a_second=5, only="load_chain") as acting:
        until(lambda: len(acting.acknowledged("start")) >= 3, "runs are started", 60)
        quiet = time.time()
        pause(BEFORE_SECONDS)
        begun = time.time()
        run_id = console.start("load_poison", 720_000)
        until(lambda: console.value(poisoned, run_id) == 1, "a person is asked", 120)
        quarantined = time.time() - begun
        pause(max(0.0, WITH_SECONDS - quarantined))
        acting.end()
        ended = time.time()
        others = [one["run"] for one in acting.acknowledged("start")]
    until(lambda: _going(console, others) == 0, "every other run is done", 120)
    console.check(acting.log)
    assert len([one for one in console.marks() if one[0] == "poison" and one[1] == 720_000]) == TRIES
    assert console.value("SELECT count(*) FROM runs_question WHERE run_id = ANY(%s)", others) == 0
    assert console.value("SELECT count(*) FROM runs_run WHERE id = ANY(%s) AND state <> 'done'", others) == 0
    before, amid = _seconds(console, others, quiet, begun), _seconds(console, others, begun, ended)
    figures.tell(
        "poison step under `make run`, one worker of agents",
        target=f"asked after {TRIES} attempts, p95 of other runs unchanged",
        measured=f"asked after {quarantined:.1f} s; p95 {figures.at(0.95, before):.2f} s before,"
        f" {figures.at(0.95, amid):.2f} s with it (max {max(amid):.1f})",
        n=len(amid),
    )
    if counts.soaking():
        assert figures.at(0.95, amid) <= 1.5 * figures.at(0.95, before) + 0.1
    until(console.ready, "the console is as it was", 60)


def test_a_long_step_beside_a_poison_step_is_not_taken_for_poison(fleet: Fleet, broker: Broker) -> None:
    """Both were under way each time the worker died; only one of them kills a worker when it is alone."""
    long = start(workflows.CHAIN.name)
    poison = start(workflows.CREW.name, tasks=("poison",))
    workers: list[Process] = []

    def quarantined() -> bool:
        if not workers or workers[-1].ended():
            workers.append(_worker(fleet, f"worker{len(workers)}"))
            until(lambda: fresh(long).lease_owner == workers[-1].worker, "the long step is under way", 60)
            broker.hint(poison.pk)
        return Question.objects.filter(run=poison, state="open").exists()

    broker.hint(long.pk)
    until(quarantined, "a person is asked about the poison", 120)
    assert not Question.objects.filter(run=long).exists()
    answer(poison, "reject", text="leave it out")
    until(lambda: fresh(long).state == "done", "the long run is done", 120)
    assert len([one for one in workers if one.code == -signal.SIGKILL]) == TRIES
    assert Event.objects.filter(run=long, kind="worker lost").count() <= TRIES


def _worker(fleet: Fleet, name: str) -> Process:
    return fleet.agents(
        name, threads=4, neighbours=True, SIMULATED_SECONDS=2.0, RUNS_LEASE_SECONDS=LONG_LEASE
    )


def _going(console: Console, runs: list[int]) -> int:
    final = ["done", "failed", "ended"]
    return int(
        console.value("SELECT count(*) FROM runs_run WHERE id = ANY(%s) AND state <> ALL(%s)", runs, final)
    )


def _seconds(console: Console, runs: list[int], since: float, until_: float) -> list[float]:
    """From start to end of those that were started in that time."""
    rows = console.rows(
        "SELECT extract(epoch FROM finished_at - created_at) FROM runs_run WHERE id = ANY(%s)"
        " AND created_at >= to_timestamp(%s) AND created_at < to_timestamp(%s)",
        runs,
        since,
        until_,
    )
    return [float(seconds) for (seconds,) in rows]
