"""What was refused is on record, in a transaction of its own; a flood of it is counted."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from escalations import claims, decisions, tasks
from escalations.audit import chain, refused
from escalations.expected import AlreadyDecided, Changed, IllegalMove, Invalid, NotAllowed, Refusal
from escalations.models import Escalation, Flood
from tests.factories import approval, at_once, journal, question_of, shown

pytestmark = pytest.mark.django_db(transaction=True)


def test_each_kind_of_refusal_is_recorded_with_its_outcome_and_its_sentence(
    operator: User, colleague: User, auditor: User
) -> None:
    escalation = approval()
    seen = shown(escalation)
    with pytest.raises(NotAllowed):
        decisions.approve(actor=auditor, **seen)
    with pytest.raises(Invalid):
        decisions.reject(actor=operator, **seen, reason="")
    with pytest.raises(Changed):
        decisions.approve(actor=operator, **seen | {"version": 7})
    claims.take(actor=colleague, escalation_id=escalation.pk)
    with pytest.raises(IllegalMove):
        decisions.reject(actor=operator, **seen, reason="my reason")
    decisions.reject(actor=colleague, **seen, reason="no")
    with pytest.raises(AlreadyDecided):
        decisions.respond(actor=operator, **seen, text="my words")
    found = [
        (entry.act, entry.outcome, entry.actor_name) for entry in journal().copy() if entry.outcome != "done"
    ]
    assert found == [
        ("approve", "refused", "Tomasz Nowak"),
        ("reject", "invalid", "Marta Oliveira"),
        ("approve", "conflict", "Marta Oliveira"),
        ("reject", "conflict", "Marta Oliveira"),
        ("respond", "conflict", "Marta Oliveira"),
    ]
    last = journal()[-1]
    assert last.reason == "my words"
    assert "was rejected by Jonas Weber" in json.loads(last.body)["details"]["why"]
    assert (last.run_id, last.escalation_id, last.workflow) == (escalation.run_id, escalation.pk, "paying")


def test_a_refused_act_leaves_nothing_behind_but_its_entry(operator: User) -> None:
    escalation = approval()
    with pytest.raises(Invalid):
        decisions.edit(actor=operator, **shown(escalation), value={"amount": "lots"})
    fresh = Escalation.objects.get(pk=escalation.pk)
    assert (fresh.version, fresh.draft, fresh.taken_by) == (1, None, None)
    assert question_of(escalation).state == "open"
    assert json.loads(journal()[-1].body)["details"]["errors"][0][0] == "amount"


def flood(actor: User, times: int) -> None:
    for _ in range(times):
        with pytest.raises(Refusal):
            claims.take(actor=actor, escalation_id=4711)


def test_a_flood_of_the_same_refusal_is_one_entry_and_a_count(operator: User) -> None:
    flood(operator, 25)
    assert len(journal()) == 1
    assert refused.settle() == 0  # its window is not over
    assert refused.settle(timezone.now() + refused.WINDOW) == 1
    first, counted = journal()
    assert json.loads(counted.body)["details"] == {
        "repeated": 24,
        "after": json.loads(counted.body)["details"]["after"],
    }
    assert (counted.act, counted.outcome, counted.actor, counted.target) == (
        first.act,
        first.outcome,
        operator,
        first.target,
    )
    assert not Flood.objects.exists()
    assert refused.settle(timezone.now() + refused.WINDOW) == 0


def test_the_next_refusal_after_the_window_writes_the_count_and_itself(operator: User) -> None:
    flood(operator, 3)
    Flood.objects.update(since=timezone.now() - refused.WINDOW - timedelta(seconds=1))
    flood(operator, 1)
    details = [json.loads(entry.body)["details"] for entry in journal()]
    assert [one.get("repeated") for one in details] == [None, 2, None]
    assert chain.verify() is None


def test_a_single_refusal_needs_no_count(operator: User) -> None:
    flood(operator, 1)
    assert refused.settle(timezone.now() + refused.WINDOW) == 0
    assert len(journal()) == 1


def test_refusals_of_others_or_of_something_else_are_not_counted_together(
    operator: User, colleague: User
) -> None:
    flood(operator, 2)
    flood(colleague, 2)
    with pytest.raises(Refusal):
        claims.take(actor=operator, escalation_id=4712)
    assert len(journal()) == 3


def test_a_flood_from_many_threads_loses_no_count(operator: User) -> None:
    at_once(*(lambda: flood(operator, 5) for _ in range(8)))
    refused.settle(timezone.now() + refused.WINDOW)
    first, counted = journal()
    assert "repeated" not in first.body
    assert json.loads(counted.body)["details"]["repeated"] == 39


def test_the_ordinary_worker_writes_the_counts(operator: User) -> None:
    flood(operator, 3)
    Flood.objects.update(since=timezone.now() - refused.WINDOW)
    tasks.settle_refused()
    assert len(journal()) == 2
