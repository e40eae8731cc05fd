"""Whole runs against a real server: what is on record, what goes to a person, what a stop cuts."""

from __future__ import annotations

import statistics
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction
from pytest_django import Settings

from runs import bodies
from runs.agents import door
from runs.engine import starts
from runs.engine.advance import advance
from runs.engine.outcomes import CutInFlight
from runs.engine.spend import budgets
from runs.engine.worker.runtime import Runtime
from runs.models import Account, Attempt, Body, Breaker, Call, Event, Limit, Question, Run, Wait
from tests import patience
from tests.agents import flows  # noqa: F401  (registers the workflows)
from tests.agents.conftest import KEY, request
from tests.agents.model_server import ModelServer, answer, silence
from tests.agents.replies import MODEL, OUTPUT, claude, completion, error, output
from tests.runs.conftest import advanced
from tests.spend.outages import passes

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _prices(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MODEL_PRICES = {"local/": (1_000_000, 2_000_000, 500_000), "claude/": (3_000_000, 4_000_000, 0)}
    monkeypatch.setattr("random.random", lambda: 0.0)  # back-off: at once


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    runtime = Runtime(f"agents-{uuid.uuid4().hex[:8]}", "agents")
    yield runtime
    runtime._end_loop()


def ran(runtime: Runtime, workflow: str = "counting") -> Run:
    """A run, advanced until it waits or is final."""
    with transaction.atomic():
        run = starts.start(workflow, {"text": "one two three"}, start_key=uuid.uuid4().hex, by="test").run
    for _ in range(10):
        if advance(run.pk, runtime).why != "later":
            break
    return Run.objects.get(pk=run.pk)


@pytest.mark.parametrize(
    ("workflow", "tool", "last", "cost"),
    [
        (
            "counting",
            answer(body=completion("I look.", [("words_count", {"text": "one two three"})])),
            answer(body=output({"words": 3})),
            2 * (120 + 60),
        ),
        (
            "counting_claude",
            answer(body=claude("I look.", [("words_count", {"text": "one two three"})])),
            answer(body=claude(calls=[(OUTPUT, {"words": 3})])),
            2 * (360 + 120),
        ),
    ],
)
def test_a_run_with_a_tool_call_leaves_everything_on_record(
    server: ModelServer, runtime: Runtime, workflow: str, tool: Any, last: Any, cost: int
) -> None:
    server.says(tool, last)
    run = ran(runtime, workflow)
    assert run.state == "done"
    assert run.output is not None
    assert bodies.load(run.output) == {"words": 3}
    calls = list(Call.objects.filter(run=run).order_by("pk"))
    assert [(call.kind, call.state) for call in calls] == [
        ("model", "done"),
        ("tool", "done"),
        ("model", "done"),
    ]
    first = calls[0]
    assert (first.model_returned, first.tokens_in, first.tokens_out) == (MODEL, 120, 30)
    assert not first.simulated
    assert (run.tokens_in, run.tokens_out, run.cost_micros) == (240, 60, cost)
    assert len(server.seen) == 2
    assert '"words":3' in str(server.seen[1].body).replace(" ", "").replace("\\", "").replace("'", '"')


def test_an_output_that_breaks_its_contract_is_repaired_once_and_then_goes_to_a_person(
    server: ModelServer, runtime: Runtime
) -> None:
    server.says(answer(body=output({"words": "many"})))
    run = ran(runtime)
    assert run.state == "waiting"
    question = Question.objects.get(run=run, state="open")
    assert "words" in str(question.__dict__)
    assert len(server.seen) == 2
    assert "not accepted" in str(server.seen[1].body["messages"])
    assert Attempt.objects.filter(step__run=run).count() == 2
    assert run.tokens_in == 240


def test_a_repaired_output_lets_the_run_go_on(server: ModelServer, runtime: Runtime) -> None:
    server.says(answer(body=completion("There are three.")), answer(body=output({"words": 3})))
    assert ran(runtime).state == "done"


def test_an_overloaded_provider_is_asked_again_by_the_engine_alone(
    server: ModelServer, runtime: Runtime
) -> None:
    server.says(
        answer(503, error("Overloaded.")), answer(429, error("Slow.")), answer(body=output({"words": 3}))
    )
    run = ran(runtime)
    assert run.state == "done"
    states = list(Call.objects.filter(run=run).order_by("pk").values_list("state", "error_class"))
    assert states == [("failed", "recoverable"), ("failed", "recoverable"), ("done", "")]
    assert len(server.seen) == 3


def test_another_model_takes_over_where_the_policy_names_one(server: ModelServer, runtime: Runtime) -> None:
    server.says(answer(503, error("Overloaded.")), answer(body=claude(calls=[(OUTPUT, {"words": 3})])))
    run = ran(runtime, "hurried")
    assert run.state == "done"
    assert [seen.path.partition("?")[0] for seen in server.seen] == ["/v1/chat/completions", "/v1/messages"]


def test_a_wrong_key_goes_to_a_person_after_one_request(server: ModelServer, runtime: Runtime) -> None:
    server.says(answer(401, error(f"Incorrect API key provided: {KEY}.")))
    run = ran(runtime)
    assert run.state == "waiting"
    assert len(server.seen) == 1
    assert "MODEL_KEY_LOCAL" in Call.objects.get(run=run).error


def test_what_a_useless_reply_used_is_booked(server: ModelServer, runtime: Runtime) -> None:
    server.says(answer(body=completion(refusal="I will not do that.")))
    run = ran(runtime)
    assert (run.tokens_in, run.tokens_out, run.cost_micros) == (120, 30, 180)


def test_estimated_usage_is_on_record_as_estimated(server: ModelServer, runtime: Runtime) -> None:
    server.says(answer(body=output({"words": 3}, usage=None)))
    run = ran(runtime)
    reply = Call.objects.select_related("response").get(run=run).response
    assert reply is not None
    assert bodies.load(reply)["usage"]["estimated"] is True
    assert run.cost_micros > 0


@pytest.mark.parametrize("usage", [None, (0, 0)])
def test_what_a_provider_did_not_count_stays_reserved_until_somebody_says_what_it_was(
    server: ModelServer, runtime: Runtime, usage: tuple[int, int] | None
) -> None:
    _limited("cost", 10**9)
    server.says(answer(body=output({"words": 3}, usage=usage)))
    run = ran(runtime)
    call, account = Call.objects.get(run=run), Account.objects.get()
    assert (run.state, run.cost_micros, call.cost_micros) == ("done", 0, None)
    assert call.reserved == [[account.pk, call.reserved[0][1]]]
    assert call.reserved[0][1] > 0
    assert budgets.give_back() == 1
    account.refresh_from_db()
    assert (account.spent, account.reserved) == (0, call.reserved[0][1])
    assert budgets.reconcile(call.pk, run.pk, used={"cost": 77})
    account.refresh_from_db()
    assert (account.spent, account.reserved, Run.objects.get(pk=run.pk).cost_micros) == (77, 0, 77)


def _limited(kind: str, value: int) -> None:
    Limit.objects.create(
        kind=kind,
        window="day",
        scope_kind="organisation",
        value=value,
        mode="enforce",
        valid_from="2026-01-01T00:00:00Z",
        set_by="Ada",
    )


def test_nobody_asks_a_model_sooner_than_its_provider_said_however_late_that_is(
    server: ModelServer, runtime: Runtime
) -> None:
    server.says(answer(429, error("slower"), headers={"Retry-After": "5400"}))
    run = ran(runtime)
    (breaker,) = Breaker.objects.filter(kind="model")
    assert breaker.retry_at is not None
    assert 5300 < (breaker.retry_at - Attempt.objects.get(step__run=run).started_at).total_seconds() < 5500


def test_a_model_without_a_price_is_not_asked(
    server: ModelServer, runtime: Runtime, settings: Settings
) -> None:
    settings.MODEL_PRICES = {}
    run = ran(runtime)
    assert run.state == "waiting"
    assert server.seen == []


def test_no_key_is_anywhere_in_the_database(server: ModelServer, runtime: Runtime) -> None:
    server.says(
        answer(500, error(f"Bearer {KEY}")),
        answer(body=completion(f"The key is {KEY}.", [("words_count", {"text": KEY})])),
        answer(body=output({"words": 3})),
    )
    run = ran(runtime)
    assert run.state == "done"
    for model in (Body, Call, Event, Attempt, Question, Run):
        for row in model.objects.values():
            assert KEY not in str(row)


def test_a_cut_reaches_the_server_at_once(
    server: ModelServer, runtime: Runtime, record_property: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twenty calls, cut in flight: the time from the cut to the closed connection, as the server sees it."""
    server.says(silence)
    took = [_cut_once(server, runtime, place) for place in range(20)]
    p50 = statistics.median(took) * 1000
    record_property("cut_to_closed_p50_ms", round(p50, 1))
    with capsys.disabled():
        print(f"\ncut to closed connection: p50 {p50:.1f} ms, max {max(took) * 1000:.1f} ms")
    assert len(server.seen) == 20


def _cut_once(server: ModelServer, runtime: Runtime, place: int) -> float:
    server.asked.clear()
    ended: list[BaseException] = []
    with runtime.fly(place + 1, "counting", 1) as flight:

        def wait() -> None:
            try:
                flight.wait(lambda: door.ask(request("local/tiny")), 600.0)
            except CutInFlight as cut:
                ended.append(cut)

        thread = threading.Thread(target=wait)
        thread.start()
        assert server.asked.wait(patience.SECONDS)
        began = time.monotonic()
        flight.cut("stop of everything by test")
        patience.joined(thread)
    assert len(ended) == 1
    assert server.seen[-1].gone.wait(patience.SECONDS)
    return server.seen[-1].gone_at - began


def test_retry_after_is_obeyed_by_its_run_and_by_every_other_that_asks_this_model(
    server: ModelServer, runtime: Runtime
) -> None:
    """Nobody asks again before the time that the provider named; the client library does not either."""
    busy = answer(429, error("come again later"), {"Retry-After": "600"})
    server.says(busy, answer(body=output({"words": 3})))
    runs = [ran(runtime), ran(runtime)]
    (refused,) = Call.objects.all()
    for seconds in (0, 500):
        passes(seconds)
        for run in runs:
            assert advanced(run, runtime, times=1).state == "sleeping"
        assert len(server.seen) == 1
    assert refused.error.startswith("local answered 429")
    assert [run.retries for run in Run.objects.order_by("pk")] == [1, 0]  # the other has not even tried
    (wait,) = Wait.objects.filter(run=runs[1])
    assert (wait.guard, "asks to wait 600 s" in wait.says) == ("breaker", True)
    passes(110)
    assert [advanced(run, runtime).state for run in runs] == ["done", "done"]
    assert len(server.seen) == 3
