"""Whatever an agent, a document or a person writes stays text on every page, and what it hides is shown."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db.models import TextField, Value
from django.db.models.functions import Cast, Concat
from django.test import Client

from escalations import controls, decisions
from runs import bodies
from runs.models import Attempt, Call, Event, Question, Run
from tests import factories
from tests.screens.reading import Page, read
from tests.screens.test_pages import pages

pytestmark = pytest.mark.django_db(transaction=True)

CORPUS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "</pre></p></dd><h1 class=forged>Approved</h1>",
    "<a href=javascript:alert(1)>x</a> [x](javascript:alert(1)) ![x](https://collect.invalid/?d=)",
    "{{ request.user }} {% csrf_token %} {# x #}",
    "&lt;b&gt; &amp; &#x3c;script&#x3e;",
    "<input name=version value=1><form action=/controls/engage method=post>",
    "<!-- --> <![CDATA[ x ]]> <?php ?>",
    "\u202e1200 0001\u202c \u200b\u200b \x1b[31m \U000e0041\U000e0042\U000e0043 \xad",
]
FORGED = {"forged"}


def poison(text: str) -> None:
    """That text in everything on a page that comes from outside."""
    for question in Question.objects.all():
        question.title, question.reason, question.words, question.group = text[:300], text, text, text[:120]
        question.action = question.action | {"error": text, "where": text, "sentence": text}
        arguments = {"amount": 500, "note": text}
        if "arguments" in question.action:
            question.action["arguments"] = arguments
        if "value" in question.action:
            question.action["value"] = {"text": text, text: [text]}
        question.evidence = [{"ok": ok, "title": text, "details": [[text, text]]} for ok in (True, False)]
        question.answered_by = text[:150] if question.state == "answered" else ""
        question.save()
    body = bodies.store({"messages": [{"role": text, "text": text, "tool_calls": []}], text: text})
    Run.objects.update(goal=text[:300], ending=text, started_by=text[:150])
    Run.objects.update(start_key=Concat(Cast("pk", TextField()), Value(text[:100]), output_field=TextField()))
    Attempt.objects.update(
        error=text, error_where=text[:200], note=text, worker=text[:120], rejected_output=body
    )
    Call.objects.update(
        error=text, request=body, response=body, model_returned=text[:120], parameters={text: text}
    )
    Event.objects.update(data={text[:40]: text})


def clean(page: Page, where: str) -> None:
    """No element and no attribute that the text brought along, and no hidden character left unnamed."""
    assert not page.classes() & FORGED, where
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], (where, tag, attributes)
        assert tag not in ("img", "iframe", "object", "embed", "svg/onload=alert(1)"), (where, tag)
        assert tag != "script" or attributes.get("src", "").startswith("/static/"), (where, attributes)
        assert not attributes.get("href", "").lower().startswith("javascript:"), (where, attributes)
        assert not attributes.get("action", "/").startswith("http"), (where, attributes)


# Together, because each goes through some sixty pages; each half fits into the shortest column.
@pytest.mark.parametrize("text", ["".join(CORPUS[:4]), "".join(CORPUS[4:])])
def test_outside_text_never_becomes_markup_on_any_page(
    text: str, operator: Client, people: dict[str, User]
) -> None:
    factories.approval()
    factories.broken_contract()
    factories.unforeseen_error()
    factories.advanced(factories.started("plain"))
    decided = factories.approval(700)
    decisions.reject(actor=people["admin"], **factories.shown(decided), reason=text)
    controls.engage(actor=people["admin"], kind="pause", scope_kind="workflow", scope="plain", reason=text)
    poison(text)
    for where in pages():
        clean(read(operator.get(where)), where)


def test_hidden_characters_are_named_on_the_card_the_run_and_the_lists(operator: Client) -> None:
    escalation = factories.approval()
    factories.advanced(factories.started("plain"))
    poison(CORPUS[-1])
    visible = ("RLO", "PDF", "ZWSP×2", "ESC", "TAG×3", "SHY")
    run = escalation.run_id
    for where in ("/", f"/escalations/{escalation.pk}", "/runs/", f"/runs/{run}", f"/runs/{run}/people"):
        response = operator.get(where)
        page = read(response)
        assert all(name in page.text for name in visible), where
        shown = response.content.decode().replace('value="', "\n").split("\n")
        assert not [
            line for line in shown if "\u202e" in line and "<textarea" not in line and "title=" not in line
        ], where


def test_a_field_that_holds_hidden_characters_says_so(operator: Client) -> None:
    escalation = factories.approval()
    question = Question.objects.get(pk=escalation.question_id)
    question.action["arguments"]["note"] = "pay\u200bee"
    question.save()
    page = read(operator.get(f"/escalations/{escalation.pk}?mode=edit"))
    assert "holds hidden characters: ZWSP" in page.text


def test_untrusted_words_stand_below_the_action_and_in_their_own_frame(operator: Client) -> None:
    escalation = factories.approval()
    html = operator.get(f"/escalations/{escalation.pk}").content.decode()
    assert html.index('id="what-h"') < html.index('id="ev-h"') < html.index('id="says-h"')
    assert html.count("APPROVED by finance.") == 1
    assert html.index('class="untrusted"') < html.index("APPROVED by finance.")


def test_failed_checks_stand_above_those_that_passed(operator: Client) -> None:
    escalation = factories.approval()
    text = read(operator.get(f"/escalations/{escalation.pk}")).text
    assert text.index("Failed: The amount is large") < text.index("Passed: The text is there")


def test_a_body_of_another_run_is_not_shown(operator: Client) -> None:
    mine, other = factories.started("plain", text="a"), factories.started("plain", text="b")
    assert operator.get(f"/runs/{mine.pk}/bodies/{mine.input_id}").status_code == 200
    assert operator.get(f"/runs/{mine.pk}/bodies/{other.input_id}").status_code == 404
