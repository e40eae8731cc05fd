"""Limits in a real browser: an admin sets one, sees what a change would ask for, lowers it; readable for everybody."""

import re
import time

from playwright.sync_api import expect

from tests.browser.conftest import Sit
from tests.browser.person import WAIT_SECONDS
from tests.browser.test_accessibility import findings, looked_at


def test_an_admin_sets_a_limit_sees_what_raising_asks_for_and_lowers_it(sit: Sit) -> None:
    page = sit("admin", "/limits/", refusals=(422,))
    page.get_by_role("link", name="New limit…").click()
    form = page.locator("#limit")
    form.get_by_label("What").select_option(label="tasks a plan")
    form.get_by_label("Limit").fill("12")
    form.get_by_label("Of", exact=True).select_option("workflow")
    form.get_by_label("Name").fill("refund_desk")
    form.get_by_text("Enforce", exact=True).click()
    form.get_by_label("Reason can be left out").fill("plans grow")
    form.get_by_role("button", name="Set the limit").click()
    expect(page.locator("#rehearsal")).to_contain_text("tasks a plan of workflow refund_desk: 12, enforce")
    expect(form.get_by_label("Reason can be left out")).to_have_value("plans grow")
    assert findings(page) == []
    page.get_by_role("button", name="Enforce it now").click()
    expect(page).to_have_url(re.compile(r"/limits/\d+$"))
    assert findings(page) == []
    value = form.get_by_label("Limit")
    value.fill("20")
    expect(page.locator("#limit-asks")).to_contain_text("from 12 to 20) and asks for a reason")
    expect(value).to_be_focused()
    value.fill("500")
    expect(page.locator("#limit-asks")).to_contain_text("another admin must agree within 24 hours")
    value.fill("8")
    expect(page.locator("#limit-asks")).to_contain_text("done at once, without a reason")
    watcher = sit("auditor", "/limits/?text=tasks refund_desk")
    form.get_by_role("button", name="Change tasks a plan").click()
    expect(page.locator("#messages")).to_contain_text("The limit is changed.")
    expect(watcher.locator("#limits tbody")).to_contain_text("8")
    assert looked_at(page, "/limits/?workflow=refund_desk") == []


def test_without_a_script_the_form_tells_what_it_asks_for(sit: Sit) -> None:
    page = sit("admin", "/limits/new", javascript=False)
    form = page.locator("#limit")
    form.get_by_label("What").select_option(label="plans deep")
    form.get_by_label("Limit").fill("5")
    form.get_by_text("Enforce", exact=True).click()
    form.get_by_label("Reason can be left out").fill("before the night")
    form.get_by_role("button", name="Set the limit").click()
    enforce = page.get_by_role("button", name="Enforce it now")
    deadline = time.monotonic() + WAIT_SECONDS
    while not enforce.is_visible():  # a rehearsal may take its time, and without a script nothing asks again
        assert time.monotonic() < deadline, page.locator("#rehearsal").inner_text()
        page.reload()
    enforce.click()
    form.get_by_label("Limit").fill("900")
    form.get_by_label("Reason").first.fill("a long night")
    form.get_by_role("button", name="What would it ask for?").click()
    expect(page.locator("#limit-asks")).to_contain_text("another admin must agree within 24 hours")
    form.get_by_role("button", name="Change plans deep").click()
    expect(page.locator("#limit-proposals")).to_contain_text("plans deep: from 5 to 900")
    expect(page.locator("#limit-proposals")).to_contain_text("a long night")
    page.get_by_role("button", name="Take it back").click()
    expect(page.locator("#limit-proposals")).to_be_hidden()
