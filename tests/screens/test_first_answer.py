"""The button that stands out is the one that mends something."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from escalations.models import Escalation
from tests import factories
from tests.runs import teams

AGAIN = "Tried again without a note, the agent is asked what it was asked before."


def first(html: str) -> list[str]:
    """The labels of the blue buttons in the bar under the card."""
    bar = html.split('class="acts"')[1].split('id="reject"')[0].split('id="respond"')[0]
    found = re.findall(r'<button class="btn do"[^>]*>(.*?)</button>', bar, re.S)
    return [" ".join(re.sub(r"<[^>]+>", " ", one).split()) for one in found]


def card(client: Client, escalation: Escalation, query: str = "") -> str:
    """The card's own markup."""
    page = client.get(f"/escalations/{escalation.pk}{query}").content.decode()
    return page.split('id="card"')[1]


@pytest.mark.parametrize("plan", ["invented tool", "bank refuses"])
def test_an_error_of_thinking_or_of_a_value_is_answered_with_a_note_first(
    operator: Client, plan: str
) -> None:
    page = card(operator, asked("paying", plan=plan, amount=50))
    assert AGAIN in page
    assert first(page) == ["Try again with a note… m"]


def test_an_error_that_may_pass_is_tried_again_first(operator: Client) -> None:
    page = card(operator, asked("writing", plan="provider down"))
    assert AGAIN not in page
    assert first(page) == ["Try write again a"]


def test_where_no_way_holds_no_answer_is_pressed_upon_people(operator: Client) -> None:
    page = card(operator, asked(teams.WRITING_ROUND.name, text="9 drafts"))
    assert first(page) == []
    assert "looking again helps when one of them has changed" in page


def test_of_an_effect_that_may_have_happened_looking_comes_first_and_sending_again_never(
    operator: Client,
) -> None:
    assert first(card(operator, factories.doubted())) == ["Look again l"]
    assert first(card(operator, factories.unknown_effect())) == []


def test_an_error_stands_once_on_its_card(operator: Client) -> None:
    page = card(operator, factories.unforeseen_error())
    assert len(re.findall(r">[^<]*nobody foresaw this", page)) == 1


def test_the_value_that_a_guard_names_is_marked_in_the_action(operator: Client) -> None:
    escalation = factories.approval(5000)
    assert "named by a failed check" in card(operator, escalation)  # by the tool's own rule: amount 5000
    question = escalation.question
    question.evidence = [
        {"ok": False, "title": "Outside", "details": [["action", "pay would get amount = 5000"]]}
    ]
    question.save()
    assert "named by a failed check" in card(operator, escalation)


def test_a_value_that_a_guard_quotes_in_small_letters_is_marked_all_the_same(operator: Client) -> None:
    escalation = factories.approval()
    question = escalation.question
    question.action = {**question.action, "arguments": {"iban": "IE69XXXX00000000999904"}}
    named = "pay would get iban = ie69xxxx00000000999904"
    question.evidence = [{"ok": False, "title": "Outside", "details": [["action", named]]}]
    question.save()
    assert "named by a failed check" in card(operator, escalation)


def test_an_edit_is_sent_from_the_bar_that_never_leaves_the_screen(operator: Client) -> None:
    page = card(operator, factories.approval(), "?mode=edit")
    bar = page.split('class="acts"')[1]
    assert 'form="edit-form"' in bar
    assert "Show as edited" not in page.split('class="acts"')[0]


def asked(workflow: str, **order: object) -> Escalation:
    return factories.escalation_of(factories.advanced(factories.started(workflow, **order)))
