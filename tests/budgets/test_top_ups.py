"""Topping up through the one door: who may, how much alone, who was first, and what the run does with it."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import Settings

from escalations import decisions, limits, topups
from escalations.audit import chain
from escalations.expected import AlreadyDecided, IllegalMove, Invalid, NotAllowed, Refusal
from escalations.models import Decision, Escalation, TopUpProposal
from escalations.topups import Proposed
from runs.engine.spend import budgets
from runs.limits.kinds import LimitKind, Window
from runs.models import Account, Call, Question, QuestionKind, Run, TopUp
from tests import factories
from tests.budgets.parked import limited, parked, ran, standing, top_up
from tests.factories import at_once, journal
from tests.faults import counts
from tests.runs import flows

pytestmark = pytest.mark.django_db(transaction=True)

CALLS = (LimitKind.MODEL_CALLS, Window.RUN)


def test_a_used_up_cap_parks_the_run_and_after_a_top_up_it_goes_on_at_the_same_call(
    ines: User, marta: User
) -> None:
    limited(ines)
    escalation = parked()
    assert escalation.question.kind == QuestionKind.LIMIT
    assert flows.CASHBOX.paid != []
    before = list(Call.objects.filter(run=escalation.run_id).values_list("pk", flat=True))
    top_up(marta, escalation)
    run = factories.advanced(escalation.run)
    assert run.state == "done"
    assert len(flows.CASHBOX.paid) == 1
    calls = Call.objects.filter(run=run)
    assert calls.count() == len(before) + 1
    (attempt,) = run.steps.get(node="pay").attempts.all()
    assert (attempt.number, attempt.note) == (1, "")


def test_the_amount_its_reason_and_what_the_cap_comes_to_are_on_record(ines: User, marta: User) -> None:
    limited(ines)
    escalation = parked()
    top_up(marta, escalation, "3")
    top = TopUp.objects.get()
    assert (top.amount, top.made_by, top.agreed_by, top.reason) == (
        3,
        "Marta Oliveira",
        "",
        "it is nearly done",
    )
    assert top.question_id == escalation.question_id
    (entry,) = journal(act="top up")
    assert (entry.outcome, entry.escalation_id, entry.reason) == ("done", escalation.pk, "it is nearly done")
    assert '{"after":"4","before":"1","field":"cap"}' in entry.body
    assert Decision.objects.get().verb == "top up"
    assert chain.verify() is None


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"amount": "lots"}, "amount"),
        ({"amount": "0"}, "amount"),
        ({"amount": "1.5"}, "amount"),
        ({"reason": " "}, "reason"),
        ({"until": "tomorrow"}, "until"),
        ({"until": "2020-01-01T00:00"}, "until"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_done(
    given: dict[str, str], field: str, ines: User, marta: User
) -> None:
    limited(ines)
    escalation = parked()
    with pytest.raises(Invalid) as wrong:
        top_up(marta, escalation, given.pop("amount", "1"), **given)
    assert [name for name, _ in wrong.value.errors] == [field]
    assert not TopUp.objects.exists()
    assert Escalation.objects.get(pk=escalation.pk).state == "open"


def test_an_amount_that_does_not_cover_the_call_is_refused_with_how_much_it_lacks(
    ines: User, marta: User
) -> None:
    limited(ines, "tokens/run", "1")
    escalation = parked()
    lacks = standing(escalation).lacks
    assert lacks > 1
    with pytest.raises(Invalid, match=f"At least {lacks:,}: so much does this call lack now"):
        top_up(marta, escalation, str(lacks - 1))
    top_up(marta, escalation, str(lacks))
    assert Question.objects.get(pk=escalation.question_id).verb == "top up"


def test_auditors_and_outsiders_may_not_and_the_attempt_is_on_record(ines: User, tomasz: User) -> None:
    limited(ines)
    escalation = parked()
    for who in (tomasz, factories.person("outsider")):
        with pytest.raises(NotAllowed):
            top_up(who, escalation)
    assert [entry.outcome for entry in journal(act="top up")] == ["refused", "refused"]
    assert not TopUp.objects.exists()


def test_above_the_amount_an_admin_other_than_who_proposed_it_must_agree(
    ines: User, aisha: User, marta: User, jonas: User, settings: Settings
) -> None:
    settings.LIMITS_ALONE = {CALLS: 2}
    limited(ines)
    escalation = parked()
    proposed = top_up(ines, escalation, "2")
    assert isinstance(proposed, Proposed)
    assert not TopUp.objects.exists()
    assert Escalation.objects.get(pk=escalation.pk).state == "open"
    agree = partial(topups.agree, proposal_id=proposed.proposal.pk, digest=proposed.proposal.digest)
    with pytest.raises(IllegalMove, match="another admin must agree"):
        agree(actor=ines)
    with pytest.raises(NotAllowed):
        agree(actor=jonas)
    with pytest.raises(IllegalMove, match="not the proposal that was shown"):
        agree(actor=aisha, digest="0" * 64)
    agree(actor=aisha)
    top = TopUp.objects.get()
    assert (top.amount, top.made_by, top.agreed_by) == (2, "Ines Okafor", "Aisha Rahman")
    assert factories.advanced(escalation.run).state == "done"
    (entry,) = [one for one in journal(act="agree to top up") if one.outcome == "done"]
    assert '"proposed_by":"Ines Okafor"' in entry.body
    assert '"proposed_because":"it is nearly done"' in entry.body


def test_what_was_topped_up_before_counts_towards_the_amount(
    ines: User, marta: User, settings: Settings
) -> None:
    settings.LIMITS_ALONE = {CALLS: 2}
    limited(ines)
    escalation = parked("paying")
    account = Account.objects.get(kind="model_calls", run_id=escalation.run_id)
    TopUp.objects.create(account=account, amount=1, made_by="x", reason="x", until=timezone.now())
    assert not isinstance(top_up(marta, escalation, "1"), Proposed)
    other = parked("paying")
    account = Account.objects.get(kind="model_calls", run_id=other.run_id)
    TopUp.objects.create(account=account, amount=1, made_by="x", reason="x")
    assert isinstance(top_up(marta, other, "1"), Proposed)


def test_a_proposal_is_declined_taken_back_or_expires_and_then_does_nothing(
    ines: User, aisha: User, marta: User, jonas: User, settings: Settings
) -> None:
    settings.LIMITS_ALONE = {CALLS: 1}
    limited(ines)
    escalation = parked()
    first = top_up(marta, escalation).proposal
    with pytest.raises(IllegalMove, match="Marta Oliveira has proposed to top this up"):
        top_up(jonas, escalation)
    with pytest.raises(NotAllowed, match="may not decline what Marta Oliveira proposed"):
        topups.decline(actor=jonas, proposal_id=first.pk)
    topups.decline(actor=marta, proposal_id=first.pk)
    second = top_up(marta, escalation).proposal
    topups.decline(actor=aisha, proposal_id=second.pk, reason="no")
    third = top_up(marta, escalation).proposal
    TopUpProposal.objects.filter(pk=third.pk).update(expires_at=timezone.now())
    fourth = top_up(marta, escalation).proposal  # before the clock comes to the third
    TopUpProposal.objects.filter(pk=fourth.pk).update(expires_at=timezone.now())
    assert topups.expire() == 1
    for proposal in (first, second, third, fourth):
        with pytest.raises(IllegalMove):
            topups.agree(actor=aisha, proposal_id=proposal.pk, digest=proposal.digest)
    assert not TopUp.objects.exists()
    assert [one.actor_name for one in journal(act="top up proposal expired")] == ["system", "system"]


def test_a_proposal_whose_card_is_closed_is_overtaken(
    ines: User, aisha: User, marta: User, settings: Settings
) -> None:
    settings.LIMITS_ALONE = {CALLS: 1}
    limited(ines)
    escalation = parked()
    proposal = top_up(marta, escalation).proposal

    decisions.reject(actor=ines, reason="enough", **factories.shown(escalation))
    with pytest.raises(Refusal):
        topups.agree(actor=aisha, proposal_id=proposal.pk, digest=proposal.digest)
    topups.expire()
    proposal.refresh_from_db()
    assert proposal.state == "overtaken"
    assert factories.advanced(escalation.run).state == "ended"


def test_of_two_who_top_up_at_once_one_wins_and_the_other_is_told(ines: User, marta: User) -> None:
    limited(ines)
    for _ in range(counts.of(fast=2, soak=20)):
        escalation = parked()
        results = at_once(partial(top_up, ines, escalation), partial(top_up, marta, escalation))
        assert sorted(type(one).__name__ for one in results) == ["AlreadyDecided", "Decision"]
        (loser,) = [one for one in results if isinstance(one, AlreadyDecided)]
        assert "topped up by" in loser.sentence
        assert TopUp.objects.filter(question=escalation.question_id).count() == 1
    assert chain.verify() is None


def test_two_admins_who_agree_and_decline_at_once_do_one_of_both(
    ines: User, aisha: User, marta: User, settings: Settings
) -> None:
    settings.LIMITS_ALONE = {CALLS: 1}
    limited(ines)
    for _ in range(counts.of(fast=2, soak=20)):
        escalation = parked()
        proposal = top_up(marta, escalation).proposal
        results = at_once(
            partial(topups.agree, actor=aisha, proposal_id=proposal.pk, digest=proposal.digest),
            partial(topups.decline, actor=ines, proposal_id=proposal.pk),
        )
        assert sum(isinstance(one, Refusal) for one in results) == 1, results
        proposal.refresh_from_db()
        there = TopUp.objects.filter(question=escalation.question_id).exists()
        assert there == (proposal.state == "agreed")


def test_two_top_ups_of_one_budget_at_once_cannot_pass_together_what_one_may_allow_alone(
    ines: User, aisha: User, settings: Settings
) -> None:
    settings.LIMITS_ALONE = {(LimitKind.COST, Window.DAY): 15_000_000}
    limited(ines, "cost/day", "10")
    ran()
    account = Account.objects.get(kind="cost", window="day")
    act = partial(topups.top_up_budget, account_id=account.pk, amount="3", reason="both")
    results = at_once(partial(act, actor=ines), partial(act, actor=aisha))
    assert sorted(type(one).__name__ for one in results) == ["Added", "Proposed"]


def test_a_top_up_that_ends_counts_until_then_alone(ines: User, marta: User) -> None:
    limited(ines)
    escalation = parked()
    until = (timezone.now() + timedelta(hours=1)).isoformat()
    top_up(marta, escalation, "5", until=until)
    assert standing(escalation).cap == 6
    TopUp.objects.update(until=timezone.now())
    assert standing(escalation).cap == 1


def test_a_top_up_of_a_shared_budget_takes_the_other_cards_back_as_far_as_there_is_room(
    ines: User, marta: User
) -> None:
    limited(ines, "tokens/day", "2")
    cards = [parked() for _ in range(3)]
    need = standing(cards[0]).need
    top_up(marta, cards[0], f"{2 * need}")
    states = list(Question.objects.filter(kind="limit").order_by("pk").values_list("state", flat=True))
    assert states == ["answered", "withdrawn", "open"]


def test_the_run_that_was_topped_up_keeps_its_room_from_the_others(ines: User, marta: User) -> None:
    limited(ines, "tokens/day", "2")
    cards = [parked() for _ in range(2)]
    top_up(marta, cards[0], f"{standing(cards[0]).lacks}")
    assert budgets.reconsider() == 0
    assert Question.objects.get(pk=cards[1].question_id).state == "open"


def test_a_raised_limit_takes_the_card_back_and_the_run_goes_on_by_itself(ines: User) -> None:
    number = limited(ines)
    escalation = parked()
    limits.change(
        actor=ines, line=number, seen=str(number), given={"value": "9", "mode": "enforce"}, reason="too few"
    )
    assert budgets.reconsider() == 1
    assert factories.advanced(escalation.run).state == "done"
    assert Escalation.objects.get(pk=escalation.pk).state == "withdrawn"
    assert len(flows.CASHBOX.paid) == 1


def test_a_cap_below_a_first_call_parks_it_and_can_be_topped_up(ines: User, marta: User) -> None:
    """Nothing was ever counted on that account: the refused permit took back what it had begun."""
    limited(ines, "cost/run", "0.000001")
    escalation = parked()
    assert not Call.objects.filter(run=escalation.run_id).exists()
    assert budgets.reconsider() == 0
    assert Escalation.objects.get(pk=escalation.pk).state == "open"
    top_up(marta, escalation, "1")
    assert factories.advanced(escalation.run).state == "done"


def test_a_tool_that_may_not_be_called_parks_before_it_and_is_called_once_after(
    ines: User, marta: User
) -> None:
    limited(ines, "tool_calls/run", "0")
    escalation = parked()
    assert flows.CASHBOX.paid == []
    top_up(marta, escalation)
    assert factories.advanced(escalation.run).state == "done"
    assert len(flows.CASHBOX.paid) == 1


def test_only_admins_top_up_a_budget_without_a_card(ines: User, marta: User, tomasz: User) -> None:
    limited(ines, "cost/day", "10")
    ran()
    account = Account.objects.get(kind="cost", window="day")
    act: Any = partial(topups.top_up_budget, account_id=account.pk, amount="$1.50", reason="a long night")
    for who in (marta, tomasz):
        with pytest.raises(NotAllowed):
            act(actor=who)
    act(actor=ines)
    assert TopUp.objects.get().amount == 1_500_000
    assert [one.outcome for one in journal(act="top up budget")] == ["refused", "refused", "done"]


def test_an_account_of_a_period_that_is_over_is_not_topped_up(ines: User) -> None:
    limited(ines, "cost/hour", "10")
    ran()
    Account.objects.filter(kind="cost").update(begins=timezone.now() - timedelta(hours=5))
    with pytest.raises(IllegalMove, match="is over"):
        topups.top_up_budget(
            actor=ines, account_id=Account.objects.get(kind="cost").pk, amount="1", reason="late"
        )


def test_a_limit_that_is_gone_needs_no_top_up(ines: User, aisha: User, marta: User) -> None:
    number = limited(ines)
    escalation = parked()
    proposed: Any = limits.end(actor=ines, line=number, seen=str(number), reason="not needed")
    limits.agree(actor=aisha, proposal_id=proposed.proposal.pk, digest=proposed.proposal.digest)
    with pytest.raises(IllegalMove, match="not limited any more"):
        top_up(marta, escalation)
    assert budgets.reconsider() == 1
    assert factories.advanced(Run.objects.get(pk=escalation.run_id)).state == "done"
