"""How soon a run goes on whose worker was killed: after its lease where nobody sees it, at once where somebody does.

And what is no death: a connection that was lost costs no step a worker.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Sequence
from typing import Any

from django.db import connection

from opsconsole.embedded.processes import wait_until
from runs.models import Call, Event, Run, Step, Worker
from tests.faults import counts, figures, workflows
from tests.faults.acts import fresh, start
from tests.faults.broker import Broker
from tests.faults.console import Console
from tests.faults.fleet import (
    LEASE_SECONDS,
    LONG_LEASE,
    NEVER,
    PATIENCE_SECONDS,
    Fleet,
    Process,
    SinkProcess,
    pause,
    until,
)
from tests.faults.retold import retold

AT_ONCE, TURNS = counts.of(fast=3, soak=20), counts.of(fast=1, soak=5)
SEEN_AT_ONCE, SEEN_TURNS = counts.of(fast=1, soak=4), counts.of(fast=1, soak=5)
LEASE = counts.of(fast=LEASE_SECONDS, soak=15)
SWEEP = counts.of(fast=1, soak=5)
TARGET_SECONDS = LEASE + SWEEP  # 20 s with the settings of every day
LATE_SECONDS = counts.of(fast=8, soak=0)  # what a few repetitions on a busy machine may take longer
SEEN_LATE_SECONDS = counts.of(fast=6, soak=3)  # a sweep and a claim take their time too
THINKING_SECONDS = 3600.0


def test_a_killed_worker_that_nobody_sees_is_made_good_after_its_lease(fleet: Fleet, broker: Broker) -> None:
    for name in ("left", "right"):
        fleet.agents(name, RUNS_LEASE_SECONDS=LEASE, RUNS_SWEEP_SECONDS=SWEEP)
    took: list[float] = []
    killed: dict[int, float] = {}
    dice = random.Random(5)
    for turn in range(TURNS):
        victims = _busy(fleet, broker, [f"victim{turn}-{number}" for number in range(AT_ONCE)], LEASE)
        for run, victim in victims:
            pause(dice.uniform(0.0, 0.3))
            killed[run.pk] = time.time()
            victim.kill()
        took += [_lost_at(run, victim) - killed[run.pk] for run, victim in victims]
    until(lambda: not Run.objects.exclude(state="done").exists(), "every run is done")
    figures.tell(
        f"worker killed, {LEASE} s lease, nobody on its machine",
        target=f"p95 {TARGET_SECONDS} s",
        measured=figures.spread(took),
        n=len(took),
    )
    assert figures.at(0.95, took) <= figures.room(TARGET_SECONDS + LATE_SECONDS), took
    # Each of these: others may be lost as well, by a heart that beats late on a slow machine.
    lost = Event.objects.filter(kind="worker lost", run__in=killed)
    assert lost.values("run").distinct().count() == len(took)


def test_a_killed_worker_is_made_good_at_once_by_a_neighbour(fleet: Fleet, broker: Broker) -> None:
    """Far earlier than by its lease, and counted as a lost worker all the same."""
    fleet.agents("rescuer", neighbours=True, RUNS_LEASE_SECONDS=LONG_LEASE, RUNS_SWEEP_SECONDS=SWEEP)
    took: list[float] = []
    dice = random.Random(6)
    for turn in range(SEEN_TURNS):
        names = [f"victim{turn}-{number}" for number in range(SEEN_AT_ONCE)]
        victims = _busy(fleet, broker, names, LONG_LEASE, neighbours=True)
        for run, victim in victims:
            pause(dice.uniform(0.0, SWEEP / SEEN_AT_ONCE))
            took.append(_seen_after(run, victim))
        until(lambda: not Run.objects.exclude(state="done").exists(), "every run is done")
    figures.tell(
        f"worker killed, {LONG_LEASE} s lease, another worker on its machine",
        target=f"a sweep of {SWEEP} s",
        measured=figures.spread(took),
        n=len(took),
    )
    assert figures.at(0.95, took) <= figures.room(SWEEP + SEEN_LATE_SECONDS), took


def _seen_after(run: Run, victim: Process) -> float:
    """Seconds from the death to somebody else's claim, which is counted as a lost worker all the same."""
    before, killed = fresh(run), time.time()
    victim.kill()
    lost = _lost_at(run, victim)
    assert before.lease_until is not None
    assert lost < before.lease_until.timestamp(), "it was the lease"
    until(lambda: fresh(run).state == "done", f"{run} is done")
    assert fresh(run).fence > before.fence
    assert Event.objects.filter(run=run, kind="worker lost").count() == 1
    return lost - killed


def test_a_killed_worker_of_the_console_is_back_with_its_runs_in_seconds(whole_console: Console) -> None:
    """The worker that is started in its place frees what it had. In the soak each dies within half a minute of its
    start, so that the supervisor waits 10 s before it starts the next one."""
    console, took = whole_console, []
    for number in range(counts.of(fast=1, soak=15)):
        run_id = console.start("load_long", 700_000 + number, ms=4000)
        until(lambda run_id=run_id: _state(console, run_id)[0] == "running", "it is performed")  # type: ignore[misc]
        killed = time.time()
        os.kill(console.children()["agents"], signal.SIGKILL)
        until(lambda run_id=run_id: _state(console, run_id)[1] > 1, "another worker has it")  # type: ignore[misc]
        lost = console.value(
            "SELECT extract(epoch FROM max(at)) FROM runs_event WHERE run_id = %s AND kind = 'worker lost'",
            run_id,
        )
        took.append(float(lost) - killed)
        until(lambda run_id=run_id: _state(console, run_id)[0] == "done", "it is done")  # type: ignore[misc]
    figures.tell(
        "worker killed under its supervisor (`make run`)",
        target="20 s",
        measured=figures.spread(took),
        n=len(took),
    )
    assert figures.at(0.95, took) <= figures.room(20.0), took
    until(console.ready, "the console is as it was")


def test_an_effect_that_may_be_on_its_way_has_the_time_of_the_lease_to_arrive(
    fleet: Fleet, broker: Broker, sink: SinkProcess
) -> None:
    """Whoever looks for it too early does not find it and sends it again."""
    fleet.env = sink.env
    run = start(workflows.SEND_FOUND.name)
    lease = 2 * LEASE_SECONDS
    failpoint = "after_effect_before_record:kill"
    patient: dict[str, Any] = {"RUNS_LEASE_SECONDS": lease, "RUNS_GATE_HOLD_MS": 10_000}
    sender = fleet.agents("sender", neighbours=True, failpoint=failpoint, RUNS_SWEEP_SECONDS=NEVER, **patient)
    broker.hint(run.pk)
    sender.wait_killed()
    before = fresh(run)
    fleet.agents("rescuer", neighbours=True, **patient)
    lost = _lost_at(run, sender)
    assert before.lease_until is not None
    assert lost >= before.lease_until.timestamp()
    until(lambda: fresh(run).state == "done", f"{run} is done")
    assert len(sink.keys()) == 1


def test_a_lost_connection_is_no_lost_worker(fleet: Fleet, broker: Broker) -> None:
    """The run is given back by the worker that lives, long before the lease ends, and nobody's step is blamed."""
    run = start(workflows.CHAIN.name)
    fleet.agents(
        "shaken", failpoint="mid_settle:reset:2", RUNS_LEASE_SECONDS=LONG_LEASE, RUNS_SWEEP_SECONDS=NEVER
    )
    begun = time.monotonic()
    broker.hint(run.pk)
    until(
        lambda: Event.objects.filter(run=run, kind="given back").exists(), "it is given back", LONG_LEASE - 5
    )
    figures.tell(
        f"connections lost in a settlement, {LONG_LEASE} s lease",
        target="before the lease ends, no loss counted",
        measured=f"given back after {time.monotonic() - begun:.1f} s",
        n=1,
    )
    broker.hint(run.pk)
    until(lambda: fresh(run).state == "done", f"{run} is done")
    assert not Event.objects.filter(run=run, kind="worker lost").exists()
    assert Step.objects.filter(run=run).count() == workflows.CHAIN_STEPS


def _busy(
    fleet: Fleet, broker: Broker, names: Sequence[str], lease: int, *, neighbours: bool = False
) -> list[tuple[Run, Process]]:
    """Runs in the middle of a long model call, each with the worker that performs it."""
    slow = {"SIMULATED_SECONDS": THINKING_SECONDS, "RUNS_LEASE_SECONDS": lease}
    victims = [fleet.alone(name, failpoint="", threads=1, neighbours=neighbours, **slow) for name in names]
    until(lambda: all(_is_up(one) for one in victims), "all of them are up")
    busy: dict[str, tuple[Run, Process]] = {}

    def each_has_its_own() -> bool:
        """On a busy machine a hint may lie for so long that somebody who polls takes the run: then another one."""
        for victim in victims:
            run = fresh(busy[victim.name][0]) if victim.name in busy else None
            if run is None or run.final or run.lease_owner not in ("", victim.worker):
                busy[victim.name] = start(workflows.CHAIN.name), victim
                broker.hint(busy[victim.name][0].pk, queue=victim.queue)
        return all(
            fresh(run).lease_owner == victim.worker and _calls(run) for run, victim in busy.values()
        )  # before its call has left, a busy machine may still make a worker give its run back

    until(each_has_its_own, "each performs its own")
    return list(busy.values())


def _calls(run: Run) -> bool:
    return Call.objects.filter(run=run, kind="model", state="permitted").exists()


def _is_up(process: Process) -> bool:
    return Worker.objects.filter(name=process.worker).exists()


def _lost_at(run: Run, victim: Process) -> float:
    """When somebody else took it, in seconds of the epoch."""
    lost = Event.objects.filter(run=run, kind="worker lost")
    assert wait_until(lost.exists, PATIENCE_SECONDS), retold(run.pk, [], victim.log, {}) + _standing()
    return lost[0].at.timestamp()


def _standing() -> str:
    """What else there is: every run by its state, every worker, and what is asked of the database."""
    with connection.cursor() as cursor:
        said = []
        for sql in (
            "SELECT state, hold, lease_owner, count(*), min(due_at) FROM runs_run GROUP BY 1, 2, 3 ORDER BY 1, 3",
            "SELECT name, seen_at, gone_at, in_flight FROM runs_worker WHERE gone_at IS NULL ORDER BY name",
            "SELECT pid, state, wait_event, left(query, 90) FROM pg_stat_activity WHERE state <> 'idle'",
        ):
            cursor.execute(sql)
            said += [str(row) for row in cursor.fetchall()]
    return "\n".join(("", *said))


def _state(console: Console, run_id: int) -> tuple[str, int]:
    state, fence = console.rows("SELECT state, fence FROM runs_run WHERE id = %s", run_id)[0]
    return state, fence
