"""Two people, or a person and the machine, at the same moment: threads on the real PostgreSQL."""

from __future__ import annotations

from functools import partial

import pytest
from django.contrib.auth.models import User

from escalations import controls, decisions
from escalations.audit import chain
from escalations.expected import AlreadyDecided, Changed, IllegalMove
from escalations.models import Decision, Escalation, JournalEntry
from runs.models import Question, Run
from tests import factories
from tests.factories import approval, at_once, journal, shown
from tests.runs import flows

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 20


def test_of_two_deciders_exactly_one_wins_and_the_other_learns_who_and_what(
    operator: User, colleague: User
) -> None:
    for _ in range(ROUNDS):
        escalation = approval()
        seen = shown(escalation)
        yes, no = at_once(
            partial(decisions.approve, actor=operator, **seen),
            partial(decisions.reject, actor=colleague, **seen, reason="no"),
        )
        decision = Decision.objects.get(escalation=escalation)
        loser = no if decision.verb == "approve" else yes
        assert isinstance(loser, AlreadyDecided)
        expected = (
            ("Marta Oliveira", "approved") if decision.verb == "approve" else ("Jonas Weber", "rejected")
        )
        assert (loser.who, loser.what) == expected
        assert Question.objects.get(pk=escalation.question_id).verb == decision.verb
    assert Decision.objects.count() == ROUNDS
    assert len(journal(act__in=["approve", "reject"], outcome="done")) == ROUNDS
    assert len(journal(act__in=["approve", "reject"], outcome="conflict")) == ROUNDS
    _numbers_are_gap_free()


def test_an_approval_never_lets_happen_what_an_edit_has_just_replaced(
    operator: User, colleague: User
) -> None:
    for _ in range(ROUNDS):
        escalation = approval(500)
        seen = shown(escalation)
        approved, _edited = at_once(
            partial(decisions.approve, actor=operator, **seen),
            partial(decisions.edit, actor=colleague, **seen, value={"amount": 120}),
        )
        fresh = Escalation.objects.get(pk=escalation.pk)
        if isinstance(approved, Decision):
            assert (fresh.version, approved.digest) == (1, seen["digest"])
        else:
            assert isinstance(approved, Changed)
            assert (fresh.version, fresh.state) == (2, "open")


def test_many_who_edit_at_once_produce_one_new_version(operator: User) -> None:
    escalation = approval(500)
    seen = shown(escalation)
    results = at_once(
        *(
            partial(decisions.edit, actor=operator, **seen, value={"amount": amount})
            for amount in range(101, 109)
        )
    )
    assert sum(isinstance(one, Escalation) for one in results) == 1
    assert sum(isinstance(one, Changed) for one in results) == 7
    assert Escalation.objects.get(pk=escalation.pk).version == 2


def test_an_approval_and_a_stop_at_once_both_hold(operator: User, admin: User) -> None:
    """Whoever is first: the decision is kept, and nothing is paid while the stop is engaged."""
    for _ in range(ROUNDS):
        escalation = approval(500)
        decided, control, _ = at_once(
            partial(decisions.approve, actor=operator, **shown(escalation)),
            partial(controls.engage, actor=admin, kind="stop", scope_kind="everything"),
            partial(factories.advanced, escalation.run),
        )
        assert isinstance(decided, Decision)
        paid = list(flows.CASHBOX.paid)
        assert factories.advanced(escalation.run).state in ("ready", "done")
        assert flows.CASHBOX.paid == paid
        controls.release(actor=admin, control_id=control.pk, reason="next round")
        if Run.objects.get(pk=escalation.run_id).hold == "stop":
            controls.resume(actor=admin, run_id=escalation.run_id)
        assert factories.advanced(escalation.run).state == "done"
        assert len(flows.CASHBOX.paid) == 1
        flows.CASHBOX.paid.clear()
    _numbers_are_gap_free()


def test_many_acts_at_once_end_without_deadlock_and_leave_a_whole_journal(
    operator: User, colleague: User, admin: User
) -> None:
    asked = [approval(500) for _ in range(6)]
    results = at_once(
        *(partial(decisions.approve, actor=operator, **shown(one)) for one in asked),
        *(partial(decisions.reject, actor=colleague, **shown(one), reason="no") for one in asked),
        *(partial(controls.engage, actor=admin, kind="pause", scope_kind="everything") for _ in range(2)),
        *(partial(factories.advanced, one.run) for one in asked),
    )
    unexpected = [
        one
        for one in results
        if isinstance(one, Exception) and not isinstance(one, (AlreadyDecided, IllegalMove))
    ]
    assert unexpected == []
    assert Decision.objects.count() == len(asked)
    _numbers_are_gap_free()


def _numbers_are_gap_free() -> None:
    numbers = list(JournalEntry.objects.order_by("seq").values_list("seq", flat=True))
    assert numbers == list(range(1, len(numbers) + 1))
    assert chain.verify() is None
