"""Twelve tasks of one run side by side, while workers, connections and Valkey are lost under them.

Every task is recorded once, every effect happens once for its key, and the run ends right. What must be true of the
whole record is checked at the end of each test (tests/faults/history.py).
"""

from __future__ import annotations

import os
import random
import signal
import time

import pytest
from django.db import connection

from runs.engine import holds
from runs.models import Attempt, Event, Hold, Question, Run, Step
from tests.faults import workflows
from tests.faults.acts import answer, engage, fresh, release, resume, start
from tests.faults.broker import Broker
from tests.faults.fleet import LEASE_SECONDS, LONG_LEASE, NEVER, Fleet, Process, SinkProcess, pause, until

TASKS = ("send", "think") * 6
SENDS = TASKS.count("send")
THINKING_SECONDS = 0.15
LONG_THINKING_SECONDS = 1.0  # where the test has to act before the tasks are done


def test_workers_killed_among_twelve_tasks_lose_none_and_repeat_none(
    fleet: Fleet, broker: Broker, sink: SinkProcess
) -> None:
    fleet.env = sink.env
    run = start(workflows.CREW.name, tasks=TASKS)
    dice = random.Random(4)
    for number in range(3):
        worker = _worker(fleet, f"doomed{number}")
        broker.hint(run.pk)
        _begun(run, settled=2 * number)
        pause(dice.uniform(0.0, 0.3))
        worker.kill()
    _worker(fleet, "rescuer")
    _ended_right(run, sink)


@pytest.mark.parametrize("failpoint", ["after_effect_before_record:3", "mid_settle:4", "after_permit:9"])
def test_a_worker_killed_in_one_task_takes_the_others_with_it_and_nothing_is_done_twice(
    failpoint: str, fleet: Fleet, broker: Broker, sink: SinkProcess
) -> None:
    fleet.env = sink.env
    run = start(workflows.CREW.name, tasks=TASKS)
    name, _, passage = failpoint.partition(":")
    doomed = fleet.agents(
        "doomed", failpoint=f"{name}:kill:{passage}", RUNS_SWEEP_SECONDS=NEVER, SIMULATED_SECONDS=0.0
    )
    broker.hint(run.pk)
    doomed.wait_killed()
    _worker(fleet, "rescuer")
    _ended_right(run, sink)


def test_a_worker_that_stands_still_past_its_lease_and_wakes_up_changes_nothing(
    fleet: Fleet, broker: Broker, sink: SinkProcess
) -> None:
    fleet.env = sink.env
    run = start(workflows.CREW_REPEATABLE.name, tasks=TASKS)
    sleeper = _worker(fleet, "sleeper", thinking=LONG_THINKING_SECONDS)
    broker.hint(run.pk)
    _begun(run, settled=1)
    os.kill(sleeper.pid, signal.SIGSTOP)
    sleeper.wait_frozen()
    assert not fresh(run).final, "there was nothing to lose any more"
    _worker(fleet, "rescuer")
    until(lambda: fresh(run).fence > 1, "another worker has taken the run")
    sleeper.thaw()
    until(lambda: fresh(run).final, "the run is final")
    assert fresh(run).state == "done", fresh(run).ending
    _recorded_once(run)
    assert len(set(sink.keys())) == SENDS  # sent again at most with the same key


def test_a_worker_that_loses_its_connections_goes_on(fleet: Fleet, broker: Broker, sink: SinkProcess) -> None:
    fleet.env = sink.env
    run = start(workflows.CREW.name, tasks=TASKS)
    for name in ("left", "right"):
        _worker(fleet, name)
    broker.hint(run.pk)
    dice = random.Random(9)
    for number in range(4):
        until(lambda number=number: _settled(run) >= number or fresh(run).final, "it goes on")  # type: ignore[misc]
        pause(dice.uniform(0.0, 0.2))
        _hang_up_on_everybody()
    _ended_right(run, sink)
    assert [process.name for process in fleet.processes if process.ended()] == []


def _hang_up_on_everybody() -> None:
    # Not on the idle connections of this process: its pool would hand out dead ones to the tests that follow.
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]  # of the PostgreSQL backend
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_tasks_go_on_while_valkey_is_gone(fleet: Fleet, broker: Broker, sink: SinkProcess) -> None:
    fleet.env = sink.env
    run = start(workflows.CREW.name, tasks=TASKS)
    for name in ("left", "right"):
        _worker(fleet, name, lease=LONG_LEASE)
    broker.hint(run.pk)
    _begun(run, settled=1)
    broker.kill()
    _ended_right(run, sink)
    assert fresh(run).fence == 1, "nobody lost it"


def test_doubled_hints_to_two_workers_make_no_task_twice(
    fleet: Fleet, broker: Broker, sink: SinkProcess
) -> None:
    fleet.env = sink.env
    runs = [start(workflows.CREW.name, tasks=TASKS) for _ in range(4)]
    for name in ("left", "right"):
        _worker(fleet, name, lease=LONG_LEASE)

    def done() -> bool:
        broker.hint(*(run.pk for run in runs), times=2)
        return not Run.objects.exclude(state="done").exists()

    until(done, "every run is done")
    for run in runs:
        _recorded_once(run)
    assert len(sink.keys()) == len(set(sink.keys())) == SENDS * len(runs)
    assert Attempt.objects.count() == Step.objects.count()


def test_no_effect_begins_after_a_stop_amid_the_tasks_and_all_of_them_go_on_when_resumed(
    fleet: Fleet, broker: Broker, sink: SinkProcess
) -> None:
    fleet.env = {**sink.env, "FAULT_SEND_MS": "20"}
    runs = [start(workflows.CREW.name, tasks=TASKS) for _ in range(3)]
    for name in ("left", "right"):
        _worker(fleet, name, lease=LONG_LEASE)
    broker.hint(*(run.pk for run in runs))
    for number in (2, 6, 10):
        until(lambda number=number: sink.count() >= number, f"{number} effects")  # type: ignore[misc]
        control = engage("stop", "everything")
        acknowledged = time.time_ns()
        until(lambda: holds.confirmation(control).state == "stopped", "both workers have confirmed")  # noqa: B023
        _nothing_flies()
        before = sink.count()
        pause(0.3)
        assert sink.count() == before
        late = [one for one in sink.arrivals() if one["arrived_ns"] > acknowledged]
        assert late == []
        release(control)
        _resume_all(broker)
    for run in runs:
        until(lambda run=run: fresh(run).final, f"{run} is final")  # type: ignore[misc]
        assert fresh(run).state == "done", fresh(run).ending
        _recorded_once(run)
    assert len(sink.keys()) == len(set(sink.keys())) == SENDS * len(runs)


def _nothing_flies() -> None:
    """Law L3: a worker that has confirmed has nothing in flight, and every run is let go."""
    held = Run.objects.exclude(state__in=("done", "failed", "ended"))
    until(lambda: not held.filter(state="running").exists(), "every run is let go")
    performed = [one for one in Step.objects.filter(state="running").select_related("run") if one.fence]
    assert performed == []


def _resume_all(broker: Broker) -> None:
    ids = list(Run.objects.filter(hold=Hold.STOP).order_by("pk").values_list("pk", flat=True))
    resume(*ids)
    broker.hint(*ids)


def test_a_paused_run_goes_on_by_itself_with_every_task_it_had_begun(
    fleet: Fleet, broker: Broker, sink: SinkProcess
) -> None:
    fleet.env = sink.env
    run = start(workflows.CREW.name, tasks=TASKS)
    for name in ("left", "right"):
        _worker(fleet, name, lease=LONG_LEASE, thinking=LONG_THINKING_SECONDS)
    broker.hint(run.pk)
    _begun(run, settled=1)
    control = engage("pause", "run", str(run.pk))
    until(lambda: holds.confirmation(control).state == "paused", "both workers have confirmed")
    until(lambda: fresh(run).state != "running", "the run is let go")
    settled = _settled(run)
    assert settled < len(TASKS), "there was nothing to pause any more"
    pause(0.5)
    assert _settled(run) == settled
    release(control)
    while holds.lift_released():
        continue
    _ended_right(run, sink)


def test_a_poison_task_is_quarantined_alone_after_three_losses_and_the_others_finish(
    fleet: Fleet, broker: Broker, sink: SinkProcess
) -> None:
    fleet.env = sink.env
    run = start(workflows.CREW.name, tasks=("think", "send", "poison", "think", "send", "think", "send"))
    workers: list[Process] = []

    def quarantined() -> bool:
        if not workers or workers[-1].ended():
            workers.append(_worker(fleet, f"worker{len(workers)}"))
            broker.hint(run.pk)
        return Question.objects.filter(run=run, state="open").exists() and _settled(run) == 6

    until(quarantined, "one question, and the others are done")
    question = Question.objects.get(run=run)
    assert question.step is not None
    assert (question.step.node, question.kind) == ("poison", "error")
    assert "lost its worker 3 times" in question.title
    assert [worker.ended() for worker in workers] == [True] * 3 + [False]
    answer(run, "reject", text="leave it out")
    broker.hint(run.pk)
    until(lambda: fresh(run).final, "the run is final")
    assert fresh(run).state == "failed"  # all were needed
    assert len(sink.keys()) == len(set(sink.keys())) == 3


def _worker(
    fleet: Fleet, name: str, lease: int = LEASE_SECONDS, thinking: float = THINKING_SECONDS
) -> Process:
    return fleet.agents(name, threads=4, SIMULATED_SECONDS=thinking, RUNS_LEASE_SECONDS=lease)


def _tasks(run: Run) -> list[tuple[int, str]]:
    tasks = Step.objects.filter(run=run, parent__isnull=False).order_by("place")
    return list(tasks.values_list("place", "state"))


def _settled(run: Run) -> int:
    return sum(1 for _, state in _tasks(run) if state in ("done", "failed", "ended"))


def _begun(run: Run, *, settled: int) -> None:
    """Until so many tasks are settled and others are under way."""
    until(
        lambda: (bool(_tasks(run)) and _settled(run) >= settled) or fresh(run).final,
        f"{settled} tasks are settled",
    )


def _ended_right(run: Run, sink: SinkProcess) -> None:
    until(lambda: fresh(run).final, f"{run} is final")
    assert fresh(run).state == "done", fresh(run).ending
    _recorded_once(run)
    assert len(sink.keys()) == len(set(sink.keys())) == SENDS


def _recorded_once(run: Run) -> None:
    assert _tasks(run) == [(place, "done") for place in range(len(TASKS))]
    for step in Step.objects.filter(run=run):
        assert Event.objects.filter(step=step, kind="step done").count() == 1
        assert Attempt.objects.filter(step=step, state="done").count() == 1
