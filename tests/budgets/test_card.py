"""The card of a used-up cap: what it says of the cap and of the deadline is what happens; its forms; who sees what."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from escalations import limits
from escalations.models import Escalation
from runs.agents import prices
from runs.definitions import End, ErrorPolicy, Fallback, Pipeline, Policy, Repair
from runs.engine import sweep
from runs.engine.spend import budgets
from runs.limits.kinds import LimitKind, Window
from runs.models import Account, Call, Limit, Question, QuestionKind, Run, TopUp
from tests import factories
from tests.budgets.parked import limited, parked, ran, standing
from tests.budgets.test_pages import signed_in
from tests.deploys.flows import installed
from tests.faults import counts
from tests.runs import flows
from tests.screens.reading import Page, read

pytestmark = pytest.mark.django_db(transaction=True)

# Every kind that the permit counts, with a cap that the run reaches: what is limited, to how much, of whom.
CAPS = [
    ("turns/run", "1", "organisation:"),
    ("cost/day", "0.000002", "model:simulated/payer"),
    ("tokens/minute", "2", "organisation:"),
    ("model_calls/run", "1", "workflow:paying"),
    ("tool_calls/run", "0", "team:Testers"),
    ("tokens/run", "2", "agent:payer"),
    ("cost/run", "0.000002", "organisation:"),
    ("tokens/hour", "2", "organisation:"),
    ("cost/month", "0.000002", "provider:simulated"),
]
WHOLE = counts.of(fast=2, soak=len(CAPS))  # so many take every way out; each of the others another one


def card(client: Client, escalation: Escalation) -> Page:
    return read(client.get(f"/escalations/{escalation.pk}"))


def send(client: Client, escalation: Escalation, **given: str) -> int:
    path = f"/escalations/{escalation.pk}/top-up"
    form = card(client, escalation).forms[path]
    answer = client.post(path, form | {"pick": "", "reason": "it is nearly done"} | given)
    return answer.status_code


@pytest.mark.parametrize(("what", "value", "scope"), CAPS)
def test_what_the_card_says_of_the_cap_and_of_every_way_out_is_what_happens(
    what: str, value: str, scope: str, ines: User, marta: User
) -> None:
    """At the cap nothing more is sent; then each of: the deadline, an end by a person, look again, a top-up."""
    limited(ines, what, value, scope)
    client = signed_in(marta)
    ways = (expires, expires_first, ended, looked_at_again, topped_up)
    number = CAPS.index((what, value, scope))
    for way in ways if number < WHOLE else (ways[number % len(ways)],):
        escalation = parked()
        assert escalation.question.kind == QuestionKind.LIMIT
        words = card(client, escalation).text
        now = standing(escalation)
        for told in (now.used_words, now.cap_words, now.need_words, now.lacks_words):
            assert told in words
        assert "Nothing more at pay, until there is room for the call that asks" in words
        sent = Call.objects.filter(run=escalation.run_id).count()
        factories.advanced(escalation.run)
        assert Call.objects.filter(run=escalation.run_id).count() == sent
        way(client, escalation, words)
        TopUp.objects.all().delete()


def expires(client: Client, escalation: Escalation, words: str) -> None:
    """The card's deadline is the run's own where that comes first, as here: then it fails; else it ends there."""
    assert "With room before then, it goes on by itself." in words
    run, question = escalation.run, escalation.question
    later = question.expires_at - timezone.now() + timedelta(seconds=1)
    Run.objects.filter(pk=run.pk).update(deadline_at=run.deadline_at - later)
    Question.objects.filter(pk=question.pk).update(expires_at=question.expires_at - later)
    sweep.expire_questions()
    assert "The run fails: its own deadline is" in words
    assert factories.advanced(run).state == "failed"
    assert "The run failed, because its own deadline had passed." in card(client, escalation).text


def expires_first(client: Client, escalation: Escalation, words: str) -> None:
    Question.objects.filter(pk=escalation.question_id).update(
        expires_at=timezone.now() - timedelta(seconds=1)
    )
    page = card(client, escalation).text
    assert "The run ends at pay. With room before then, it goes on by itself." in page
    sweep.expire_questions()
    assert factories.advanced(escalation.run).state == "ended"
    assert "The run ended at pay." in card(client, escalation).text


def ended(client: Client, escalation: Escalation, words: str) -> None:
    assert "The run ends at pay, with your reason." in words
    path = f"/escalations/{escalation.pk}/reject"
    form = card(client, escalation).forms[path]
    client.post(path, form | {"reason": "enough"})
    assert factories.advanced(escalation.run).state == "ended"


def looked_at_again(client: Client, escalation: Escalation, words: str) -> None:
    path = f"/escalations/{escalation.pk}/approve"
    form = card(client, escalation).forms[path]
    client.post(path, form)
    run = factories.advanced(escalation.run)
    again = factories.escalation_of(run)
    assert again.pk != escalation.pk
    assert again.question.kind == QuestionKind.LIMIT
    end(client, again)


def end(client: Client, escalation: Escalation) -> None:
    path = f"/escalations/{escalation.pk}/reject"
    client.post(path, card(client, escalation).forms[path] | {"reason": "enough"})
    factories.advanced(escalation.run)


def topped_up(client: Client, escalation: Escalation, words: str) -> None:
    assert "goes on at the same call: what is done is not done again, and the agent is told nothing." in words
    paid = list(flows.CASHBOX.paid)
    unit = standing(escalation)
    needs = unit.need * 20 + unit.lacks
    amount = unit.words(needs)
    assert send(client, escalation, amount=amount) == 302
    run = factories.advanced(escalation.run)
    assert run.state == "done", [(one.title, one.reason) for one in run.questions.all()]
    assert len(flows.CASHBOX.paid) - len(paid) <= 1
    (attempt,) = run.steps.get(node="pay").attempts.all()
    assert attempt.note == ""
    again = "\n".join(
        str(one) for one in run.calls.filter(kind="model").values_list("request__content", flat=True)
    )
    assert "it is nearly done" not in again


def test_room_before_the_deadline_lets_it_go_on_by_itself_as_the_card_says(ines: User, marta: User) -> None:
    limited(ines, "tokens/hour", "2")
    escalation = parked()
    assert "With room before then, it goes on by itself." in card(signed_in(marta), escalation).text
    Account.objects.filter(window="hour").update(begins=timezone.now() - timedelta(hours=3))
    number = limited_more(ines)
    assert number
    assert budgets.reconsider() == 1
    assert factories.advanced(escalation.run).state == "done"


def limited_more(actor: User) -> int:
    number = Limit.objects.get().pk
    limits.change(
        actor=actor,
        line=number,
        seen=str(number),
        given={"value": "900000", "mode": "enforce"},
        reason="more",
    )
    return number


def test_an_amount_that_was_chosen_and_another_that_was_written_are_not_guessed_between(
    ines: User, marta: User
) -> None:
    limited(ines)
    escalation = parked()
    client = signed_in(marta)
    assert "for ten such calls" in card(client, escalation).text
    assert send(client, escalation, pick="1", amount="9") == 422
    assert not TopUp.objects.exists()
    assert send(client, escalation, amount="9") == 302
    assert TopUp.objects.get().amount == 9


def test_the_form_offers_what_the_call_lacks_and_says_which_need_another_admin(
    ines: User, marta: User, settings: Settings
) -> None:
    settings.LIMITS_ALONE = {(LimitKind.MODEL_CALLS, Window.RUN): 2}
    limited(ines)
    escalation = parked()
    client = signed_in(marta)
    page = card(client, escalation)
    assert "what this call lacks" in page.text
    assert "Up to a cap of 2 you may do it alone" in page.text
    assert send(client, escalation, amount="2") == 302
    page = card(client, escalation)
    assert "You proposed model calls of this run: from 1 to 3" in page.text
    assert f"/escalations/{escalation.pk}/top-up" not in page.forms
    admin = signed_in(ines)
    page = card(admin, escalation)
    (where,) = [one for one in page.forms if one.endswith("/agree")]
    assert where not in card(client, escalation).forms
    assert admin.post(where, page.forms[where]).status_code == 302
    assert factories.advanced(escalation.run).state == "done"
    assert "Ines Okafor topped this up by 2" in card(client, escalation).text


def test_what_is_wrong_stands_beside_its_field_and_what_was_typed_is_kept(ines: User, marta: User) -> None:
    limited(ines)
    escalation = parked()
    client = signed_in(marta)
    path = f"/escalations/{escalation.pk}/top-up"
    form = card(client, escalation).forms[path]
    page = read(client.post(path, form | {"pick": "", "amount": "many", "reason": "", "until": ""}), 422)
    assert "Write a whole number, such as 12 or 1,500." in page.text
    assert "Say why more is allowed." in page.text
    assert page.forms[path]["amount"] == "many"


def test_an_auditor_reads_the_figures_and_has_no_form(ines: User, tomasz: User) -> None:
    limited(ines)
    escalation = parked()
    page = card(signed_in(tomasz), escalation)
    assert "Used or reserved" in page.text
    assert f"/escalations/{escalation.pk}/top-up" not in page.forms
    assert signed_in(tomasz).post(f"/escalations/{escalation.pk}/top-up", {"amount": "1"}).status_code == 403


def test_one_form_tops_up_all_that_stand_at_the_same_limit_each_as_its_own_act(
    ines: User, marta: User
) -> None:
    limited(ines)
    cards = [parked() for _ in range(3)]
    client = signed_in(marta)
    assert "The same for the 2 others at this limit" in card(client, cards[0]).text
    assert send(client, cards[0], amount="1", beside="1") == 302
    assert len(factories.journal(act="top up")) == 3
    for one in cards:
        assert factories.advanced(one.run).state == "done"


def test_a_shared_budget_says_how_many_runs_wait_for_it(ines: User, marta: User) -> None:
    limited(ines, "cost/day", "0.000002", "workflow:paying")
    cards = [parked() for _ in range(3)]
    page = card(signed_in(marta), cards[0])
    assert "3 runs wait for this budget" in page.text
    (link,) = [one for one in page.links() if one.startswith("/?q=")]
    listed = read(signed_in(marta).get(link)).text
    for one in cards:
        assert f"run {one.run_id}" in listed or str(one.pk) in listed


def test_the_card_of_an_unpriced_model_says_how_to_set_its_price(
    ines: User, marta: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prices, "PRICES", {})
    limited(ines, "cost/day", "10")
    run: Run = ran()
    words = card(signed_in(marta), factories.escalation_of(run)).text
    assert "Model 'simulated/payer' has no price: state it in MODEL_PRICES" in words
    assert "simulated/payer=IN/OUT in dollars per million tokens" in words
    assert not Call.objects.filter(run=run, kind="model").exists()


@pytest.mark.parametrize("data", [End(), Repair(times=3, then=End()), Fallback(models=("simulated/other",))])
def test_no_policy_ends_or_tries_again_what_only_a_price_can_mend(
    data: Policy, marta: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One event of the guard, one card, no retry; with a price the run goes on from it."""
    draft, pay = flows.PAYING.pattern.nodes
    nodes = (draft, replace(pay, errors=ErrorPolicy(data=data)))
    with installed(replace(flows.PAYING, name="paying_strictly", pattern=Pipeline(nodes=nodes))):
        with monkeypatch.context() as without:
            without.setattr(prices, "PRICES", {})
            run = ran("paying_strictly")
        run.refresh_from_db()
        assert (run.state, run.retries) == ("waiting", 0)
        (told,) = [one.data for one in run.events.filter(kind="guard")]
        assert (told["guard"], told["scope"], told["mode"]) == ("price", "model simulated/payer", "enforce")
        escalation = factories.escalation_of(run)
        path = f"/escalations/{escalation.pk}/approve"
        client = signed_in(marta)
        client.post(path, card(client, escalation).forms[path])
        assert factories.advanced(run).state == "done"


def test_every_question_of_this_kind_speaks_of_its_limit_alone(ines: User, marta: User) -> None:
    number = limited(ines)
    page = card(signed_in(marta), parked())
    assert f"/limits/{number}#limit" in page.links()


def test_who_ends_a_run_at_a_cap_is_offered_reasons_for_that_and_not_those_against_an_action(
    ines: User, marta: User
) -> None:
    limited(ines)
    page = card(signed_in(marta), parked())
    assert "End the run of E-" in page.text
    assert "Not worth more" in page.text
    assert "Wrong payee" not in page.text
