"""Taking and giving back: one holder, who is named to everybody else."""

from __future__ import annotations

from functools import partial

import pytest
from django.contrib.auth.models import User

from escalations import claims, decisions
from escalations.expected import AlreadyDecided, IllegalMove, NotThere
from escalations.models import Escalation
from tests.factories import approval, at_once, journal, shown

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_taken_one_is_refused_to_another_operator_who_learns_the_holder(
    operator: User, colleague: User
) -> None:
    escalation = approval()
    claims.take(actor=operator, escalation_id=escalation.pk)
    for act in (claims.take, claims.release):
        with pytest.raises(IllegalMove, match="Marta Oliveira holds"):
            act(actor=colleague, escalation_id=escalation.pk)
    assert Escalation.objects.get(pk=escalation.pk).taken_by == operator


def test_a_claim_leaves_version_and_digest_as_they_were_shown(operator: User) -> None:
    escalation = approval()
    seen = shown(escalation)
    claims.take(actor=operator, escalation_id=escalation.pk)
    assert shown(escalation) == seen


def test_taking_twice_keeps_the_first_time(operator: User) -> None:
    escalation = approval()
    first = claims.take(actor=operator, escalation_id=escalation.pk)
    second = claims.take(actor=operator, escalation_id=escalation.pk)
    assert first.taken_at == second.taken_at


def test_an_admin_takes_over_and_the_journal_says_from_whom(operator: User, admin: User) -> None:
    escalation = approval()
    claims.take(actor=operator, escalation_id=escalation.pk)
    claims.take(actor=admin, escalation_id=escalation.pk)
    (entry,) = journal(act="take over")
    assert entry.actor == admin
    assert '"from":"Marta Oliveira"' in entry.body
    assert Escalation.objects.get(pk=escalation.pk).taken_by == admin


def test_an_admin_releases_what_an_operator_holds(operator: User, admin: User, colleague: User) -> None:
    escalation = approval()
    claims.take(actor=operator, escalation_id=escalation.pk)
    claims.release(actor=admin, escalation_id=escalation.pk)
    assert claims.take(actor=colleague, escalation_id=escalation.pk).taken_by == colleague


def test_what_nobody_holds_cannot_be_released(operator: User) -> None:
    escalation = approval()
    with pytest.raises(IllegalMove, match="Nobody holds"):
        claims.release(actor=operator, escalation_id=escalation.pk)


def test_what_is_decided_cannot_be_taken(operator: User, colleague: User) -> None:
    escalation = approval()
    decisions.reject(actor=operator, **shown(escalation), reason="no")
    with pytest.raises(AlreadyDecided):
        claims.take(actor=colleague, escalation_id=escalation.pk)


def test_what_does_not_exist_is_said_to_be_missing(operator: User) -> None:
    with pytest.raises(NotThere):
        claims.take(actor=operator, escalation_id=4711)
    assert journal(act="take")[0].target == "E-4711"


def test_of_two_who_take_at_once_one_holds_it(operator: User, colleague: User) -> None:
    for _ in range(10):
        escalation = approval()
        results = at_once(
            partial(claims.take, actor=operator, escalation_id=escalation.pk),
            partial(claims.take, actor=colleague, escalation_id=escalation.pk),
        )
        assert sorted(isinstance(one, IllegalMove) for one in results) == [False, True]
