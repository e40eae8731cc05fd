"""The card of claims that do not stand, and what a person does with them: each an act of its own, on record."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from escalations import decisions
from escalations.expected import Changed, IllegalMove, Invalid
from escalations.models import Escalation
from runs import bodies
from runs.engine import answers
from runs.engine.record import now
from runs.models import Question, Run
from tests import factories
from tests.factories import journal, shown
from tests.screens.reading import read
from tests.verify import flows
from tests.verify.flows import INVENTED, OPENED, SPAN

pytestmark = pytest.mark.django_db(transaction=True)


def _lines(escalation: Escalation) -> list[str]:
    run = factories.advanced(Run.objects.get(pk=escalation.run_id))
    assert run.state == "done", run.state
    assert run.output
    return list(bodies.load(run.output)["lines"])


def _post(client: Client, escalation: Escalation, **fields: str) -> Any:
    seen = shown(escalation)
    given = {"version": seen["version"], "digest": seen["digest"], **fields}
    return client.post(f"/escalations/{escalation.pk}/claims", given)


def _card(client: Client, escalation: Escalation) -> Any:
    return read(client.get(f"/escalations/{escalation.pk}"))


def test_the_card_shows_a_claim_beside_what_is_missing_and_those_that_stand(operator: Client) -> None:
    page = _card(operator, flows.doubted())
    for words in (INVENTED["text"], "was painted green in 1949", "It does not stand there.", "paper.read"):
        assert words in page.text
    assert page.text.index(INVENTED["text"]) < page.text.index("It does not stand there.")
    after = page.text.index("Claims that stand")
    assert page.text.index(OPENED["text"], after)
    assert "Go on with what stands" in page.text
    assert "Send back" not in page.text, "its definition names nobody who might make them anew"


def test_a_dropped_claim_is_left_out_and_the_entry_names_it(operator: Client) -> None:
    escalation = flows.doubted()
    _post(operator, escalation, **{"claim.2": "drop"})
    assert _lines(escalation) == [OPENED["text"], SPAN["text"]]
    (entry,) = journal(act="drop claims")
    details = json.loads(entry.body)["details"]
    assert details["dropped"] == [INVENTED["text"]]
    assert "confirmed" not in details


def test_a_confirmed_claim_goes_on_with_a_reason_and_the_entry_names_it(operator: Client) -> None:
    escalation = flows.doubted()
    _post(operator, escalation, **{"claim.2": "confirm", "reason": "I have seen the paint."})
    assert _lines(escalation) == [OPENED["text"], SPAN["text"], INVENTED["text"]]
    (entry,) = journal(act="confirm claims")
    assert json.loads(entry.body)["details"]["confirmed"] == [INVENTED["text"]]
    assert entry.reason == "I have seen the paint."


def test_nobody_confirms_without_a_reason_and_the_mark_is_kept(operator: Client) -> None:
    escalation = flows.doubted()
    answer = _post(operator, escalation, **{"claim.2": "confirm", "reason": " "})
    page = read(answer, 422)
    assert "Say how you know" in page.text
    marked = [given for tag, given in page.tags if given.get("name") == "claim.2" and "checked" in given]
    assert [one["value"] for one in marked] == ["confirm"]
    assert Escalation.objects.get(pk=escalation.pk).state == "open"


@pytest.mark.parametrize("number", [0, 7, -1])
def test_only_claims_that_do_not_stand_can_be_confirmed(people: dict[str, User], number: int) -> None:
    escalation = flows.doubted()
    with pytest.raises(Invalid, match="Mark at least one"):
        decisions.confirm(actor=people["operator"], numbers=[number], reason="Because.", **shown(escalation))


def test_claims_are_not_approved_as_they_are(people: dict[str, User]) -> None:
    with pytest.raises(Invalid, match="confirm, drop or edit"):
        decisions.approve(actor=people["operator"], **shown(flows.doubted()))


def test_an_edit_is_held_against_the_evidence_again(people: dict[str, User]) -> None:
    escalation, actor = flows.doubted(), people["operator"]
    still = [OPENED, {**INVENTED, "text": "It was painted red."}]
    decisions.edit(actor=actor, value={"claims": still}, **shown(escalation))
    draft = Escalation.objects.get(pk=escalation.pk).draft
    assert draft is not None
    assert [one["text"] for one in draft["open"]] == ["It was painted red."]
    with pytest.raises(Invalid, match="confirm, drop or edit"):
        decisions.approve(actor=actor, **shown(escalation))
    decisions.edit(actor=actor, value={"claims": [OPENED]}, **shown(escalation))
    decisions.approve(actor=actor, **shown(escalation))
    assert _lines(escalation) == [OPENED["text"]]


def test_of_an_edit_the_claims_that_do_not_stand_are_dropped(people: dict[str, User]) -> None:
    escalation, actor = flows.doubted(), people["operator"]
    decisions.edit(actor=actor, value={"claims": [INVENTED, SPAN]}, **shown(escalation))
    decisions.drop(actor=actor, **shown(escalation))
    assert _lines(escalation) == [SPAN["text"]]


def test_what_was_shown_before_an_edit_is_not_decided(people: dict[str, User]) -> None:
    escalation, actor = flows.doubted(), people["operator"]
    seen = shown(escalation)
    decisions.edit(actor=actor, value={"claims": [OPENED]}, **shown(escalation))
    with pytest.raises(Changed):
        decisions.drop(actor=actor, **seen)


def test_claims_are_sent_back_only_to_the_agent_that_the_definition_names(
    operator: Client, people: dict[str, User]
) -> None:
    with pytest.raises(IllegalMove):
        decisions.respond(actor=people["operator"], text="again", **shown(flows.doubted()))
    escalation = flows.doubted("verifying_again")
    assert "Send back to verify_other" in _card(operator, escalation).text
    decisions.respond(actor=people["operator"], text="Read it again.", **shown(escalation))
    assert _lines(escalation) == [OPENED["text"]]


def test_the_card_says_what_its_deadline_does_and_that_is_what_happens(operator: Client) -> None:
    escalation = flows.doubted()
    words = "The claims are not handed on, none of them; the run ends at verify."
    assert words in " ".join(_card(operator, escalation).text.split())
    Question.objects.filter(pk=escalation.question_id).update(expires_at=now() - timedelta(seconds=1))
    assert answers.expire(escalation.question_id)
    run = factories.advanced(Run.objects.get(pk=escalation.run_id))
    assert run.state == "ended"
    assert [step.node for step in run.steps.order_by("seq")] == ["research", "verify"]


def test_other_cards_know_no_claims(people: dict[str, User]) -> None:
    other = shown(factories.approval())
    with pytest.raises(IllegalMove):
        decisions.drop(actor=people["operator"], **other)
    with pytest.raises(IllegalMove):
        decisions.confirm(actor=people["operator"], numbers=[0], reason="why", **other)


def test_an_auditor_reads_the_card_and_marks_nothing(auditor: Client) -> None:
    page = _card(auditor, flows.doubted())
    assert INVENTED["text"] in page.text
    assert "Go on with what stands" not in page.text
    assert [given for tag, given in page.tags if tag == "fieldset" and "disabled" in given]


def test_words_of_an_agent_are_no_markup_on_the_card(operator: Client) -> None:
    escalation = flows.doubted()
    action = escalation.question.action
    action["open"][0]["text"] = action["open"][0]["lacks"][0]["quote"] = "<img src=x onerror=alert(1)>"
    type(escalation.question).objects.filter(pk=escalation.question_id).update(action=action)
    page = _card(operator, escalation)
    assert "<img src=x" in page.text
    assert not [given for tag, given in page.tags if tag == "img"]
