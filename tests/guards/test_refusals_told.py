"""Every refusal is an event: also where nobody has set a limit and a definition's own bound, or the same failing call,
is what refuses.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db.models import F
from pytest_django import Settings

from runs.engine.runtime import Runtime
from runs.models import Run
from tests.guards.flows import WORLD
from tests.guards.test_online import told
from tests.runs.conftest import advanced, answered, start

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _quick(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.SIMULATED_SECONDS = 0.0
    settings.RUNS_BREAKERS = {**settings.RUNS_BREAKERS, "consecutive": 100, "least": 100}  # none opens here
    monkeypatch.setattr("runs.engine.settle.random.random", lambda: 0.0)
    monkeypatch.setattr("runs.engine.bounds._recent", None)
    yield
    WORLD.clear()


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime("refusals-worker", "agents")


@pytest.mark.parametrize(
    ("workflow", "guard", "scope", "cap", "value", "says"),
    [
        ("watched_stubborn", "again", "tool post.send", 2, 3, "post.send failed 2 times"),
        ("watched_one_retry", "retries", "workflow watched_one_retry", 1, 1, "of the 1 that its definition"),
        ("watched_too_wide", "fan_out_width", "workflow watched_too_wide", 3, 4, "at most 3 are allowed"),
        ("watched_too_deep", "fan_out_depth", "workflow watched_too_deep", 1, 2, "may stand 1 deep"),
    ],
)
def test_what_a_definition_refuses_is_told_with_guard_scope_and_figure(
    runtime: Runtime, workflow: str, guard: str, scope: str, cap: int, value: int, says: str
) -> None:
    WORLD.script = lambda number: ("post.send", {"to": "anna", "text": "refuse"})
    run = advanced(start(workflow), runtime, times=20)
    assert run.state == "waiting"
    (event,) = told(run, guard)
    assert {name: event[name] for name in ("mode", "scope", "limit", "cap", "value")} == {
        "mode": "enforce",
        "scope": scope,
        "limit": 0,
        "cap": cap,
        "value": value,
    }
    assert says in event["says"]


def test_a_deadline_of_the_definition_is_told_when_it_ends_the_run(runtime: Runtime) -> None:
    run = start("watched")
    Run.objects.filter(pk=run.pk).update(deadline_at=F("created_at"))
    run = advanced(run, runtime)
    assert (run.state, run.ending) == ("failed", "The run's deadline has passed.")
    (event,) = told(run)
    assert (event["guard"], event["limit"], event["scope"]) == ("wall_time", 0, "workflow watched")
    assert event["value"] >= event["cap"] > 0


def test_the_same_failing_call_is_told_again_when_it_is_refused_again_after_a_person(
    runtime: Runtime,
) -> None:
    WORLD.script = lambda number: ("post.send", {"to": "anna", "text": "refuse"})
    run = advanced(start("watched_stubborn"), runtime, times=20)
    answered(run, "approve")
    run = advanced(run, runtime, times=20)
    assert len(told(run, "again")) == 2
