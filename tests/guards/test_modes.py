"""Limits that only warn or observe: people are told once a run and limit, and the run goes on as if there were none."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from runs.engine import limits, noted
from runs.engine.runtime import Runtime
from runs.limits.kinds import LimitKind
from runs.models import Step
from tests.guards.flows import PLANNED_DEEP, WORLD, Task, plan_plans
from tests.guards.test_online import HELLO, Sent, limit, look, told
from tests.runs.conftest import advanced, start

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _quick(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.SIMULATED_SECONDS = 0.0
    monkeypatch.setattr("runs.engine.settle.random.random", lambda: 0.0)
    monkeypatch.setattr("runs.engine.bounds._recent", None)
    monkeypatch.setattr("runs.engine.limits._book", None)
    yield
    WORLD.clear()


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
