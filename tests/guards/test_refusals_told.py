"""Every refusal is an event: also where nobody has set a limit and a definition's own bound, or the same failing call,
is what refuses.
"""

from __future__ import annotations

import pytest
from django.db.models import F
from pytest_django import Settings

from runs.engine.worker.runtime import Runtime
from runs.limits.kinds import LimitKind
from runs.models import Run
from tests.guards.flows import WORLD
from tests.guards.test_online import limit, told
from tests.runs.conftest import advanced, answered, question_of, start

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quick")]


@pytest.fixture(autouse=True)
def _no_breaker_opens(settings: Settings) -> None:
    settings.RUNS_BREAKERS = {**settings.RUNS_BREAKERS, "consecutive": 100, "least": 100}


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
        ("bounded_briefly", "step_latency", "node compute", 200, None, "its definition allows 0.2 s"),
        ("bounded_round", "edge", "workflow bounded_round", 2, 2, "used up: to again (2 times)"),
    ],
)
def test_what_a_definition_refuses_is_told_with_guard_scope_and_figure(
    runtime: Runtime, workflow: str, guard: str, scope: str, cap: int, value: int | None, says: str
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
        "value": event["value"] if value is None else value,
    }
    assert event["value"] >= cap
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


def test_a_function_of_its_own_that_people_give_less_time_is_ended_and_told_with_their_limit(
    runtime: Runtime,
) -> None:
    row = limit(LimitKind.STEP_LATENCY, 200)
    run = advanced(start("bounded_apart"), runtime)
    (event,) = told(run)
    said = {name: event[name] for name in ("guard", "mode", "scope", "limit", "cap")}
    assert said == {
        "guard": "step_latency",
        "mode": "enforce",
        "scope": "node compute",
        "limit": row.pk,
        "cap": 200,
    }
    assert event["value"] >= 200
    assert f"limit {row.pk}" in question_of(run).title


def test_a_function_of_its_own_that_is_quick_enough_is_not_told_of(runtime: Runtime) -> None:
    limit(LimitKind.STEP_LATENCY, 60_000)
    run = advanced(start("child", text="quick"), runtime)
    assert (run.state, told(run)) == ("done", [])


@pytest.mark.parametrize(
    ("bound", "guard", "cap", "value", "calls", "says"),
    [
        ("MOST_DELEGATED", "turns", 2, 3, 5, "those that bounded_asker asks used 2 turns"),
        ("DEEPEST_DELEGATION", "delegation", 1, 2, 1, "bounded_asker delegates deeper than 1 agents"),
    ],
)
def test_agents_that_ask_each_other_on_and_on_are_refused_and_told_of(
    runtime: Runtime,
    monkeypatch: pytest.MonkeyPatch,
    bound: str,
    guard: str,
    cap: int,
    value: int,
    calls: int,
    says: str,
) -> None:
    monkeypatch.setattr(f"runs.engine.agent_turns.{bound}", cap)
    run = advanced(start("bounded_asking"), runtime)
    assert (run.state, run.calls.count()) == ("waiting", calls)
    (event,) = told(run)
    assert {name: event[name] for name in ("guard", "mode", "scope", "limit", "cap", "value")} == {
        "guard": guard,
        "mode": "enforce",
        "scope": "agent bounded_asker",
        "limit": 0,
        "cap": cap,
        "value": value,
    }
    assert says in event["says"]


@pytest.mark.parametrize(
    ("workflow", "scope"),
    [("bounded_mumbling", "node say"), ("bounded_stammering", "agent bounded_stammerer")],
)
def test_an_output_that_breaks_its_contract_is_told_with_whose_it_was(
    runtime: Runtime, workflow: str, scope: str
) -> None:
    run = advanced(start(workflow), runtime, times=20)
    assert run.state == "waiting"
    first, *_ = told(run, "schema")
    assert (first["mode"], first["scope"]) == ("enforce", scope)
    assert "mumbled" in first["says"]


def test_a_model_without_a_price_is_refused_and_told_of(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runs.agents.prices.PRICES", {})
    run = advanced(start("bounded_mumbling"), runtime)
    first, *_ = told(run, "price")
    assert first["scope"] == "model simulated/bounded_stammerer"
    assert "state it in MODEL_PRICES" in first["says"]
    assert run.calls.count() == 0


def test_a_cap_that_is_used_up_is_told_like_any_refusal_beside_its_card(runtime: Runtime) -> None:
    row = limit(LimitKind.TURNS, 1, window="run")
    WORLD.does(("shelf.look", {"name": "lamp"}))
    run = advanced(start("watched"), runtime)
    assert question_of(run).kind == "limit"
    (event,) = told(run)
    assert {name: event[name] for name in ("guard", "mode", "scope", "limit", "cap", "value")} == {
        "guard": "turns",
        "mode": "enforce",
        "scope": "this run",
        "limit": row.pk,
        "cap": 1,
        "value": 1,
    }


def test_a_persons_plan_that_is_too_wide_is_told_like_an_agents(runtime: Runtime) -> None:
    run = advanced(start("watched_too_wide"), runtime)
    question = question_of(run)
    answered(run, "approve", answer=question.action)
    run = advanced(run, runtime)
    assert question_of(run).pk != question.pk
    assert [(one["guard"], one["cap"], one["value"]) for one in told(run)] == [("fan_out_width", 3, 4)] * 2
