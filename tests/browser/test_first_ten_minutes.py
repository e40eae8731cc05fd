"""An operator's first ten minutes at the console, act by act."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.arrivals import arrived, quick, recorded, untouched, watch_for
from tests.browser.conftest import Sit
from tests.browser.console import Console
from tests.browser.invoices import invoice
from tests.browser.person import Asked, Person, new_number


def test_signing_in_leads_to_what_waits(sit: Sit, console: Console) -> None:
    page = sit("", "/runs/")
    expect(page).to_have_title(re.compile("Sign in"))
    page.get_by_label("Name").fill("operator")
    page.get_by_label("Password").fill("not this one")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("do not belong together")
    page.get_by_label("Password").fill(console.people["operator"])
    page.get_by_role("button", name="Sign in").click()

    expect(page).to_have_title(re.compile("Runs"))  # where they wanted to go
    page.get_by_role("link", name="Inbox").click()
    expect(page.locator("#queue-list .item").first).to_be_visible()
    waiting = page.locator("#queue-list .item").count()
    expect(page.locator("#f-all b")).to_have_text(str(waiting))
    expect(page.locator("#card-title")).to_be_visible()  # the first of them is open beside the queue
    expect(page.locator("#card")).to_contain_text("simulated")


def test_an_escalation_appears_by_itself_within_a_second(
    sit: Sit, console: Console, operator: Person
) -> None:
    inbox = sit("operator")
    number = new_number()
    watch_for(inbox, "#queue-list", number)
    waiting = inbox.locator("#place-inbox .n").inner_text()
    console.put(f"{number}.txt", invoice(number))

    form = sit("admin", "/runs/start/invoice_intake")
    form.get_by_label("Folder").select_option("inbox")
    form.get_by_label("File").fill(f"{number}.txt")
    form.get_by_label("Goal").fill(f"Take in {number} before noon")
    form.get_by_role("button", name="Start invoice_intake").click()
    expect(form.get_by_role("heading", level=1)).to_contain_text("Run ")

    seen = arrived(inbox, "#queue-list", number)
    run = int(form.url.rsplit("/", 1)[1])
    quick(
        "a new escalation",
        recorded(operator, "escalation opened", f"E-{operator.escalation_of(run)}"),
        seen,
    )
    expect(inbox.locator("#place-inbox .n")).not_to_have_text(waiting)
    expect(form.locator("#people")).to_contain_text("A person is asked")  # its run's page has it too


def test_a_wrong_edit_stands_beside_its_field_and_a_right_one_is_approved(
    sit: Sit, console: Console, operator: Person
) -> None:
    asked = operator.asked()
    run = sit("operator", f"/runs/{asked.run}")
    watch_for(run, "#run-head", "done")
    page = sit("operator", refusals=(422,))
    page.locator(f"#item-{asked.escalation}").click()
    expect(page.locator("#card-title")).to_contain_text(asked.number)

    page.keyboard.press("e")
    amount = page.get_by_role("textbox", name="amount")
    expect(page.locator("#edit-form [autofocus]")).to_be_focused()
    amount.fill("nine thousand")
    page.get_by_role("textbox", name="memo").fill("Cold room on its own invoice")
    page.get_by_role("button", name="Show as edited").click()
    expect(amount).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#f-amount-why")).to_contain_text("nine thousand")
    expect(amount).to_have_value("nine thousand")
    expect(page.get_by_role("textbox", name="memo")).to_have_value("Cold room on its own invoice")

    amount.fill("12963.84")
    page.get_by_role("button", name="Show as edited").click()
    expect(page.locator("#card .diff del", has_text="15243.84")).to_be_visible()
    expect(page.locator("#card .diff ins", has_text="12963.84")).to_be_visible()
    approve = page.locator("#approve")
    expect(approve).to_contain_text("Approve as edited")
    expect(approve).to_contain_text("12,963.84")
    approve.click()
    expect(page.locator("#messages")).to_contain_text(f"E-{asked.escalation} approved")
    expect(page.locator(f"#item-{asked.escalation}")).to_have_count(0)

    seen = arrived(run, "#run-head", "done")
    quick("a run that goes on to its end", recorded(operator, "approve", f"E-{asked.escalation}"), seen)
    expect(run.locator("#people")).to_contain_text("as edited")
    posted = [json.loads(line) for line in console.ledger.read_text().splitlines()]
    mine = [one for one in posted if asked.number in json.dumps(one)]
    assert len(mine) == 1
    assert "12963.84" in json.dumps(mine[0])
    assert "15243.84" not in json.dumps(mine[0])


def test_the_run_receives_the_reason_of_a_rejection(sit: Sit, operator: Person) -> None:
    asked = operator.asked()
    run = sit("operator", f"/runs/{asked.run}")
    watch_for(run, "#run-head", "done")
    page = sit("operator", f"/escalations/{asked.escalation}")
    page.keyboard.press("r")
    page.keyboard.press("2")
    expect(page.get_by_label("Wrong payee or target")).to_be_checked()
    page.get_by_label("In your words").fill("Ried has moved its account")
    page.locator("#reject").get_by_role("button", name="Reject").click()
    expect(page.locator("#messages")).to_contain_text(f"E-{asked.escalation} rejected")

    arrived(run, "#run-head", "done")
    expect(run.locator("#people")).to_contain_text("Wrong payee or target. Ried has moved its account")
    run.goto(f"/runs/{asked.run}")
    expect(run.locator("#inspect")).to_contain_text("Wrong payee or target")


def test_an_answer_in_words_reaches_the_agent(sit: Sit, operator: Person) -> None:
    asked = operator.asked()
    page = sit("operator", f"/escalations/{asked.escalation}")
    page.keyboard.press("m")
    page.get_by_label("What the run should know").fill("Ask the supplier for one invoice a delivery.")
    page.locator("#respond").get_by_role("button").first.click()
    expect(page.locator("#messages")).to_contain_text(f"E-{asked.escalation} answered")
    run = sit("operator", f"/runs/{asked.run}")
    expect(run.locator("#run-head")).to_contain_text("done")
    run.reload()
    expect(run.locator("#inspect")).to_contain_text("one invoice a delivery")


@pytest.mark.usefixtures("nothing_held")
def test_everything_is_stopped_seen_released_and_goes_on(sit: Sit, operator: Person) -> None:
    elsewhere = sit("auditor", "/runs/")
    page = sit("operator")
    watch_for(elsewhere, "#held", "everything")
    page.keyboard.press("Shift+S")
    expect(page.locator("#stop .all")).to_be_focused()
    moving = [operator.start(number := new_number(), invoice(number)) for _ in range(4)]
    page.keyboard.press("Enter")  # at once: within half a second each of them asks a person

    expect(page).to_have_url(re.compile(r"/controls/\?control=\d+"))
    seen = arrived(elsewhere, "#held", "everything")
    quick("a stop", recorded(operator, "engage stop"), seen)
    expect(page.locator("#held-now")).to_contain_text("stopped")
    expect(page.locator("#receipt")).to_contain_text("stopped")
    expect(elsewhere.locator("#held .lead")).to_contain_text("Stopped:")
    untouched(elsewhere)

    before = [last_event(operator, run) for run in moving]
    page.get_by_label("Reason, required").fill("It was a drill")
    page.get_by_role("button", name="Release stop").click()
    expect(page.locator("#held-now")).to_contain_text("Nothing is held.")
    expect(elsewhere.locator("#held .held")).to_have_count(0)
    assert [last_event(operator, run) for run in moving] == before, "something moved under the stop"

    page.get_by_role("button", name=re.compile("^Resume all")).click()
    expect(page.locator("#messages")).to_contain_text("resumed")
    for run in moving:
        operator.escalation_of(run)  # each has gone on until it asks
    assert [last_event(operator, run) for run in moving] != before, (
        "nothing was under way: the stop met no run"
    )


@pytest.mark.usefixtures("nothing_held")
def test_the_stop_button_works_by_mouse_from_any_page(sit: Sit, operator: Person) -> None:
    asked = operator.asked()
    page = sit("operator", f"/runs/{asked.run}")
    page.get_by_role("button", name="Stop…").click()
    page.get_by_label("Reason, now or later").fill("The ledger answers strangely")
    page.get_by_role("button", name="Stop everything").click()
    expect(page.locator("#held .lead")).to_contain_text("Stopped:")
    expect(page.locator("#held")).to_contain_text("The ledger answers strangely")
    page.goto(f"/escalations/{asked.escalation}")
    expect(page.locator("#card .clock")).to_contain_text("clock stands")


def test_it_is_all_on_record_and_can_be_taken_away(sit: Sit, operator: Person, admin: Person) -> None:
    asked = operator.asked()
    formula = '=HYPERLINK("http://localhost/","open")'
    edited(operator, asked)
    operator.decide("reject", asked.escalation, reason=formula)
    other = admin.asked()
    admin.decide("reject", other.escalation, reason="Somebody else's entry")

    page = sit("operator", "/interventions/")
    page.get_by_label("Person").select_option("Marta Oliveira")
    page.get_by_label("Act").select_option("reject")
    page.get_by_role("button", name="Filter").click()
    entries = page.locator("#entries tbody tr")
    expect(entries.first).to_contain_text(f"E-{asked.escalation}")
    expect(page.locator("#entries")).not_to_contain_text("Ines Okafor")
    with page.expect_download() as download:
        page.get_by_role("button", name=re.compile("^Export")).click()
    rows = read_csv(download.value.path())
    assert len(rows) == entries.count()
    assert {row["person"] for row in rows} == {"Marta Oliveira"}
    assert {row["act"] for row in rows} == {"reject"}
    assert formula in {row["reason"].removeprefix("'") for row in rows}
    assert not [cell for row in rows for cell in row.values() if cell[:1] in "=+-@\t\r" and cell]

    page.goto(f"/interventions/?text=E-{asked.escalation}&act=edit")
    page.locator("#entries tbody a").first.click()
    expect(page.locator("#entry")).to_contain_text("recomputed, holds")
    expect(page.locator("#entry .ba del", has_text="15243.84")).to_be_visible()
    expect(page.locator("#entry .ba ins", has_text="12963.84")).to_be_visible()


def edited(person: Person, asked: Asked) -> None:
    """The amount is corrected, everything else left."""
    page = person.read(f"/escalations/{asked.escalation}?mode=edit")
    given = dict(re.findall(r'name="(field\.\w+)"\s+value="([^"]*)"', page))
    response = person.decide("edit", asked.escalation, **(given | {"field.amount": "12963.84"}))
    assert response.status == 302, response.text()


def last_event(person: Person, run: int) -> int:
    """The number of a run's newest event."""
    found = re.search(r'<td class="num mute">(\d+)</td>', person.read(f"/runs/{run}/events"))  # newest first
    assert found
    return int(found.group(1))


def read_csv(path: str | Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(Path(path).read_text(encoding="utf-8-sig"), newline="")))
