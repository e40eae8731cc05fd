"""An agent that says a conversation in fewer words is asked as any other: it waits, fails and is refused by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from runs.agents import simulated
from runs.agents.door import ModelReply, ModelRequest
from runs.agents.simulated import says
from runs.engine import breakers
from runs.engine.worker.runtime import Runtime
from runs.limits.kinds import LimitKind
from runs.models import Breaker, Call
from tests.guards.flows import WORLD
from tests.guards.test_online import limit, look
from tests.runs.conftest import advanced, question_of, start

pytestmark = pytest.mark.django_db(transaction=True)
SECRETARY = "watched_secretary"


@pytest.fixture(autouse=True)
def _quick(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.SIMULATED_SECONDS = 0.0
    monkeypatch.setattr("runs.engine.settle.random.random", lambda: 0.0)
    limit(LimitKind.CONTEXT_TOKENS, 1500)
    WORLD.shelf = lambda name, number: {"text": f"{name} " * 300}

    WORLD.script = lambda number: look(f"book {number}")
    yield
    WORLD.clear()


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime("summaries-worker", "agents")


def states(name: str) -> list[str]:
    return list(Call.objects.filter(name=name).order_by("pk").values_list("state", flat=True))


def test_while_nobody_may_be_asked_for_a_summary_nothing_is_spent_and_nothing_counts(
    runtime: Runtime,
) -> None:
    breakers.force("model", f"simulated/{SECRETARY}", "open", by="Ines", why="its provider is down")
    run = start("watched_compacted")
    for _ in range(6):
        run = advanced(run, runtime, times=1)
        run.steps.filter(state="sleeping").update(due_at=run.created_at)
        type(run).objects.filter(pk=run.pk).update(due_at=run.created_at)
    assert run.state == "sleeping"
    assert states(f"compact by {SECRETARY}") == []
    assert not Breaker.objects.filter(kind="tool").exists()
    breakers.force("model", f"simulated/{SECRETARY}", "", by="Ines", why="it is back")
    WORLD.script = lambda number: None
    assert advanced(run, runtime).state == "done"
    assert set(states(f"compact by {SECRETARY}")) == {"done"}


def test_a_summary_that_breaks_its_contract_is_not_asked_for_a_third_time(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def useless(request: ModelRequest) -> ModelReply:
        asked.append(request.agent)
        return says(request, {"text": 5})

    monkeypatch.setitem(simulated._rules, SECRETARY, useless)
    run = advanced(start("watched_compacted_stubborn"), runtime, times=20)
    assert run.state == "waiting"
    question = question_of(run)
    assert (question.kind, question.action["where"]) == ("error", "again")
    assert len(asked) == 2


def test_a_summary_that_breaks_its_contract_once_is_asked_for_anew(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    replies = [{"text": 5}]

    def careless(request: ModelRequest) -> ModelReply:
        if replies:
            return says(request, replies.pop())
        WORLD.script = lambda number: None
        return says(request, {"text": "books were looked for"})

    monkeypatch.setitem(simulated._rules, SECRETARY, careless)
    run = advanced(start("watched_compacted_stubborn"), runtime, times=20)
    assert run.state == "done", question_of(run).title
    assert run.retries == 1


def test_a_function_that_cannot_say_it_now_is_recorded_with_what_it_raised(runtime: Runtime) -> None:
    WORLD.away = True
    run = advanced(start("watched_compacting"), runtime, times=1)
    failed = Call.objects.filter(run=run, state="failed").values_list("name", "error_class")
    assert set(failed) == {("compact by compact", "recoverable")}
