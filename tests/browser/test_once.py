"""A double click on a plain form sends it once, so that nobody is told that they themselves were first."""

import re

from playwright.sync_api import expect

from tests.browser.conftest import Sit


def test_a_limit_set_by_a_double_click_is_set_once_and_says_so(sit: Sit) -> None:
    page = sit("admin", "/limits/new")
    form = page.locator("#limit")
    form.get_by_label("What").select_option(label="tasks a plan")
    form.get_by_label("Limit").fill("7")
    form.get_by_label("Of", exact=True).select_option("workflow")
    form.get_by_label("Name").fill("dependency_review")
    form.get_by_text("Observe", exact=True).click()
    form.get_by_role("button", name="Set the limit").dblclick()
    expect(page).to_have_url(re.compile(r"/limits/\d+$"))
    expect(page.locator("#limit")).to_contain_text("holds now")


def test_a_stop_may_be_asked_for_as_often_as_one_likes(sit: Sit) -> None:
    page = sit("operator", "/runs/")
    asked: list[str] = []
    page.route("**/controls/engage", lambda route: route.fulfill(status=204))  # the page stays
    page.on(
        "request", lambda request: asked.append(request.method) if request.url.endswith("/engage") else None
    )
    page.locator("#stop-open").click()
    button = page.locator("#stop button.all")
    button.click()
    button.click()
    assert asked == ["POST", "POST"]
