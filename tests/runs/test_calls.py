"""A call is permitted and recorded by one function each: the same rows as at length, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from runs.agents.door import Usage
from runs.engine.claim import claim
from runs.engine.claimed import Claimed
from runs.engine.outcomes import Refused, Unapproved
from runs.engine.spend import calls, permits
from runs.engine.spend.caps import Asks
from runs.engine.spend.wanted import Result, Wanted
from runs.engine.worker.runtime import Runtime
from runs.errors import ErrorClass
from runs.models import Body, Call, CallKind, CallState, Event, Question, Run
from tests import factories
from tests.runs.at_the_gate import met_a_stop
from tests.runs.conftest import advanced, only, start
from tests.runs.test_straight import engaged, rows, set_run

pytestmark = pytest.mark.django_db(transaction=True)

USED = Result(
    state=CallState.DONE,
    response={"text": "yes"},
    usage=Usage(tokens_in=11, tokens_out=7),
    cost_micros=1300,
    model_returned="simulated/small-2",
    latency_ms=42,
)
FAILED = Result(state=CallState.FAILED, error="503", error_class=ErrorClass.RECOVERABLE, latency_ms=3)
CUT = Result(state=CallState.CUT, error="stop of everything")


def at_work() -> Claimed:
    return only(claim(start("plain", text="a").pk, worker="w"))


def wanted(**values: Any) -> Wanted:
    given: dict[str, Any] = {
        "kind": CallKind.MODEL,
        "name": "writer",
        "key": "k",
        "request": {"say": "ä"},
        "parameters": {"t": 0},
    }
    given.update(values)
    return Wanted(**given)


def kept(call: Call) -> dict[str, Any]:
    """Everything that is on record of a call but times and numbers of rows."""
    row: dict[str, Any] = dict(Call.objects.filter(pk=call.pk).values().get())
    for name in ("id", "run_id", "step_id", "attempt_id", "permitted_at", "finished_at"):
        row.pop(name)
    events = Event.objects.filter(run_id=call.run_id, kind="call").values_list("data", flat=True)
    shown = [{name: value for name, value in data.items() if name != "call"} for data in events]
    run = Run.objects.values("tokens_in", "tokens_out", "cost_micros", "event_seq").get(pk=call.run_id)
    bodies = sorted(Body.objects.values_list("content", flat=True))
    return {"call": row, "events": shown, "run": run, "bodies": bodies}


@pytest.mark.parametrize("result", [USED, FAILED, CUT], ids=lambda result: str(result.state))
def test_both_ways_leave_the_same_rows(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = []
    for straight in (True, False):
        claimed = at_work()
        with monkeypatch.context() as patched:
            if not straight:
                patched.setattr(calls, "permit", lambda *_: None)
                patched.setattr(calls, "record", lambda *_: None)
            else:
                patched.setattr(permits, "_permit", None)
                patched.setattr(permits, "_record", None)
            call = permits.permit(claimed, wanted())
            said = permits.record(claimed, call, result)
        for name in ("state", "error", "error_class", "cost_micros", "tokens_in", "latency_ms", "send"):
            assert getattr(said, name) == getattr(Call.objects.get(pk=call.pk), name)
        ways.append(kept(call))
    assert ways[0] == ways[1]


def test_a_run_with_calls_never_takes_the_long_way(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permits, "_permit", None)
    monkeypatch.setattr(permits, "_record", None)
    assert advanced(start("paying", text="a", plan="well", amount=9), runtime).state == "done"


def test_sendings_of_one_key_are_counted() -> None:
    claimed = at_work()
    first = permits.permit(claimed, wanted())
    permits.record(claimed, first, FAILED)
    assert [first.send, permits.permit(claimed, wanted()).send] == [1, 2]


IN_THE_WAY: dict[str, tuple[Callable[[Run], Any], str]] = {
    "everything is stopped": (lambda run: engaged("everything", ""), "stop of everything by Ines"),
    "its workflow is stopped": (lambda run: engaged("workflow", "plain"), "stop of workflow plain by Ines"),
    "it is stopped itself": (lambda run: engaged("run", str(run.pk)), "by Ines"),
    "it is held": (set_run(hold="stop"), "the run is held (stop)"),
    "another claim": (set_run(fence=F("fence") + 1), "another worker holds this run"),
    "another worker": (set_run(lease_owner="other"), "another worker holds this run"),
    "its lease ran out": (set_run(lease_until=F("created_at") - timedelta(1)), "the lease ran out"),
    "its step is over": (lambda run: run.steps.update(state="ended"), "this step is not needed any more"),
}


@pytest.mark.parametrize(("hinder", "why"), IN_THE_WAY.values(), ids=IN_THE_WAY)
def test_a_permit_is_refused_with_the_reason_when(hinder: Callable[[Run], Any], why: str) -> None:
    claimed = at_work()
    hinder(claimed.run)
    before = rows(claimed.run)
    assert calls.permit(claimed, wanted(), Asks()) is None
    with pytest.raises(Refused) as refused:
        permits.permit(claimed, wanted())
    assert why in refused.value.why
    assert rows(claimed.run) == before
    assert not Call.objects.exists()
    assert not Body.objects.filter(content__contains="say").exists()


def test_an_approval_of_another_action_permits_nothing(runtime: Runtime) -> None:
    question = factories.approval().question
    Question.objects.filter(pk=question.pk).update(
        state="answered", verb="approve", answer_digest="d" * 64, call_key="k"
    )
    claimed = at_work()
    asked = {"kind": CallKind.TOOL, "name": "cashbox.pay", "question_id": question.pk}
    for other in ({"digest": "e" * 64}, {"digest": "d" * 64, "key": "other"}, {"digest": "d" * 64}):
        assert calls.permit(claimed, wanted(**asked, **other), Asks()) is None  # the last: of another step
        with pytest.raises(Unapproved):
            permits.permit(claimed, wanted(**asked, **other))
    Question.objects.filter(pk=question.pk).update(step=claimed.step)
    assert permits.permit(claimed, wanted(**asked, digest="d" * 64)).question_id == question.pk


def test_who_records_after_another_claim_is_late_and_booked() -> None:
    claimed = at_work()
    call = permits.permit(claimed, wanted())
    Run.objects.filter(pk=claimed.run.pk).update(fence=F("fence") + 1)
    assert calls.record(claimed, call, USED) is None
    late = permits.record(claimed, call, USED)
    assert (late.state, late.replayable) == ("done", False)
    assert Event.objects.filter(run=claimed.run, kind="voided").count() == 1
    assert Run.objects.get(pk=claimed.run.pk).cost_micros == 1300


def test_what_is_recorded_stays_and_is_booked_once() -> None:
    claimed = at_work()
    call = permits.permit(claimed, wanted())
    permits.record(claimed, call, USED)
    assert calls.record(claimed, Call.objects.get(pk=call.pk), FAILED) is None
    assert permits.record(claimed, Call.objects.get(pk=call.pk), FAILED).state == "done"
    assert Run.objects.get(pk=claimed.run.pk).tokens_in == 11


def test_a_permit_that_waits_at_the_gate_meets_the_stop_that_closed_it() -> None:
    claimed = at_work()
    assert met_a_stop(lambda: calls.permit(claimed, wanted(), Asks())) is None
    assert not Call.objects.exists()
