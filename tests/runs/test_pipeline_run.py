"""A run's life through the engine: what each way of an attempt to end does to it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.db.models import F

from runs import bodies, registry
from runs.engine import answers, starts
from runs.engine.advance import advance
from runs.engine.claim import Nothing, claim
from runs.engine.outcomes import Output
from runs.engine.perform import perform
from runs.engine.settle import settle
from runs.engine.worker.runtime import Runtime
from runs.models import Attempt, Call, Event, Question, Run, Step
from tests.runs import flows
from tests.runs.conftest import advanced, answered, only, question_of, start

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_pipeline_hands_on_from_step_to_step_and_ends_with_the_last_output(runtime: Runtime) -> None:
    run = advanced(start("plain", text="abc"), runtime)
    assert run.state == "done"
    assert run.output is not None
    assert bodies.load(run.output)["text"] == "ABC"
    assert list(run.steps.values_list("node", "state")) == [
        ("first", "done"),
        ("second", "done"),
        ("third", "done"),
    ]


def test_events_are_numbered_without_gaps(runtime: Runtime) -> None:
    run = advanced(start("writing"), runtime)
    numbers = list(Event.objects.filter(run=run).order_by("seq").values_list("seq", flat=True))
    assert numbers == list(range(1, run.event_seq + 1))


def test_a_model_call_is_recorded_with_what_the_provider_said(runtime: Runtime) -> None:
    run = advanced(start("writing"), runtime)
    call = Call.objects.get(run=run)
    assert (call.model, call.model_returned, call.prompt_version) == (
        "simulated/writer",
        "simulated/writer",
        "1",
    )
    assert call.simulated
    assert call.tokens_in
    assert call.tokens_out
    assert call.cost_micros
    assert (run.tokens_in, run.cost_micros) == (call.tokens_in, call.cost_micros)


def test_equal_bodies_are_stored_once(runtime: Runtime) -> None:
    run = advanced(start("plain", text="ONCE"), runtime)
    steps = list(Step.objects.filter(run=run).order_by("seq"))
    assert steps[1].output_id == steps[0].output_id == steps[2].output_id


def test_a_broken_contract_is_repaired_once_with_the_failing_path_told(runtime: Runtime) -> None:
    run = advanced(start("writing", plan="broken once"), runtime)
    assert run.state == "done"
    states = list(
        Attempt.objects.filter(step__run=run).order_by("number").values_list("state", "error_where")
    )
    assert states == [("broken", "text"), ("done", "")]
    first, second = Attempt.objects.filter(step__run=run).order_by("number")
    assert first.note == ""
    note = second.note
    assert "text" in note
    assert "not accepted" in note


def test_a_contract_that_stays_broken_asks_a_person_with_the_rejected_value(runtime: Runtime) -> None:
    run = advanced(start("writing", plan="broken"), runtime)
    assert run.state == "waiting"
    question = question_of(run)
    assert question.kind == "contract"
    assert question.action["value"]["amount"] == "lots"
    assert question.action["where"] == "amount"
    assert question.words == "It meets the contract."


def test_a_person_may_mend_the_value_and_the_run_goes_on_with_it(runtime: Runtime) -> None:
    run = advanced(start("writing", plan="broken"), runtime)
    mended = {**question_of(run).action, "value": {"text": "mended", "plan": "x", "amount": 3}}
    answered(run, "approve", answer=mended)
    run = advanced(run, runtime)
    assert run.state == "done"
    assert run.output is not None
    assert bodies.load(run.output)["text"] == "mended"
    assert Step.objects.get(run=run).answered_by == "Marta"


def test_a_rejected_contract_question_ends_the_run_with_the_reason(runtime: Runtime) -> None:
    run = advanced(start("writing", plan="broken"), runtime)
    answered(run, "reject", "not worth it")
    run = advanced(run, runtime)
    assert (run.state, run.ending) == ("ended", "not worth it")
    assert Step.objects.get(run=run).state == "ended"


def test_words_of_a_person_reach_the_agent_in_the_next_attempt(runtime: Runtime) -> None:
    run = advanced(start("writing", plan="crash"), runtime)
    assert question_of(run).kind == "error"
    answered(run, "respond", "use the other ledger")
    advance(run.pk, runtime)
    assert Attempt.objects.filter(step__run=run, note="use the other ledger").count() == 1


def test_a_recoverable_error_is_retried_then_a_person_is_asked(runtime: Runtime) -> None:
    run = advanced(start("writing", plan="provider down"), runtime)
    assert run.state == "waiting"
    assert run.retries == 2
    assert Attempt.objects.filter(step__run=run, error_class="recoverable").count() == 3
    assert Call.objects.filter(run=run, state="failed").count() == 3


def test_a_recoverable_error_that_passes_is_invisible_in_the_outcome(runtime: Runtime) -> None:
    run = advanced(start("writing", plan="provider down once", text="once more"), runtime)
    assert run.state == "done"
    assert list(Call.objects.filter(run=run).order_by("send").values_list("state", flat=True)) == [
        "failed",
        "done",
    ]


def test_what_nobody_foresaw_goes_to_a_person(runtime: Runtime) -> None:
    run = advanced(start("writing", plan="crash"), runtime)
    question = question_of(run)
    assert (question.kind, question.action["error_class"]) == ("error", "unforeseen")


def test_a_data_error_of_a_function_follows_its_policy(runtime: Runtime) -> None:
    run = advanced(start("plain", plan="bad data"), runtime)
    assert run.state == "failed"
    assert "text is not what it should be" in run.ending


def test_an_invented_tool_is_a_reasoning_error_and_asks(runtime: Runtime) -> None:
    run = advanced(start("paying", plan="invented tool"), runtime)
    question = question_of(run)
    assert question.action["error_class"] == "reasoning"
    assert "cashbox.empty" in question.title
    assert flows.CASHBOX.paid == []


def test_trying_again_sends_the_blamed_call_anew_instead_of_replaying_it(runtime: Runtime) -> None:
    run = advanced(start("paying", plan="invented tool"), runtime)
    answered(run, "approve")
    advanced(run, runtime)
    calls = Call.objects.filter(run=run, kind="model").order_by("send")
    assert [(call.send, call.replayable) for call in calls] == [(1, False), (2, False)]


def test_an_invented_argument_never_reaches_the_tool(runtime: Runtime) -> None:
    run = advanced(start("paying", plan="invented argument"), runtime)
    assert run.state == "waiting"
    assert "to" in question_of(run).title
    assert flows.CASHBOX.paid == []


def test_a_small_payment_needs_nobody(runtime: Runtime) -> None:
    run = advanced(start("paying", amount=7), runtime)
    assert run.state == "done"
    assert [amount for _, amount in flows.CASHBOX.paid] == [7]
    call = Call.objects.get(run=run, kind="tool")
    assert call.handed_at is not None
    assert call.permitted_at <= call.handed_at


def test_a_large_payment_parks_until_it_is_approved_and_replays_what_was_recorded(runtime: Runtime) -> None:
    run = advanced(start("paying", amount=500), runtime)
    question = question_of(run)
    assert (run.state, run.due_at, run.lease_owner) == ("waiting", None, "")
    assert question.title == "Pay 500"
    assert [check["ok"] for check in question.evidence] == [False, True]
    assert flows.CASHBOX.paid == []
    answered(run, "approve")
    run = advanced(run, runtime)
    assert run.state == "done"
    assert len(flows.CASHBOX.paid) == 1
    assert Call.objects.filter(run=run, kind="model").count() == 2
    assert Attempt.objects.filter(step__run=run, step__node="pay").count() == 1


def test_an_edited_payment_is_what_happens(runtime: Runtime) -> None:
    run = advanced(start("paying", amount=500), runtime)
    edited = {"tool": "cashbox.pay", "arguments": {"amount": 120, "note": ""}, "sentence": "Pay 120"}
    answered(run, "approve", answer=edited)
    run = advanced(run, runtime)
    assert [amount for _, amount in flows.CASHBOX.paid] == [120]
    assert run.output is not None
    assert "edited_by_operator" in bodies.load(run.output)["answer"]


def test_an_approval_of_another_action_permits_nothing(runtime: Runtime) -> None:
    run = advanced(start("paying", amount=500), runtime)
    answered(run, "approve")
    Question.objects.filter(run=run).update(answer_digest="0" * 64)
    advance(run.pk, runtime)
    assert flows.CASHBOX.paid == []


def test_a_denied_payment_gives_the_agent_the_reason_and_never_happens(runtime: Runtime) -> None:
    run = advanced(start("paying", amount=500), runtime)
    answered(run, "reject", "wrong payee")
    run = advanced(run, runtime)
    assert run.state == "done"
    assert run.output is not None
    assert "wrong payee" in bodies.load(run.output)["answer"]
    assert flows.CASHBOX.paid == []
    assert Call.objects.get(run=run, kind="tool").state == "refused"


def test_an_expired_question_is_denied(runtime: Runtime) -> None:
    run = advanced(start("paying", amount=500), runtime)
    question = question_of(run)
    assert not answers.expire(question.pk)
    Question.objects.filter(pk=question.pk).update(expires_at=F("asked_at") - timedelta(seconds=1))
    assert answers.expire(question.pk)
    run = advanced(run, runtime)
    assert run.state == "done"
    assert run.output is not None
    assert "expired" in bodies.load(run.output)["answer"]
    assert flows.CASHBOX.paid == []


def test_a_second_answer_changes_nothing(runtime: Runtime) -> None:
    run = advanced(start("paying", amount=500), runtime)
    question = answered(run, "approve")
    with transaction.atomic(), pytest.raises(answers.NotOpen):
        answers.answer(answers.lock(question.pk), verb="reject", text="no", by="Jonas")
    question.refresh_from_db()
    assert (question.verb, question.answered_by) == ("approve", "Marta")


def test_a_refusal_by_the_other_side_is_a_data_error_and_certain(runtime: Runtime) -> None:
    run = advanced(start("paying", plan="bank refuses"), runtime)
    assert set(Call.objects.filter(run=run, kind="tool").values_list("state", flat=True)) == {"failed"}
    assert question_of(run).action["error_class"] == "data"


def test_an_effect_with_unknown_outcome_asks_a_person_and_is_not_repeated(runtime: Runtime) -> None:
    flows.CASHBOX.break_after_send = 1
    run = advanced(start("paying", amount=9), runtime)
    question = question_of(run)
    assert question.kind == "unknown"
    assert len(flows.CASHBOX.paid) == 1
    answered(run, "respond", "the bank shows it")
    run = advanced(run, runtime)
    assert run.state == "done"
    assert len(flows.CASHBOX.paid) == 1


def test_an_unknown_effect_is_sent_again_only_when_a_person_says_it_did_not_happen(runtime: Runtime) -> None:
    flows.CASHBOX.break_after_send = 1
    run = advanced(start("paying", amount=9), runtime)
    answered(run, "approve")
    run = advanced(run, runtime)
    assert run.state == "done"
    keys = [key for key, _ in flows.CASHBOX.paid]
    assert len(keys) == 2
    assert len(set(keys)) == 1


def test_an_unknown_effect_that_is_not_to_be_repeated_is_told_to_the_agent(runtime: Runtime) -> None:
    flows.CASHBOX.break_after_send = 1
    run = advanced(start("paying", amount=9), runtime)
    answered(run, "reject", "leave it")
    run = advanced(run, runtime)
    assert run.state == "done"
    assert len(flows.CASHBOX.paid) == 1


def test_a_tool_that_can_look_answers_the_doubt_itself(runtime: Runtime) -> None:
    flows.CASHBOX.break_after_send = 1
    run = advanced(start("paying_found", amount=9), runtime)
    assert run.state == "done"
    assert len(flows.CASHBOX.paid) == 1


def test_a_tool_whose_line_stays_dead_ends_with_a_person_not_in_a_circle(runtime: Runtime) -> None:
    flows.CASHBOX.lose = True
    run = advanced(start("paying_found", amount=9), runtime)
    assert question_of(run).action["error_class"] == "recoverable"
    sent = Call.objects.filter(run=run, kind="tool")
    assert sent.count() == 4
    assert flows.CASHBOX.paid == []


def test_a_repeatable_tool_is_sent_again_with_the_same_key(runtime: Runtime) -> None:
    flows.CASHBOX.break_after_send = 1
    run = advanced(start("paying_repeatable", amount=9), runtime)
    assert run.state == "done"
    assert len({key for key, _ in flows.CASHBOX.paid}) == 1


def test_a_late_outcome_is_voided_and_never_applied(runtime: Runtime) -> None:
    run = start("plain")
    stale = only(claim(run.pk, worker="slow"))
    Run.objects.filter(pk=run.pk).update(lease_until=F("created_at"), due_at=F("created_at"))
    advance(run.pk, runtime)
    with runtime.fly(run.pk, "plain", stale.fence) as flight:
        outcome = perform(stale, flight)
    assert isinstance(outcome, Output)
    assert settle(stale, outcome) == Nothing(why="final")
    assert Event.objects.filter(run=run, kind="voided").count() == 1
    assert Step.objects.filter(run=run, node="first").count() == 1


def test_a_run_whose_lease_is_held_is_not_claimed_twice(runtime: Runtime) -> None:
    run = start("plain")
    assert isinstance(claim(run.pk, worker="one"), tuple)
    assert claim(run.pk, worker="two") == Nothing(why="later")


def test_a_run_goes_on_in_the_same_attempt_after_its_worker_is_lost(runtime: Runtime) -> None:
    run = start("writing")
    claim(run.pk, worker="lost")
    Run.objects.filter(pk=run.pk).update(lease_until=F("created_at"), due_at=F("created_at"))
    run = advanced(run, runtime)
    assert run.state == "done"
    assert Attempt.objects.get(step__run=run).number == 1
    assert Event.objects.filter(run=run, kind="worker lost").count() == 1


def test_a_step_that_keeps_losing_its_worker_is_quarantined(runtime: Runtime) -> None:
    run = start("plain")
    for _ in range(3):
        assert isinstance(claim(run.pk, worker="doomed"), tuple)
        Run.objects.filter(pk=run.pk).update(lease_until=F("created_at"), due_at=F("created_at"))
    claim(run.pk, worker="careful")
    assert "lost its worker" in question_of(run).title


def test_a_run_past_its_deadline_fails(runtime: Runtime) -> None:
    run = start("plain")
    Run.objects.filter(pk=run.pk).update(deadline_at=F("created_at"))
    run = advanced(run, runtime)
    assert (run.state, run.ending) == ("failed", "The run's deadline has passed.")


def test_a_run_whose_definition_is_gone_asks_and_goes_on_when_it_is_back(runtime: Runtime) -> None:
    run = start("plain")
    put_back = registry.forget(flows.PLAIN)
    try:
        run = advanced(run, runtime)
        assert question_of(run).kind == "missing"
    finally:
        put_back()
    answered(run, "approve")
    assert advanced(run, runtime).state == "done"


def test_a_definition_that_changed_under_its_version_asks_instead_of_guessing(runtime: Runtime) -> None:
    run = start("plain")
    claim(run.pk, worker="before the deploy")
    Run.objects.filter(pk=run.pk).update(lease_until=F("created_at"), due_at=F("created_at"))
    Step.objects.filter(run=run).update(node="was here")
    run = advanced(run, runtime)
    assert "no node was here" in question_of(run).reason


def test_the_same_start_key_starts_once(runtime: Runtime) -> None:
    first = start("plain", key="invoice-1")
    with transaction.atomic():
        again = starts.start("plain", {"text": "other"}, start_key="invoice-1", by="test")
    assert (again.run.pk, again.created) == (first.pk, False)
    assert Run.objects.filter(workflow="plain").count() == 1


def test_a_full_queue_refuses_politely_and_says_when_to_come_back(settings: Any) -> None:
    settings.RUNS_INTAKE_LIMIT = 1
    start("plain")
    with transaction.atomic(), pytest.raises(starts.IntakeFull) as refused:
        starts.start("plain", {}, start_key="b", by="test")
    assert "limit is 1" in refused.value.sentence
    assert refused.value.retry_after_seconds > 0


@pytest.mark.parametrize(
    ("name", "given", "error", "says"),
    [
        ("nowhere", {}, starts.UnknownWorkflow, "no workflow 'nowhere'"),
        ("plain", {"amount": "many"}, starts.BadInput, "amount"),
        ("plain", {"extra": 1}, starts.BadInput, "extra"),
        ("plain", {"amount": float("nan")}, starts.BadInput, "JSON"),
    ],
)
def test_bad_input_is_refused_at_the_door_in_a_sentence(
    name: str, given: dict[str, Any], error: type[starts.NotStarted], says: str
) -> None:
    with transaction.atomic(), pytest.raises(error) as refused:
        starts.start(name, given, start_key="x", by="test")
    assert says in refused.value.sentence
    assert not Run.objects.exists()


def test_text_that_postgresql_cannot_keep_is_kept_visibly(runtime: Runtime) -> None:
    run = advanced(start("plain", text="a\x00b\ud800"), runtime)
    assert run.state == "done"
    assert run.output is not None
    assert bodies.load(run.output)["text"] == "A␀B�"
