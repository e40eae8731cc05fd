"""Workflows and fan-outs in a real browser: readable for everybody, live, and whole without a script."""

import re
from typing import Final

from playwright.sync_api import Page, expect

from tests.browser.conftest import Sit
from tests.browser.person import Person
from tests.browser.test_accessibility import findings, looked_at

ALL_PACKAGES: Final = ""
TASKS: Final = 12  # rows of a plan before it is folded


def test_the_list_and_the_page_of_every_shipped_workflow(sit: Sit) -> None:
    page = sit("operator", "/workflows/")
    found = findings(page)
    for name in ("invoice_intake", "refund_desk", "dependency_review"):
        found += looked_at(page, f"/workflows/{name}/", unfolded)
    assert found == []


def test_a_box_of_the_drawing_opens_its_node_also_from_the_keyboard(sit: Sit) -> None:
    page = sit("operator", "/workflows/refund_desk/")
    nodes = page.locator("#nodes > details")
    assert nodes.count() > 8
    assert not any(one.get_attribute("open") is not None for one in nodes.all())
    page.locator(".graph a").locator("visible=true").nth(2).focus()
    page.keyboard.press("Enter")
    expect(nodes.nth(2)).to_have_attribute("open", "")
    expect(page.locator("#node-3")).to_be_in_viewport()


def test_the_workflow_is_one_click_from_its_runs_and_back(sit: Sit, operator: Person) -> None:
    operator.asked()
    page = sit("operator", "/workflows/")
    page.locator(".outcomes a[href*='=invoice_intake&']", has_text="waiting").click()
    expect(page).to_have_url(re.compile(r"/runs/\?workflow=invoice_intake&version=1&state=waiting$"))
    page.locator("#runs tbody a").first.click()
    page.locator("main .sub a", has_text="invoice_intake v1").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("invoice_intake")


def test_a_fan_out_is_followed_live_and_stays_readable(sit: Sit, operator: Person) -> None:
    run = review(operator, ALL_PACKAGES)
    page = sit("operator", f"/runs/{run}")
    drawing = page.locator(".graph").locator("visible=true")  # one of two, as the page is wide
    expect(drawing).to_have_attribute("aria-label", re.compile(r"review \(\d+ of 1\d\d done"))
    expect(page.locator("#asked")).to_be_visible(timeout=120_000)
    assert page.locator(".fall [id^=row-step-]").count() <= 3 + TASKS
    page.locator(".fall .more").click()
    expect(page.locator(".fall .more")).to_have_text("show fewer")
    expect(page).to_have_url(re.compile(r"\?plan=\d+#"))
    assert page.locator(".fall [id^=row-step-]").count() > 100
    page.locator(".fall .more").click()
    expect(page.locator(".fall .more")).to_contain_text("more:")
    assert findings(page) == []


def test_each_question_of_a_fan_out_is_reached_from_the_run(sit: Sit, operator: Person) -> None:
    run = review(operator, "p")
    page = sit("operator", f"/runs/{run}")
    asked = page.locator("#asked li a, #run-head a.do")
    expect(asked.first).to_be_visible(timeout=120_000)
    asked.first.click()
    if page.url.endswith("#asked"):
        page.locator("#asked li a").first.click()
    expect(page.locator("main h2").first).to_be_visible()
    expect(page).to_have_url(re.compile(r"/escalations/\d+"))


def unfolded(page: Page) -> None:
    """Everything that is folded up is looked at too."""
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")


def review(person: Person, names: str) -> int:
    """A run that reviews the installed packages whose names begin so."""
    return person.start_of("dependency_review", name_starts=names)
