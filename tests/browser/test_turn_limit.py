"""A turn limit from its first draft to the run that parks at it and goes on. The engine's side is tested elsewhere."""

import re
from typing import Final

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Sit
from tests.browser.person import Person
from tests.browser.test_accessibility import findings

WORKFLOW: Final = "refund_desk"  # no other test here starts runs of it
TURNS: Final = 4  # a question is answered with 4 (triage, draft, two to send); a refund takes two more to pay
QUESTION, REFUND, LATER = "03-how-long.eml", "08-chaise.eml", "13-lost-parcel.eml"


def test_an_admin_sees_what_a_turn_limit_would_have_stopped_then_a_run_parks_at_it_and_ends_after_a_top_up(
    sit: Sit, admin: Person
) -> None:
    answered, paid = done(admin, QUESTION), done(admin, REFUND)
    page = sit("admin", "/limits/")
    draft(page)
    page.get_by_role("button", name="Rehearse").click()
    stopped = rehearsed(page, paid)
    expect(stopped).to_contain_text("Stopped at step 10, send: turns a run 5 of 4 (workflow refund_desk)")
    expect(stopped).to_contain_text("success lost")
    expect(rehearsed(page, answered)).to_be_hidden()
    assert findings(page) == []
    stopped.get_by_role("link", name=str(paid)).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Run {paid}")
    page.go_back()
    page.get_by_role("link", name="Back to the form").click()
    page.get_by_role("button", name="Set the limit").click()
    expect(page.locator("#messages")).to_contain_text("The limit is set.")
    line = page.url.rsplit("/", 1)[1]
    try:
        started(page)
        expect(page.locator("#run-head")).to_contain_text("waiting for a person")
        expect(page.locator("#run-bounds")).to_contain_text("4 of 4")
        card = (
            page.locator("#run-head").get_by_role("link", name="Limit reached: answer").get_attribute("href")
        )
        topped_up(sit("admin", card or ""))
        expect(page.locator("#run-head")).to_contain_text("done")  # by itself, on the page that was open
        expect(page.locator("#run-bounds")).to_contain_text("4 topped up")
        expect(page.locator(".fall").get_by_text("mail.send")).to_have_count(1)
    finally:
        raised(admin, line)


def done(person: Person, file: str) -> int:
    """A run of the past."""
    run = person.start_of(WORKFLOW, folder="samples", file=file)
    person.until(f"/runs/?workflow={WORKFLOW}&state=done", f'href="/runs/{run}"')
    return run


def draft(page: Page) -> None:
    page.get_by_role("link", name="New limit…").click()
    form = page.locator("#limit")
    form.get_by_label("What").select_option(label="turns a run")
    form.get_by_label("Limit").fill(str(TURNS))
    form.get_by_label("Of", exact=True).select_option("workflow")
    form.get_by_label("Name").fill(WORKFLOW)
    form.get_by_text("Enforce", exact=True).click()


def rehearsed(page: Page, run: int) -> Locator:
    """The row of a run among those that would have gone otherwise."""
    expect(page.locator("#rehearsal")).to_contain_text("Runs stopped")
    link = page.get_by_role("link", name=str(run), exact=True)
    return page.locator("#rehearsal tbody tr").filter(has=link)


def started(page: Page) -> None:
    page.goto(f"/runs/start/{WORKFLOW}")
    page.get_by_label("File").fill(LATER)
    page.get_by_role("button", name=f"Start {WORKFLOW}").click()
    expect(page).to_have_url(re.compile(r"/runs/\d+$"))


def topped_up(page: Page) -> None:
    expect(page.locator("#card")).to_contain_text("Turns of this run are used up (4 of 4)")
    page.get_by_label("as much again").check()
    page.get_by_label("Why").fill("the letter is written and has only to be sent")
    card = page.url
    page.get_by_role("button", name="Top up, go on").click()
    expect(page.locator("#messages")).to_contain_text("topped up: its run goes on at the same call")
    page.goto(card)
    expect(page.locator("#card")).to_contain_text("topped this up by 4")


def raised(person: Person, line: str) -> None:
    """Whatever runs there later has its turns again."""
    form: dict[str, str | float | bool] = {
        "what": "turns/run",
        "seen": line,
        "value": "50",
        "mode": "enforce",
        "reason": "end of the test",
    }
    assert person.post(f"/limits/{line}/change", form).status == 302
