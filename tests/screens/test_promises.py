"""What the card promises is what the engine does: at the deadline, after a rejection, after an answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from escalations.expiry import deadline
from escalations.models import Escalation
from runs.engine import sweep
from runs.models import Question, Run
from runs.moments import told
from tests import factories
from tests.runs import flows
from tests.screens.reading import read
from tests.screens.test_acts import card, send

pytestmark = pytest.mark.django_db(transaction=True)


def expired(escalation: Escalation) -> Run:
    """The run after its question's deadline has passed and a worker has looked."""
    Question.objects.filter(pk=escalation.question_id).update(
        expires_at=timezone.now() - timedelta(seconds=1)
    )
    sweep.expire_questions()
    return factories.advanced(escalation.run)


def test_an_approval_that_expires_sends_nothing_and_the_run_goes_on(operator: Client) -> None:
    escalation = factories.approval()
    words = card(operator, escalation).text
    assert (
        "Nothing is sent; the agent is told “expired: nobody answered in time” and the run goes on." in words
    )
    run = expired(escalation)
    assert run.state == "done"
    assert flows.CASHBOX.paid == []
    assert "expired: nobody answered in time" in run.output.content  # type: ignore[union-attr]
    assert "Nothing was sent" in card(operator, escalation).text


@pytest.mark.parametrize("made", [factories.broken_contract, factories.unforeseen_error])
def test_what_is_broken_and_expires_ends_the_run_there(
    made: Callable[[], Escalation], operator: Client
) -> None:
    escalation = made()
    assert "the run ends at write." in card(operator, escalation).text.replace("The run", "the run")
    run = expired(escalation)
    assert run.state == "ended"
    assert "denied" in card(operator, escalation).text


def test_a_doubtful_effect_that_expires_is_not_repeated(operator: Client) -> None:
    escalation = factories.unknown_effect()
    assert "It is not repeated" in card(operator, escalation).text
    before = list(flows.CASHBOX.paid)
    assert expired(escalation).final
    assert flows.CASHBOX.paid == before


@pytest.mark.parametrize(
    ("made", "promise", "state"),
    [
        (
            factories.approval,
            "Nothing is sent. The agent receives the reason and the run goes on with it.",
            "done",
        ),
        (factories.unknown_effect, "It is not sent again. The agent receives the reason", "done"),
        (factories.broken_contract, "The run ends at write, with your reason.", "ended"),
        (factories.unforeseen_error, "The run ends at write, with your reason.", "ended"),
    ],
)
def test_a_rejection_leads_where_its_form_says(
    made: Callable[[], Escalation], promise: str, state: str, operator: Client
) -> None:
    escalation = made()
    before = list(flows.CASHBOX.paid)
    page = card(operator, escalation)
    assert promise in page.text
    send(operator, page, "reject", escalation, reason="No.")
    assert factories.advanced(escalation.run).state == state
    assert flows.CASHBOX.paid == before


def test_the_clock_of_a_held_run_is_said_to_stand_still_and_does(operator: Client) -> None:
    escalation = factories.approval()
    operator.post("/controls/engage", {"kind": "pause", "scope_kind": "run", "scope": str(escalation.run_id)})
    words = card(operator, escalation).text
    assert "left, clock stands" in words
    assert "At " not in words.split("clock stands")[1].split("People")[0]
    Question.objects.filter(pk=escalation.question_id).update(
        expires_at=timezone.now() - timedelta(seconds=1)
    )
    sweep.expire_questions()
    assert Escalation.objects.get(pk=escalation.pk).state == "open"


def test_the_time_of_denial_on_the_card_is_the_deadline(operator: Client) -> None:
    escalation = factories.approval()
    at = Question.objects.get(pk=escalation.question_id).expires_at
    assert f"If nobody answers by {told(at)} UTC:" in card(operator, escalation).text


def test_every_kind_says_what_its_deadline_does() -> None:
    for made in (
        factories.approval,
        factories.broken_contract,
        factories.unforeseen_error,
        factories.unknown_effect,
    ):
        question = Question.objects.select_related("run", "step").get(pk=made().question_id)
        assert deadline(question) != deadline(question, "expired")


def test_the_runs_page_shows_the_answer_in_its_place(operator: Client) -> None:
    escalation = factories.approval()
    send(operator, card(operator, escalation), "approve", escalation)
    run = factories.advanced(escalation.run)
    text = read(operator.get(f"/runs/{run.pk}")).text
    assert "Marta Oliveira approved" in text
    assert text.index("model payer") < text.index("Marta Oliveira approved") < text.index("tool cashbox.pay")
