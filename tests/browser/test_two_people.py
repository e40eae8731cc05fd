"""Two people at one escalation, and one who may only read."""

import re
from typing import Final

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Sit
from tests.browser.person import Person

PAGES: Final = (
    "/",
    "/runs/",
    "/controls/",
    "/interventions/",
    "/runs/start/invoice_intake",
    "/search?q=ried",
)


def test_who_comes_second_is_told_who_was_first_and_keeps_their_words(
    sit: Sit, operator: Person, admin: Person
) -> None:
    asked = operator.asked()
    page = sit("operator", f"/escalations/{asked.escalation}", refusals=(409,))
    page.keyboard.press("r")
    page.get_by_label("In your words").fill("The account looks new to me")
    assert admin.decide("approve", asked.escalation).status == 302
    expect(page.locator("[data-moved]")).to_be_visible()
    expect(page.get_by_label("In your words")).to_have_value("The account looks new to me")

    page.locator("#reject").get_by_role("button", name="Reject").click()
    note = page.get_by_role("alert")
    expect(note).to_contain_text(re.compile("approved by Ines Okafor"))
    expect(note).to_have_attribute("data-s", "hand")
    expect(note.locator(".kept")).to_have_text("The account looks new to me")
    expect(page.locator("#approve")).to_have_count(0)
    expect(page.locator("#card")).to_have_attribute("data-state", "decided")
    operator.until("/interventions/list?act=reject&outcome=conflict", f"E-{asked.escalation}")


def test_a_decision_shows_on_the_card_of_everybody_who_is_reading_it(
    sit: Sit, operator: Person, admin: Person
) -> None:
    asked = operator.asked()
    page = sit("operator", f"/escalations/{asked.escalation}")
    admin.decide("reject", asked.escalation, reason="Paid already")
    expect(page.locator("#card")).to_have_attribute("data-state", "decided")
    expect(page.locator("#card")).to_contain_text("Ines Okafor rejected this")
    expect(page.locator("#card")).to_contain_text("Paid already")


def test_who_edited_meanwhile_is_named_and_nothing_is_approved_unseen(
    sit: Sit, operator: Person, admin: Person
) -> None:
    asked = operator.asked()
    page = sit("operator", f"/escalations/{asked.escalation}", refusals=(409,))
    page.keyboard.press("r")
    page.get_by_label("In your words").fill("Half a thought")  # keeps the old card standing
    changed = {"field.amount": "1.00"}
    form = admin.read(f"/escalations/{asked.escalation}?mode=edit")
    given = dict(re.findall(r'name="(field\.\w+)"\s+value="([^"]*)"', form))
    assert admin.decide("edit", asked.escalation, **(given | changed)).status == 302
    expect(page.locator("[data-moved]")).to_be_visible()
    page.keyboard.press("Escape")
    page.locator("#approve").click()
    expect(page.get_by_role("alert")).to_contain_text("edited by Ines Okafor")
    expect(page.get_by_role("alert")).to_have_attribute("data-s", "care")
    expect(page.locator("#card")).to_have_attribute("data-state", "open")
    expect(page.locator("#card .diff ins", has_text="1.00")).to_be_visible()


def test_an_auditor_reads_every_page_and_finds_nothing_to_do_on_it(sit: Sit, operator: Person) -> None:
    asked = operator.asked()
    page = sit("auditor")
    for path in (*PAGES, f"/escalations/{asked.escalation}", f"/runs/{asked.run}"):
        page.goto(path)
        expect(page.get_by_role("heading", level=1).first).to_be_visible()
        assert acts(page) <= {"/sign-out", "/interventions/export"}, path
        expect(page.locator("#stop-open, #approve, [data-key=a], [data-key=c]")).to_have_count(0)
    page.keyboard.press("Shift+S")
    expect(page.locator("#stop")).to_have_count(0)


@pytest.mark.parametrize("act", ["approve", "reject", "take", "edit", "respond"])
def test_what_an_auditor_sends_past_the_page_is_refused_and_recorded(
    operator: Person, auditor: Person, act: str
) -> None:
    asked = operator.asked()
    card = operator.read(f"/escalations/{asked.escalation}")
    seen = {
        name: found.group(1)
        for name in ("version", "digest")
        if (found := re.search(rf'name="{name}"\s+value="(\w+)"', card))
    }
    response = auditor.post(f"/escalations/{asked.escalation}/{act}", {**seen, "reason": "x", "text": "x"})
    assert response.status == 403
    assert "Tomasz Nowak" in response.text()
    assert 'data-state="open"' in operator.read(f"/escalations/{asked.escalation}")
    query = f"person=Tomasz+Nowak&outcome=refused&text=E-{asked.escalation}"
    auditor.until(f"/interventions/list?{query}", f">{act}<")


def acts(page: Page) -> set[str]:
    """Where the forms of a page that have a button would post to."""
    forms = page.locator("form[method=post]:has(button)")
    addresses = forms.evaluate_all("forms => forms.map(form => form.action)")
    return {"/" + address.split("/", 3)[3] for address in addresses}
