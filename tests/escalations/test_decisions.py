"""The life of an escalation: approved, edited, rejected, answered; once, and only as shown."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from escalations import claims, controls, decisions
from escalations.expected import AlreadyDecided, Changed, IllegalMove, Invalid, NotThere
from escalations.models import Decision, Escalation
from runs import bodies
from runs.canonical import digest
from runs.engine import answers, sweep
from runs.models import Question, Run
from tests import factories
from tests.factories import advanced, approval, journal, question_of, shown
from tests.runs import flows

pytestmark = pytest.mark.django_db(transaction=True)


def edited(escalation: Escalation, actor: User, **value: Any) -> Escalation:
    return decisions.edit(actor=actor, **shown(escalation), value=value)


def test_a_question_opens_an_escalation_with_a_journal_entry(operator: User) -> None:
    escalation = approval()
    (entry,) = journal(act="escalation opened")
    assert (entry.actor_name, entry.target) == ("system", escalation.name)
    assert (entry.run_id, entry.escalation_id) == (escalation.run_id, escalation.pk)
    assert (escalation.state, escalation.version) == ("open", 1)
    assert escalation.digest == question_of(escalation).digest


def test_an_approved_action_happens_and_the_run_is_done(operator: User) -> None:
    escalation = approval(500)
    decision = decisions.approve(actor=operator, **shown(escalation))
    assert (decision.verb, decision.by) == ("approve", operator)
    assert decision.after == question_of(escalation).action
    assert advanced(escalation.run).state == "done"
    assert [amount for _, amount in flows.CASHBOX.paid] == [500]


def test_a_decision_is_journalled_with_what_was_shown(operator: User) -> None:
    escalation = approval()
    decisions.approve(actor=operator, **shown(escalation), reason="Agreed on the phone.")
    (entry,) = journal(act="approve")
    assert (entry.outcome, entry.actor, entry.reason) == ("done", operator, "Agreed on the phone.")
    assert f'"digest":"{escalation.digest}"' in entry.body
    assert '"version":1' in entry.body


def test_a_rejected_action_does_not_happen_and_the_run_receives_the_reason(operator: User) -> None:
    escalation = approval()
    decisions.reject(actor=operator, **shown(escalation), reason="Wrong payee.")
    run = advanced(escalation.run)
    assert flows.CASHBOX.paid == []
    assert run.output is not None
    assert "Wrong payee." in bodies.load(run.output)["answer"]


@pytest.mark.parametrize("reason", ["", "   \n", "x" * 2001])
def test_a_rejection_needs_a_reason_of_a_readable_length(operator: User, reason: str) -> None:
    escalation = approval()
    with pytest.raises(Invalid) as refused:
        decisions.reject(actor=operator, **shown(escalation), reason=reason)
    assert refused.value.errors[0][0] == "reason"
    assert question_of(escalation).state == "open"


def test_hostile_characters_in_a_reason_are_kept_readable(operator: User) -> None:
    escalation = approval()
    decision = decisions.reject(actor=operator, **shown(escalation), reason="no\x00 \ud800 way")
    assert decision.reason == "no\u2400 \ufffd way"


def test_words_reach_the_run(operator: User) -> None:
    escalation = approval()
    decisions.respond(actor=operator, **shown(escalation), text="Pay it in two halves.")
    run = advanced(escalation.run)
    assert run.output is not None
    assert "Pay it in two halves." in bodies.load(run.output)["answer"]
    assert flows.CASHBOX.paid == []


def test_an_edit_raises_the_version_and_changes_the_digest(operator: User) -> None:
    escalation = approval(500)
    changed = edited(escalation, operator, amount=120, note="half")
    assert (changed.version, changed.edited_by) == (2, operator)
    assert changed.draft == {
        "tool": "cashbox.pay",
        "arguments": {"amount": 120, "note": "half"},
        "sentence": "Pay 120",
    }
    expected = digest({"action": changed.draft, "evidence": question_of(escalation).evidence})
    assert changed.digest == expected != escalation.digest


def test_an_edit_is_journalled_field_by_field(operator: User) -> None:
    escalation = approval(500)
    edited(escalation, operator, amount=120)
    (entry,) = journal(act="edit")
    assert '"changes":[{"after":120,"before":500,"field":"amount"}]' in entry.body


def test_an_approved_edit_is_what_happens(operator: User) -> None:
    escalation = approval(500)
    edited(escalation, operator, amount=120)
    decision = decisions.approve(actor=operator, **shown(escalation))
    assert advanced(escalation.run).state == "done"
    assert [amount for _, amount in flows.CASHBOX.paid] == [120]
    assert (decision.before["arguments"]["amount"], decision.after["arguments"]["amount"]) == (500, 120)
    assert '"changes":[{"after":120,"before":500,"field":"amount"}]' in journal(act="approve")[0].body


def test_an_edit_that_breaks_the_contract_names_every_wrong_field(operator: User) -> None:
    escalation = approval()
    with pytest.raises(Invalid) as refused:
        edited(escalation, operator, amount="lots", to="me")
    assert {path for path, _ in refused.value.errors} == {"amount", "to"}
    assert Escalation.objects.get(pk=escalation.pk).draft is None


def test_an_edit_that_changes_nothing_is_refused(operator: User) -> None:
    escalation = approval(500)
    with pytest.raises(Invalid, match="Nothing was changed"):
        edited(escalation, operator, **question_of(escalation).action["arguments"])


def test_a_rejection_after_an_edit_lets_nothing_happen(operator: User) -> None:
    escalation = approval(500)
    edited(escalation, operator, amount=120)
    decision = decisions.reject(actor=operator, **shown(escalation), reason="Still too much.")
    assert advanced(escalation.run).state == "done"
    assert flows.CASHBOX.paid == []
    assert decision.after == {}


def test_second_answer_changes_nothing_and_says_who_did_what_and_when(
    operator: User, colleague: User
) -> None:
    escalation = approval()
    seen = shown(escalation)
    first = decisions.reject(actor=operator, **seen, reason="Wrong payee.")
    with pytest.raises(AlreadyDecided) as refused:
        decisions.approve(actor=colleague, **seen)
    said = refused.value
    assert (said.who, said.what, said.when, said.decision) == ("Marta Oliveira", "rejected", first.at, first)
    assert said.sentence == f"{escalation.name} was rejected by Marta Oliveira at {first.at:%H:%M:%S} UTC."
    assert Decision.objects.count() == 1
    assert question_of(escalation).verb == "reject"


def test_a_stale_version_is_refused_with_the_one_in_force(operator: User) -> None:
    escalation = approval()
    seen = shown(escalation)
    edited(escalation, operator, amount=120)
    with pytest.raises(Changed) as refused:
        decisions.approve(actor=operator, **seen)
    assert refused.value.escalation.version == 2
    assert "edited by Marta Oliveira" in refused.value.sentence
    assert question_of(escalation).state == "open"


def test_a_stale_digest_is_refused_although_the_version_is_right(operator: User) -> None:
    escalation = approval()
    seen = shown(escalation) | {"digest": "0" * 64}
    for act in (
        lambda: decisions.approve(actor=operator, **seen),
        lambda: decisions.reject(actor=operator, **seen, reason="no"),
        lambda: decisions.respond(actor=operator, **seen, text="no"),
        lambda: decisions.edit(actor=operator, **seen, value={"amount": 1}),
    ):
        with pytest.raises(Changed):
            act()
    assert question_of(escalation).state == "open"


def test_a_broken_contract_can_only_be_approved_with_an_edited_value(operator: User) -> None:
    escalation = factories.broken_contract()
    with pytest.raises(Invalid, match="edit it first"):
        decisions.approve(actor=operator, **shown(escalation))
    edited(escalation, operator, text="mended", plan="by hand", amount="3")
    decisions.approve(actor=operator, **shown(escalation))
    run = advanced(escalation.run)
    assert run.state == "done"
    assert run.output is not None
    assert bodies.load(run.output) == {"text": "mended", "plan": "by hand", "amount": 3}


def test_an_error_cannot_be_edited(operator: User) -> None:
    escalation = factories.unforeseen_error()
    with pytest.raises(IllegalMove, match="nothing to edit"):
        edited(escalation, operator, text="x")


def test_an_error_is_tried_again_when_approved_and_ends_the_run_when_rejected(operator: User) -> None:
    again = factories.unforeseen_error()
    decisions.approve(actor=operator, **shown(again))
    second = factories.escalation_of(advanced(again.run))
    assert second.pk != again.pk
    decisions.reject(actor=operator, **shown(second), reason="It will not get better.")
    run = advanced(again.run)
    assert (run.state, run.ending) == ("ended", "It will not get better.")


def test_an_unknown_effect_is_sent_again_only_when_a_person_says_it_did_not_happen(operator: User) -> None:
    escalation = factories.unknown_effect()
    assert len(flows.CASHBOX.paid) == 1
    decisions.approve(actor=operator, **shown(escalation))
    assert advanced(escalation.run).state == "done"
    keys = [key for key, _ in flows.CASHBOX.paid]
    assert len(keys) == 2
    assert len(set(keys)) == 1


def test_an_unknown_effect_can_be_recorded_as_done(operator: User) -> None:
    escalation = factories.unknown_effect()
    decisions.respond(actor=operator, **shown(escalation), text="The bank shows it.")
    assert advanced(escalation.run).state == "done"
    assert len(flows.CASHBOX.paid) == 1


def test_looking_again_lets_the_tool_settle_the_doubt_and_the_journal_says_what_was_seen(
    operator: User,
) -> None:
    escalation = factories.doubted()
    decision = decisions.look(actor=operator, **shown(escalation))
    assert (decision.verb, decision.by, decision.digest) == ("look", operator, escalation.digest)
    assert advanced(escalation.run).state == "done"
    assert len(flows.CASHBOX.paid) == 1
    asked, seen = journal(escalation_id=escalation.pk)[-2:]
    assert (asked.act, asked.outcome, asked.actor_name) == ("look again", "done", "Marta Oliveira")
    assert (seen.act, seen.actor_name) == ("looked", "system")
    assert json.loads(seen.body)["details"] == {"saw": "it happened", "answer": {"paid": 50}}


def test_looking_again_without_being_sure_comes_back_with_what_was_seen(
    operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = factories.doubted()
    monkeypatch.setattr(flows.CASHBOX, "blind", "the bank is closed")
    decisions.look(actor=operator, **shown(first))
    second = factories.escalation_of(advanced(first.run))
    assert second.pk != first.pk
    assert "the bank is closed" in str(question_of(second).evidence)
    assert json.loads(journal(act="looked")[0].body)["details"]["saw"] == "not sure"
    assert len(flows.CASHBOX.paid) == 1


def test_a_tool_that_cannot_look_is_not_asked_to(operator: User) -> None:
    escalation = factories.unknown_effect()
    with pytest.raises(IllegalMove, match="cannot be answered with look again"):
        decisions.look(actor=operator, **shown(escalation))
    assert journal(act="look again")[0].outcome == "conflict"
    with pytest.raises(IllegalMove, match="cannot be answered with look again"):
        decisions.look(actor=operator, **shown(approval()))


def test_what_another_person_holds_is_not_decided_by_me(operator: User, colleague: User, admin: User) -> None:
    escalation = approval()
    claims.take(actor=colleague, escalation_id=escalation.pk)
    for actor in (operator, admin):
        with pytest.raises(IllegalMove, match="Jonas Weber holds"):
            decisions.approve(actor=actor, **shown(escalation))
    claims.take(actor=admin, escalation_id=escalation.pk)
    assert decisions.approve(actor=admin, **shown(escalation)).by == admin


def test_deciding_a_free_one_takes_it(operator: User) -> None:
    escalation = approval()
    decisions.approve(actor=operator, **shown(escalation))
    assert Escalation.objects.get(pk=escalation.pk).taken_by == operator


def test_an_expired_escalation_says_that_its_deadline_denied_it(operator: User) -> None:
    escalation = approval()
    seen = shown(escalation)
    Question.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert sweep.expire_questions() == 1
    with pytest.raises(AlreadyDecided) as refused:
        decisions.approve(actor=operator, **seen)
    assert (refused.value.who, refused.value.what, refused.value.decision) == ("its deadline", "denied", None)
    assert Escalation.objects.get(pk=escalation.pk).state == "expired"
    assert journal(act="escalation expired")[0].actor_name == "system"
    assert advanced(escalation.run).state == "done"
    assert flows.CASHBOX.paid == []


def test_nobody_approves_after_the_deadline_even_before_the_sweep_has_noticed(operator: User) -> None:
    escalation = approval()
    Question.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    for act in (
        lambda: decisions.approve(actor=operator, **shown(escalation)),
        lambda: decisions.respond(actor=operator, **shown(escalation), text="go on"),
        lambda: decisions.edit(actor=operator, **shown(escalation), value={"amount": 1}),
    ):
        with pytest.raises(IllegalMove, match="deadline"):
            act()
    assert decisions.reject(actor=operator, **shown(escalation), reason="no").verb == "reject"


def test_the_deadline_of_a_held_run_stands_still(operator: User) -> None:
    escalation = approval()
    controls.engage(actor=operator, kind="pause", scope_kind="everything")
    Question.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert decisions.approve(actor=operator, **shown(escalation)).verb == "approve"
    assert advanced(Run.objects.get(pk=escalation.run_id)).hold == "pause"
    assert flows.CASHBOX.paid == []


def test_a_missing_escalation_is_said_to_be_missing(operator: User) -> None:
    with pytest.raises(NotThere, match="no escalation E-999"):
        decisions.approve(actor=operator, escalation_id=999, version=1, digest="")


def test_the_engine_wins_when_it_closed_the_question_first(operator: User) -> None:
    escalation = approval()
    Question.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    seen = shown(escalation)
    results = factories.at_once(
        lambda: decisions.reject(actor=operator, **seen, reason="no"),
        lambda: answers.expire(escalation.question_id),
    )
    states = {Escalation.objects.get(pk=escalation.pk).state, question_of(escalation).state}
    if isinstance(results[0], AlreadyDecided):
        assert results[1] is True
        assert states == {"expired"}
    else:
        assert results[1] is False
        assert states == {"decided", "answered"}
