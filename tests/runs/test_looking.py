"""An effect that nobody recorded the end of: its tool looks, first by itself, then as often as a person says so."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from pytest_django import Settings

from runs import bodies
from runs.definitions import Tool
from runs.engine import holds
from runs.engine.spend import permits
from runs.engine.worker.runtime import Runtime
from runs.models import Call, Control, Question, Run
from runs.models.question import verbs_of
from tests import patience
from tests.runs import flows
from tests.runs.conftest import advanced, answered, question_of, start

pytestmark = pytest.mark.django_db(transaction=True)
WORKFLOW = "paying_looks"


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can look into the cashbox, as long as `see` is not called."""
    monkeypatch.setattr(flows.CASHBOX, "blind", "the bank answers 503")


def doubtful(runtime: Runtime, *, workflow: str = WORKFLOW, happened: bool = True) -> Run:
    """A run whose payment left, or was lost on its way, and nobody knows."""
    flows.CASHBOX.break_after_send = int(happened)
    flows.CASHBOX.lose = not happened
    run = advanced(start(workflow, amount=9), runtime)
    flows.CASHBOX.lose = False
    return run


def see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.CASHBOX, "blind", "")


def looked(run: Run) -> list[tuple[str, str]]:
    events = run.events.filter(kind="looked").order_by("seq").values_list("data", flat=True)
    return [(data["saw"], data["seen"]) for data in events]


def effect(run: Run) -> Call:
    return Call.objects.filter(run=run, kind="tool").latest("send")


def test_the_tool_looks_before_a_person_is_asked_and_what_it_found_is_the_answer(runtime: Runtime) -> None:
    run = doubtful(runtime)
    assert (run.state, len(flows.CASHBOX.paid)) == ("done", 1)
    assert not Question.objects.filter(run=run).exists()
    look = Call.objects.get(run=run, kind="look")
    assert (look.state, look.name, look.effect, look.egress) == ("done", "cashbox.pay", "none", True)
    assert look.response is not None
    assert bodies.load(look.response) == {"saw": "it happened", "answer": {"paid": 9}}
    assert looked(run) == [("it happened", "")]
    assert effect(run).response is not None
    assert bodies.load(effect(run).response) == {"paid": 9}  # type: ignore[arg-type]


def test_a_look_that_is_not_sure_asks_a_person_with_what_was_seen(runtime: Runtime, blind: None) -> None:
    run = doubtful(runtime)
    question = question_of(run)
    assert (question.kind, effect(run).state) == ("unknown", "unknown")
    assert verbs_of(question)["look"] == "Look again"
    seen = next(one for one in question.evidence if one["title"] == "Its tool looked and is not sure")
    assert dict(seen["details"])["seen"] == "the bank answers 503; looked for 9"
    assert looked(run) == [("not sure", "the bank answers 503; looked for 9")]


def test_looking_again_records_what_happened_and_goes_on_by_itself(
    runtime: Runtime, blind: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = doubtful(runtime)
    see(monkeypatch)
    answered(run, "look")
    run = advanced(run, runtime)
    assert (run.state, len(flows.CASHBOX.paid), effect(run).state) == ("done", 1, "done")
    assert [saw for saw, _ in looked(run)] == ["not sure", "it happened"]


def test_looking_again_sends_again_with_the_same_key_what_surely_did_not_happen(
    runtime: Runtime, blind: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = doubtful(runtime, happened=False)
    key = question_of(run).call_key
    see(monkeypatch)
    answered(run, "look")
    run = advanced(run, runtime)
    assert (run.state, flows.CASHBOX.paid) == ("done", [(key, 9)])
    assert list(
        Call.objects.filter(run=run, kind="tool").order_by("send").values_list("state", flat=True)
    ) == [
        "failed",
        "done",
    ]


def test_looking_again_without_being_sure_asks_again_as_often_as_it_takes(
    runtime: Runtime, blind: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = doubtful(runtime)
    for number in (1, 2):
        monkeypatch.setattr(flows.CASHBOX, "blind", f"look {number}")
        answered(run, "look")
        run = advanced(run, runtime)
        assert run.state == "waiting"
        details = [dict(one["details"]) for one in question_of(run).evidence]
        assert f"look {number}; looked for 9" in [one.get("seen") for one in details]
    assert (len(flows.CASHBOX.paid), effect(run).state) == (1, "unknown")
    answered(run, "respond", "the bank confirms it on the phone")
    assert advanced(run, runtime).state == "done"
    assert len(flows.CASHBOX.paid) == 1
    keys = list(Call.objects.filter(run=run, kind="look").values_list("key", flat=True))
    assert len(keys) == len(set(keys)) == 3


@pytest.mark.parametrize("outage", [1, 3, 99])
def test_a_look_that_fails_for_a_passing_reason_is_tried_by_the_nodes_policy_before_a_person_is_asked(
    outage: int, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And then about the effect, not about the error of the look."""
    looks: list[str] = []
    found = flows.CASHBOX.find

    def find(key: str) -> Any:
        looks.append(key)
        if len(looks) <= outage:
            raise ConnectionError("no route to the bank")
        return found(key)

    monkeypatch.setattr(flows.CASHBOX, "find", find)
    run = doubtful(runtime)
    assert len(flows.CASHBOX.paid) == 1
    if outage == 99:
        assert question_of(run).kind == "unknown"
        assert "no route to the bank" in str(question_of(run).evidence)
        assert len(looks) == 4  # once, and the three retries of the policy
    else:
        assert (run.state, len(looks), run.questions.count()) == ("done", outage + 1, 0)
    states = Call.objects.filter(run=run, kind="look").order_by("pk").values_list("state", flat=True)
    assert list(states)[:outage] == ["failed"] * min(outage, 4)


@pytest.mark.parametrize(
    ("returns", "says"),
    [(True, "returned a bool"), ([], "returned a list"), (ZeroDivisionError("a defect"), "a defect")],
)
def test_what_a_look_returns_or_raises_by_mistake_is_never_taken_for_an_answer(
    returns: Any, says: str, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(payment: Any, key: str) -> Any:
        if isinstance(returns, Exception):
            raise returns
        return returns

    monkeypatch.setattr(flows.CASHBOX, "find", lambda key: look(None, key))
    run = doubtful(runtime, workflow="paying_looks")
    assert question_of(run).kind == "unknown"
    assert says in str(question_of(run).evidence)
    assert effect(run).state == "unknown"


def test_without_a_look_the_answer_is_not_offered_and_changes_nothing(runtime: Runtime) -> None:
    run = doubtful(runtime, workflow="paying")
    question = question_of(run)
    assert "look" not in verbs_of(question)
    answered(run, "look")  # somebody who goes past the act
    run = advanced(run, runtime)
    assert (run.state, question_of(run).kind, len(flows.CASHBOX.paid)) == ("waiting", "unknown", 1)
    assert not Call.objects.filter(run=run, kind="look").exists()


def test_a_look_is_a_call_like_any_other_and_a_stop_keeps_it_from_being_made(
    runtime: Runtime, blind: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = doubtful(runtime)
    seen: list[str] = []
    plain = permits.permit

    def stopped_first(*given: Any) -> Any:
        with transaction.atomic():
            holds.engage("stop", "run", str(run.pk), by="Marta")
        return plain(*given)

    monkeypatch.setattr(flows.CASHBOX, "find", lambda key: seen.append(key))
    see(monkeypatch)
    answered(run, "look")
    monkeypatch.setattr(permits, "permit", stopped_first)
    run = advanced(run, runtime)
    assert (run.hold, seen) == ("stop", [])


def test_a_tool_that_finds_is_a_tool_that_looks() -> None:
    finds: Tool = flows.tool(find=flows.CASHBOX.find)
    assert (finds.looks, flows.tool().looks, flows.tool(look=flows.CASHBOX.look).looks) == (True, False, True)


def test_no_stop_is_acknowledged_while_a_look_may_be_about_to_leave(
    runtime: Runtime, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RUNS_GATE_HOLD_MS = 10_000
    stopped_meanwhile: list[bool] = []

    def look(key: str) -> None:
        stopping = aside(engage_stop)
        stopping.join(0.5)
        stopped_meanwhile.append(not stopping.is_alive())
        waiting.append(stopping)

    waiting: list[threading.Thread] = []
    monkeypatch.setattr(flows.CASHBOX, "find", look)
    doubtful(runtime)
    patience.joined(waiting[0])
    assert stopped_meanwhile[0] is False


def test_a_stop_ends_the_waiting_for_a_look_and_it_is_made_again_afterwards(
    runtime: Runtime, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RUNS_GATE_HOLD_MS = 1_000
    found, answers_at_last = flows.CASHBOX.find, threading.Event()

    def look(key: str) -> Any:
        aside(engage_stop)
        answers_at_last.wait(60)

    monkeypatch.setattr(flows.CASHBOX, "find", look)
    run = doubtful(runtime)
    answers_at_last.set()
    assert list(run.calls.filter(kind="look").values_list("state", flat=True)) == ["cut"]
    assert not run.questions.exists()
    monkeypatch.setattr(flows.CASHBOX, "find", found)
    settings.RUNS_GATE_HOLD_MS = 10_000  # busy cores
    control = Control.objects.get()
    while holds.mark(control.pk):
        continue
    with transaction.atomic():
        holds.release(control.pk, by="Ines", reason="fine again")
    with transaction.atomic():
        assert holds.resume(run.pk)
    run = advanced(run, runtime)
    assert (run.state, len(flows.CASHBOX.paid)) == ("done", 1)
    assert list(run.calls.filter(kind="look").order_by("pk").values_list("state", flat=True)) == [
        "cut",
        "done",
    ]


def aside(act: Callable[[], None]) -> threading.Thread:
    def acts() -> None:
        try:
            act()
        finally:
            connection.close()

    thread = threading.Thread(target=acts)
    thread.start()
    return thread


def engage_stop() -> None:
    with transaction.atomic():
        holds.engage("stop", "everything", by="Ines")
