"""Others are posted against an order between an invoice's checks and its posting: a person decides on what is left."""

from __future__ import annotations

from typing import Any

import pytest

from escalations import decisions
from escalations.models import Escalation
from opsconsole.shipped.invoice_intake import agents, ledger
from runs.models import Call, CallState, Run
from tests import factories
from tests.shipped.intake import proposed

pytestmark = pytest.mark.django_db(transaction=True)


def post_two_others() -> None:
    """What uses the order up: it covers two such invoices."""
    for copy in ("one", "two"):
        arguments = proposed("02-northgate.txt").arguments.model_copy(update={"invoice_number": f"NG-{copy}"})
        ledger.current().post(arguments, key=copy, hand_over=lambda send: send(0.25))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Escalation:
    """A run whose order was used up after it had been checked: the clerk was about to speak."""
    words = agents._words
    done: list[bool] = []

    def meanwhile(*given: Any) -> str:
        if not done:
            done.append(True)
            post_two_others()
        return words(*given)

    monkeypatch.setattr(agents, "_words", meanwhile)
    run = factories.advanced(
        factories.started("invoice_intake", folder="samples", file="02-northgate.txt", goal="")
    )
    return factories.escalation_of(run)


def test_a_person_is_asked_with_what_the_ledger_has_now(asked: Escalation) -> None:
    question = asked.question
    assert question.kind == "approval"
    failed = {check["title"]: dict(check["details"]) for check in question.evidence if not check["ok"]}
    meanwhile = failed["Others were posted meanwhile, and the order does not cover this invoice any more"]
    assert meanwhile["Posted when checked"] == "0.00"
    assert meanwhile["Posted now"].replace(",", "") == question.action["arguments"]["order_posted"]
    assert len(ledger.current().entries()) == 2
    assert not Call.objects.filter(run=asked.run, name=agents.POST_INVOICE, state=CallState.DONE).exists()


def test_approving_posts_it_all_the_same(asked: Escalation) -> None:
    marta = factories.person("marta", "operator")
    decisions.approve(actor=marta, **factories.shown(asked))
    run = factories.advanced(asked.run)
    assert run.state == "done"
    assert len(ledger.current().entries()) == 3


def test_rejecting_posts_nothing(asked: Escalation) -> None:
    marta = factories.person("marta", "operator")
    decisions.reject(actor=marta, reason="Outside policy", **factories.shown(asked))
    run = factories.advanced(asked.run)
    assert (run.state, len(ledger.current().entries())) == ("done", 2)


def test_posted_once_more_meanwhile_it_is_asked_about_again(asked: Escalation) -> None:
    arguments = proposed("02-northgate.txt").arguments.model_copy(
        update={"invoice_number": "NG-three", "order_posted": None}
    )
    ledger.current().post(arguments, key="three", hand_over=lambda send: send(0.25))
    marta = factories.person("marta", "operator")
    decisions.approve(actor=marta, **factories.shown(asked))
    run = factories.advanced(Run.objects.get(pk=asked.run_id))
    assert (run.state, len(ledger.current().entries())) == ("waiting", 3)
