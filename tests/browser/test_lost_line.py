"""Whoever clicks while the line is away is told so, and can do it again when it is back; it counts once."""

from playwright.sync_api import expect

from tests.browser.conftest import Sit
from tests.browser.person import Person


def test_an_act_without_an_answer_says_so_and_may_be_repeated(sit: Sit, operator: Person) -> None:
    asked = operator.asked()
    page = sit("operator", f"/escalations/{asked.escalation}", offline=True)
    expect(page.locator("#live")).to_contain_text("Live")
    page.context.set_offline(True)
    page.get_by_role("button", name="Approve: post invoice").click()
    expect(page.locator("#messages")).to_contain_text("No answer came from the console")
    expect(page.locator("#approve")).to_be_enabled()
    page.context.set_offline(False)
    page.get_by_role("button", name="Approve: post invoice").click()
    expect(page.locator("#messages")).to_contain_text(f"E-{asked.escalation} approved")
    expect(page.locator("#messages")).not_to_contain_text("No answer")


def test_a_card_that_cannot_be_fetched_is_not_mistaken_for_another(sit: Sit, operator: Person) -> None:
    first, second = operator.asked(), operator.asked()
    page = sit("operator", f"/escalations/{first.escalation}", offline=True)
    page.context.set_offline(True)
    page.locator(f"#item-{second.escalation}").click()
    expect(page.locator("#messages")).to_contain_text("what you see is what was here before")
    expect(page.locator("#card")).to_have_attribute("data-escalation", str(first.escalation))
    page.context.set_offline(False)
    page.locator(f"#item-{second.escalation}").click()
    expect(page.locator("#card")).to_have_attribute("data-escalation", str(second.escalation))
    expect(page.locator("#messages")).not_to_contain_text("No answer")


def test_an_error_of_the_console_is_said(sit: Sit, operator: Person) -> None:
    asked = operator.asked()
    page = sit("operator", f"/escalations/{asked.escalation}", refusals={500})
    page.route("**/approve*", lambda route: route.fulfill(status=500, body="oh"))
    page.get_by_role("button", name="Approve: post invoice").click()
    expect(page.locator("#messages")).to_contain_text("it went wrong in the console")
