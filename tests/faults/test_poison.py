"""A step that takes its worker down: after three times a person is asked, and everybody else goes on as before."""

from __future__ import annotations

import time

from runs.models import Event, Question, Run
from tests.faults import counts, figures
from tests.faults.acts import answer, fresh, start
from tests.faults.broker import Broker
from tests.faults.console import Console, clients
from tests.faults.fleet import LONG_LEASE, Fleet, Process, pause, until
from tests.faults.load import workflows as _load  # noqa: F401  (registers them here, too)

TRIES = 3
BEFORE_SECONDS = counts.of(fast=5, soak=60)
WITH_SECONDS = counts.of(fast=8, soak=200)  # three restarts are to be less than a twentieth of it


def test_a_poison_step_of_the_console_is_quarantined_and_others_do_not_notice(whole_console: Console) -> None:
    console = whole_console
    poisoned = "SELECT count(*) FROM runs_question WHERE state = 'open' AND run_id = %s"
    with clients(console, starters=2, deciders=0, a_second=5, only="load_chain") as acting:
        until(lambda: len(acting.acknowledged("start")) >= 3, "runs are started")
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
    until(console.ready, "the console is as it was")


def test_a_long_step_beside_a_poison_step_is_not_taken_for_poison(fleet: Fleet, broker: Broker) -> None:
    """Both were under way when a worker died, twice; only one of them kills a worker that has no other suspect."""
    marks = fleet.folder / "marks.jsonl"
    marks.touch(mode=0o600)
    fleet.env = {"FAULT_MARKS": str(marks)}
    long, poison = start("load_stays_twice", number=1), start("load_poison_beside", number=2)
    workers: list[Process] = []

    def quarantined() -> bool:
        if not workers or workers[-1].ended():
            worker = fleet.agents(f"worker{len(workers)}", neighbours=True, RUNS_LEASE_SECONDS=LONG_LEASE)
            workers.append(worker)
            broker.hint(long.pk)
            until(
                lambda: worker.ended() or fresh(long).lease_owner == worker.worker or fresh(long).final,
                "it is long",
                60,
            )
            broker.hint(poison.pk)
        return Question.objects.filter(run=poison, state="open").exists()

    until(quarantined, "a person is asked about the poison", 180)
    until(lambda: fresh(long).state == "done", "the long run is done")
    assert not Question.objects.filter(run=long).exists()
    assert [one.ended() for one in workers] == [True] * TRIES + [False]
    assert Event.objects.filter(run=long, kind="worker lost").count() == TRIES - 1
    answer(poison, "reject", text="leave it out")


def _has(worker: Process, run: Run) -> bool:
    now_ = fresh(run)
    return now_.lease_owner == worker.worker or now_.final


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
