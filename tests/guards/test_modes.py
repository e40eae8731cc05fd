"""Limits that only warn or observe: people are told once a run and limit, and the run goes on as if there were none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from runs import registry, tasks
from runs.engine import holds, limits, noted, overdue
from runs.engine.worker.runtime import Runtime
from runs.limits.kinds import LimitKind
from runs.models import Control, Run, Step
from tests import forgotten
from tests.guards.flows import PLANNED_DEEP, WORLD, Task, plan_plans
from tests.guards.test_online import HELLO, Sent, limit, look, told
from tests.runs.conftest import advanced, answered, start

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quick")]


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime("modes-worker", "agents")


def _reads_and_looks() -> None:
    WORLD.does(look("lamp"), look("desk"), HELLO)


def _fails_twice() -> None:
    """Each attempt asks for another address; the first two are refused."""

    def script(number: int) -> Sent | None:
        if WORLD.asked < 3:
            return "post.send", {"to": f"person{WORLD.asked}", "text": "refuse"}
        return HELLO if number == 0 else None

    WORLD.script = script


KINDS = [
    pytest.param(LimitKind.WALL_TIME, 1, "watched", _reads_and_looks, None, id="wall time"),
    pytest.param(LimitKind.STEP_LATENCY, 1, "watched", _reads_and_looks, None, id="step latency"),
    pytest.param(LimitKind.RETRIES, 0, "watched_stubborn", _fails_twice, 1, id="retries"),
    pytest.param(LimitKind.FAN_OUT_WIDTH, 3, "watched_planned_deep", lambda: None, 4, id="tasks a plan"),
    pytest.param(LimitKind.FAN_OUT_DEPTH, 1, "watched_planned_deep", lambda: None, 2, id="plans deep"),
]


@pytest.mark.parametrize("mode", ["warn", "observe"])
@pytest.mark.parametrize(("kind", "value", "workflow", "script", "figure"), KINDS)
def test_a_limit_that_only_tells_is_told_once_and_the_run_goes_on(
    runtime: Runtime,
    kind: LimitKind,
    value: int,
    workflow: str,
    script: Callable[[], None],
    figure: int | None,
    mode: str,
) -> None:
    row = limit(kind, value, mode=mode)
    script()
    run = advanced(start(workflow), runtime, times=60)
    assert run.state == "done"
    (event,) = told(run, kind.value)
    assert {name: event[name] for name in ("guard", "mode", "scope", "limit", "cap")} == {
        "guard": kind.value,
        "mode": mode,
        "scope": "the organisation",
        "limit": row.pk,
        "cap": value,
    }
    assert event["value"] == figure if figure is not None else event["value"] > value
    assert f"{mode}s" in event["says"]


@pytest.mark.parametrize(("kind", "value", "workflow", "script", "figure"), KINDS)
def test_a_limit_that_only_tells_is_silent_where_the_run_stays_under_it(
    runtime: Runtime,
    kind: LimitKind,
    value: int,
    workflow: str,
    script: Callable[[], None],
    figure: int | None,
) -> None:
    limit(kind, 3_600_000 if figure is None else 9, mode="warn")
    script()
    run = advanced(start(workflow), runtime, times=60)
    assert (run.state, told(run, kind.value)) == ("done", [])


def test_a_warning_beside_a_limit_that_enforces_is_told_before_that_one_stops_the_run(
    runtime: Runtime,
) -> None:
    warned, enforced = limit(LimitKind.RETRIES, 0, mode="warn"), limit(LimitKind.RETRIES, 1)
    _fails_twice()
    run = advanced(start("watched_stubborn"), runtime, times=20)
    assert run.state == "waiting"
    said = [(one["mode"], one["limit"]) for one in told(run, "retries")]
    assert said == [("warn", warned.pk), ("enforce", enforced.pk)]


def test_where_no_limit_only_tells_nothing_is_asked_of_the_database() -> None:
    limit(LimitKind.WALL_TIME, 1)
    run = start("watched_planned_deep")
    plan = plan_plans(Task())
    step = Step(run_id=run.pk, parent_id=1)  # how deep it stands would have to be asked
    limits.current()
    with CaptureQueriesContext(connection) as asked:
        assert noted.wall_time(run, PLANNED_DEEP, run.created_at) == []
        assert noted.retries(run, PLANNED_DEEP, run.created_at) == []
        assert noted.plan(run, PLANNED_DEEP, step, plan, run.created_at) == []
        assert noted.write(run, []) is False
    assert len(asked) == 0


# wall time, where nobody goes from step to step


def _passed(run: Run, seconds: int) -> None:
    """So much more of the run's time is gone."""
    Run.objects.filter(pk=run.pk).update(deadline_at=F("deadline_at") - timedelta(seconds=seconds))


def _modes(run: Run) -> list[tuple[str, int]]:
    return [(one["mode"], one["limit"]) for one in told(run, "wall_time")]


@pytest.mark.parametrize("mode", ["warn", "observe"])
def test_the_time_of_a_run_whose_last_step_fails_is_told(runtime: Runtime, mode: str) -> None:
    row = limit(LimitKind.WALL_TIME, 60_000, mode=mode)
    run = start("bounded_stopping")
    WORLD.script = lambda number: _passed(run, 120)  # while it is at its only step
    run = advanced(run, runtime)
    assert run.state == "failed"
    assert _modes(run) == [(mode, row.pk)]


@pytest.mark.parametrize("mode", ["warn", "observe"])
def test_the_time_of_a_run_is_told_while_a_person_is_asked_and_once(runtime: Runtime, mode: str) -> None:
    row = limit(LimitKind.WALL_TIME, 60_000, mode=mode)
    WORLD.does(("post.send", {"to": "anna@friends.example", "text": "costly"}))
    waiting, other = (advanced(start("watched"), runtime) for _ in range(2))
    assert (waiting.state, overdue.tell()) == ("waiting", 0)
    _passed(waiting, 61)
    assert (overdue.tell(), overdue.tell()) == (1, 0)
    assert (_modes(waiting), _modes(other)) == ([(mode, row.pk)], [])
    assert told(waiting, "wall_time")[0]["value"] >= 61_000
    answered(waiting, "approve")
    run = advanced(waiting, runtime)
    assert (run.state, _modes(run)) == ("done", [(mode, row.pk)])


def test_what_had_passed_before_this_process_looked_or_the_limit_was_set_is_told_too(
    runtime: Runtime,
) -> None:
    WORLD.does(("post.send", {"to": "anna@friends.example", "text": "costly"}))
    run = advanced(start("watched"), runtime)
    _passed(run, 600)
    assert overdue.tell() == 0
    row = limit(LimitKind.WALL_TIME, 60_000, mode="warn", scope="watched", scope_kind="workflow")
    limit(LimitKind.WALL_TIME, 60_000, mode="warn", scope="watched_given", scope_kind="workflow")
    _anew()
    assert overdue.tell() == 1
    assert _modes(run) == [("warn", row.pk)]


def test_a_sweep_that_has_no_time_for_all_of_them_is_gone_on_with_by_the_next(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overdue, "BATCH", 1)
    row = limit(LimitKind.WALL_TIME, 60_000, mode="warn")
    WORLD.does(*[("post.send", {"to": "anna@friends.example", "text": "costly"})] * 3)
    runs = [advanced(start("watched"), runtime) for _ in range(3)]
    for run in runs:
        _passed(run, 120)
    for _ in range(len(registry.versions()) + 4):  # each definition takes a sweep of its own too
        overdue.tell(seconds=0)
    assert [_modes(run) for run in runs] == [[("warn", row.pk)]] * 3


def test_a_held_runs_time_stands_still_and_is_not_told_of(runtime: Runtime) -> None:
    limit(LimitKind.WALL_TIME, 60_000, mode="warn")
    WORLD.does(("post.send", {"to": "anna@friends.example", "text": "costly"}))
    run = advanced(start("watched"), runtime)
    _passed(run, 120)
    with transaction.atomic():
        holds.engage("pause", "run", str(run.pk), by="Ines")
    while holds.mark(Control.objects.get().pk):
        pass
    assert (overdue.tell(), _modes(run)) == (0, [])


def test_a_limit_on_time_that_enforces_is_not_told_of_by_the_sweep(runtime: Runtime) -> None:
    limit(LimitKind.WALL_TIME, 60_000)
    WORLD.does(("post.send", {"to": "anna@friends.example", "text": "costly"}))
    run = advanced(start("watched"), runtime)
    _passed(run, 120)
    assert (overdue.tell(), _modes(run)) == (0, [])


def test_every_sweep_looks_for_runs_whose_time_is_to_be_told() -> None:
    assert overdue.tell in tasks.sweep_parts()


def _anew() -> None:
    """Another process, which has told of nothing yet."""
    forgotten.everything()
