"""Old and new workers together on one database: nothing lost or twice, and people are asked only when they must."""

from __future__ import annotations

import os
import signal

from runs.models import Attempt, Call, Event, Question, Run, Worker
from tests.deploys.flows import installed
from tests.deploys.workflows import CHANGED, ONE, TWO
from tests.faults import counts
from tests.faults.acts import start
from tests.faults.fleet import Fleet, Process, SinkProcess, until

RUNS = counts.of(fast=12, soak=300, name="deploys")
GRACE_SECONDS = 2
LONG_GRACE_SECONDS = 30  # where a heart that beats late, or a late start, is no departure
DONE_SECONDS = 60.0 + RUNS / 3  # by polling alone, and effects one after the other, on a busy machine


def _started(workflow: object, number: int) -> list[Run]:
    with installed(workflow):  # type: ignore[arg-type]
        return [start("deploy_send") for _ in range(number)]


def _worker(fleet: Fleet, name: str, has: str, grace: int = LONG_GRACE_SECONDS) -> Process:
    fleet.env["DEPLOYED"] = has
    return fleet.agents(name, RUNS_VERSION_GRACE_SECONDS=grace)


def _done(number: int) -> bool:
    return Run.objects.filter(state="done").count() == number


def _performed_by(version: int) -> set[str]:
    """Who has performed steps of runs of that version, without their numbers."""
    names = Attempt.objects.filter(step__run__workflow="deploy_send", step__run__version=version)
    return {name.rpartition("-")[0] for name in names.values_list("worker", flat=True).distinct()}


def test_each_worker_performs_the_runs_whose_version_it_has(fleet: Fleet, sink: SinkProcess) -> None:
    fleet.env |= sink.env
    _worker(fleet, "old", "1")
    _worker(fleet, "new", "2")
    _started(ONE, RUNS // 2)
    _started(TWO, RUNS // 2)
    until(lambda: _done(RUNS), "every run is done", DONE_SECONDS)
    assert _performed_by(1) == {"agents-old"}
    assert _performed_by(2) == {"agents-new"}
    assert sorted(sink.keys()) == sorted(Call.objects.filter(kind="tool").values_list("key", flat=True))
    assert sink.count() == RUNS
    assert not Question.objects.exists()
    assert not Event.objects.filter(kind="worker lost").exists()


def test_the_same_version_with_other_content_is_another_one(fleet: Fleet, sink: SinkProcess) -> None:
    fleet.env |= sink.env
    _worker(fleet, "old", "1")
    _worker(fleet, "new", "1 changed")
    old, new = _started(ONE, RUNS // 2), _started(CHANGED, RUNS // 2)
    until(lambda: _done(RUNS), "every run is done", DONE_SECONDS)
    for runs, worker in ((old, "agents-old-"), (new, "agents-new-")):
        names = Attempt.objects.filter(step__run__in=[run.pk for run in runs]).values_list(
            "worker", flat=True
        )
        assert all(name.startswith(worker) for name in names)
    assert sink.count() == RUNS


def test_a_killed_worker_of_the_old_version_is_replaced_by_another_of_it(
    fleet: Fleet, sink: SinkProcess
) -> None:
    fleet.env |= sink.env
    doomed = _worker(fleet, "doomed", "1")
    _worker(fleet, "new", "2")
    _started(ONE, RUNS)
    until(lambda: sink.count() >= RUNS // 4, "some effects have arrived")
    doomed.kill()
    fleet.env["DEPLOYED"] = "1"
    fleet.agents("old", RUNS_VERSION_GRACE_SECONDS=600)
    Run.objects.filter(state="running").update(lease_until="2000-01-01T00:00Z", due_at="2000-01-01T00:00Z")
    until(lambda: _done(RUNS), "every run is done", DONE_SECONDS)
    assert _performed_by(1) <= {"agents-doomed", "agents-old"}
    assert sink.count() == RUNS == len(set(sink.keys()))


def test_a_person_is_asked_when_the_last_one_has_gone_and_not_when_it_is_back(
    fleet: Fleet, sink: SinkProcess
) -> None:
    fleet.env |= sink.env
    _worker(fleet, "new", "2", GRACE_SECONDS)
    old = _worker(fleet, "old", "1", GRACE_SECONDS)
    until(lambda: Worker.objects.filter(name__startswith="agents-").count() == 2, "both are there")
    os.kill(old.pid, signal.SIGTERM)
    until(old.ended, "the old worker has left")
    (run,) = _started(ONE, 1)
    until(lambda: Question.objects.filter(run=run, kind="missing").exists(), "a person is asked")
    left = Worker.objects.get(name__startswith="agents-old")
    asked = Question.objects.get(run=run)
    assert (asked.asked_at - left.seen_at).total_seconds() >= GRACE_SECONDS
    _worker(fleet, "again", "1,2")
    until(lambda: _done(1), "the run is done by the version that is back")
    assert Question.objects.get(run=run).state == "withdrawn"


def test_a_deploy_of_both_versions_finishes_what_the_old_one_began(fleet: Fleet, sink: SinkProcess) -> None:
    fleet.env |= sink.env
    _started(ONE, RUNS)
    old = _worker(fleet, "old", "1")
    until(lambda: sink.count() >= 1, "it is under way")
    os.kill(old.pid, signal.SIGTERM)
    until(old.ended, "the old worker has left")
    _worker(fleet, "both", "1,2")
    until(lambda: _done(RUNS), "every run is done", DONE_SECONDS)
    assert _performed_by(1) <= {"agents-old", "agents-both"}
    assert sink.count() == RUNS
