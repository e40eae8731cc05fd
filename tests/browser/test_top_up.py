"""A run parks at a turn limit in a real browser, an operator tops it up, and it goes on as if nothing had happened."""

import re

from playwright.sync_api import expect

from tests.browser.conftest import Sit
from tests.browser.person import Person, new_number
from tests.browser.test_accessibility import findings

LIMIT: dict[str, str | float | bool] = {
    "what": "turns/run",
    "scope_kind": "workflow",
    "scope": "invoice_intake",
    "value": "1",
    "mode": "enforce",
    "reason": "a test of it",
}


def test_a_run_parks_at_a_turn_limit_is_topped_up_and_goes_on(sit: Sit, admin: Person) -> None:
    line = admin.limit(LIMIT)
    number = new_number()
    run = admin.start(number)
    escalation = admin.escalation_of(run)
    try:
        page = sit("operator", f"/escalations/{escalation}")
        card = page.locator("#card")
        expect(card).to_contain_text("are used up (1 of 1)")
        expect(card.get_by_text("what this call lacks")).to_be_visible()
        assert findings(page) == []
        card.get_by_label("another amount", exact=True).check()
        card.get_by_label("Another amount", exact=True).fill("9")
        card.get_by_label("Why").fill("the letter is long")
        page.get_by_role("button", name="Top up, go on").click()
        expect(page.locator("#messages")).to_contain_text(f"E-{escalation} topped up")
    finally:
        raised = LIMIT | {"seen": line, "value": "50"}  # the other tests' runs have their turns again
        assert admin.post(f"/limits/{line}/change", raised).status == 302
    admin.until(f"/runs/{run}/people", f'id="was-{escalation}"')
    page.goto(f"/escalations/{admin.escalation_of(run)}")
    page.get_by_role("button", name="Approve: post invoice").click()
    page.goto(f"/runs/{run}")
    expect(page.locator("#run-head")).to_contain_text("done")
    page = sit("auditor", "/interventions/?act=top+up")
    expect(page.locator("#entries")).to_contain_text(f"E-{escalation}")
    budgets = sit("auditor", "/budgets/")
    expect(budgets.locator("#budget-spend")).to_contain_text(re.compile("extractor|Nothing was spent"))
    assert findings(budgets) == []
    assert findings(sit("operator", "/breakers/tool/ledger.post_invoice")) == []
