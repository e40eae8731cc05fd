"""Every control is a plain form: signing in, deciding, stopping and releasing work with scripts switched off."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Sit
from tests.browser.console import Console
from tests.browser.person import Person


@pytest.mark.usefixtures("nothing_held")
def test_sign_in_decide_stop_and_release(sit: Sit, console: Console, operator: Person) -> None:
    first, second = operator.asked(), operator.asked()
    page = sit("", f"/escalations/{first.escalation}", javascript=False, refusals=(422,))
    page.get_by_label("Name").fill("operator")
    page.get_by_label("Password").fill(console.people["operator"])
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#card-title")).to_contain_text(first.number)
    page.locator("#approve").click()
    expect(page.locator("#messages")).to_contain_text(f"E-{first.escalation} approved")

    page.goto(f"/escalations/{second.escalation}")
    page.locator("#card").get_by_role("link", name="Edit").click()
    page.get_by_role("textbox", name="amount").fill("a lot")
    page.get_by_role("button", name="Show as edited").click()
    expect(page.get_by_role("textbox", name="amount")).to_have_value("a lot")
    expect(page.locator("#f-amount-why")).to_contain_text("a lot")
    page.goto(f"/escalations/{second.escalation}?mode=reject")
    page.get_by_label("Wrong amount").check()
    page.get_by_role("button", name="Reject").click()
    expect(page.locator("#messages")).to_contain_text(f"E-{second.escalation} rejected")

    page.get_by_role("button", name="Stop…").click()
    page.get_by_role("button", name="Stop everything").click()
    expect(page).to_have_url(re.compile(r"/controls/\?control=\d+"))
    expect(page.locator("#held .lead")).to_contain_text(re.compile("Stopp(ing|ed:) everything"))
    page.get_by_label("Reason, required").fill("Tried it without scripts")
    page.get_by_role("button", name="Release stop").click()
    expect(page.locator("#held-now")).to_contain_text("Nothing is held.")
