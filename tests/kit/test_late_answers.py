"""An agent that answers late, through the real engine: cut where people limit a step's time, seen by its breaker."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import transaction

from runs import registry
from runs.agents.misbehaviour import Misbehaviour, misbehaving
from runs.definitions import Ask, ErrorPolicy
from runs.engine import starts
from runs.engine.advance import advance
from runs.engine.worker.runtime import Runtime
from runs.models import Breaker, Call, Event, Limit, Question, Run, Wait
from tests import patience
from tests.kit import flows

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_pauses(settings: Any) -> None:
    settings.SIMULATED_SECONDS = 0.0


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    one = Runtime("kit", "agents")
    yield one
    one.stop()


@contextlib.contextmanager
def registered(**more: Any) -> Iterator[Callable[[], Run]]:
    """The paying workflow, for workers: starts one run of it, which nobody has looked at."""
    workflow = registry.register(flows.paying(**more))

    def begun() -> Run:
        with transaction.atomic():
            return starts.start(
                "kit_paying", {"text": "a lamp", "amount": 10}, start_key=uuid.uuid4().hex, by="test"
            ).run

    try:
        yield begun
    finally:
        registry.forget(workflow)


def test_a_late_answer_is_cut_at_the_time_that_people_let_a_step_take(runtime: Runtime) -> None:
    row = Limit.objects.create(
        kind="step_latency",
        scope_kind="agent",
        scope="kit_proposer",
        value=2000,
        mode="enforce",
        valid_from="2026-01-01T00:00:00Z",
        set_by="Ada",
    )
    with registered(errors=ErrorPolicy(recoverable=Ask())) as begun:
        run = begun()
        with misbehaving({"kit_proposer": Misbehaviour.SLOW}, lapse=1000.0) as spoilt:  # hours
            patience.ends(lambda: advance(run.pk, runtime))
    question = Question.objects.get(run=run)
    call = Call.objects.get(run=run)
    assert spoilt.replies == 1  # it was asked, and not waited for
    assert (call.state, call.error_class) == ("failed", "recoverable")
    (said,) = Event.objects.filter(run=run, kind="guard").values_list("data", flat=True)
    assert (said["guard"], said["limit"], said["cap"]) == ("step_latency", row.pk, 2000)
    assert question.kind == "error"
    assert f"limit {row.pk}" in question.title


def test_late_answers_open_the_breaker_and_the_next_run_is_not_kept_waiting_by_the_model(
    runtime: Runtime, settings: Any
) -> None:
    settings.RUNS_BREAKERS = settings.RUNS_BREAKERS | {"slow_ms": 60, "least": 2, "slow_ratio": 100}
    with registered() as begun:
        with misbehaving({"kit_proposer": Misbehaviour.SLOW}, lapse=0.01):  # a tenth of a second or more
            for run in (begun(), begun()):
                advance(run.pk, runtime)
                assert run.steps.get(node="propose").state == "done"
        slowed = Breaker.objects.get(kind="model", name="simulated/kit_proposer-1")
        assert (slowed.state, slowed.why) == (
            "open",
            "2 of 2 calls took longer than 0.06 s within 60 s (limit 100 %)",
        )
        third = begun()
        advance(third.pk, runtime)
    assert Run.objects.get(pk=third.pk).state == "sleeping"
    assert Wait.objects.get(run=third).guard == "breaker"
    assert not Call.objects.filter(run=third).exists()
