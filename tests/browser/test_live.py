"""The live badge tells the truth, and a page that was cut off catches up by itself."""

from datetime import UTC, datetime
from typing import Final

from playwright.sync_api import Page, expect

from tests.browser.arrivals import untouched, watch_for
from tests.browser.conftest import Sit
from tests.browser.person import Person

# Going offline does not end a socket that is open; the page's own are kept here so that it can be cut.
KEPT: Final = """
window.kept = [];
const Plain = window.WebSocket;
window.WebSocket = class extends Plain {
  constructor(...given) { super(...given); window.kept.push(this); }
};
"""


def test_what_was_missed_while_offline_is_there_without_reload(
    sit: Sit, operator: Person, admin: Person
) -> None:
    gone, stays = operator.asked(), operator.asked()
    page = sit("operator", f"/escalations/{stays.escalation}", offline=True)
    keep_sockets(page)
    expect(page.locator(f"#item-{gone.escalation}")).to_be_visible()
    watch_for(page, "#queue-list", "never")

    cut(page)
    expect(page.locator("#live")).to_have_attribute("data-s", "offline")
    expect(page.locator("#behind")).to_contain_text("Reconnecting")
    arrived_meanwhile = admin.asked()
    admin.decide("reject", gone.escalation, reason="While you were away")
    expect(page.locator(f"#item-{gone.escalation}")).to_be_visible()
    expect(page.locator(f"#item-{arrived_meanwhile.escalation}")).to_have_count(0)

    page.context.set_offline(False)
    expect(page.locator("#live")).to_have_attribute("data-s", "live")
    expect(page.locator("#behind")).to_be_hidden()
    expect(page.locator(f"#item-{arrived_meanwhile.escalation}")).to_be_visible()
    expect(page.locator(f"#item-{gone.escalation}")).to_have_count(0)
    untouched(page)


def test_a_silent_line_is_called_stale(sit: Sit) -> None:
    page = sit("operator", "/runs/")
    page.clock.install(time=datetime.now(UTC))
    page.reload()
    expect(page.locator("#live")).to_have_attribute("data-s", "live")
    page.clock.pause_at(datetime.now(UTC).timestamp() + 60)
    page.clock.run_for(2_000)
    expect(page.locator("#live")).to_have_attribute("data-s", "stale")
    expect(page.locator("#behind")).to_be_visible()


def test_half_typed_words_outlive_every_redraw(sit: Sit, operator: Person) -> None:
    asked = operator.asked()
    page = sit("operator", f"/escalations/{asked.escalation}")
    watch_for(page, "#queue-list", "never")
    page.keyboard.press("r")
    words = page.get_by_label("In your words")
    words.fill("The second line of this invo")
    another = operator.asked()
    expect(page.locator(f"#item-{another.escalation}")).to_be_visible()  # the queue was redrawn
    expect(words).to_have_value("The second line of this invo")
    expect(words).to_be_focused()
    untouched(page)


def test_a_form_of_the_edit_outlives_every_redraw(sit: Sit, operator: Person) -> None:
    asked = operator.asked()
    page = sit("operator", f"/escalations/{asked.escalation}?mode=edit")
    memo = page.get_by_role("textbox", name="memo")
    memo.fill("Half a mem")
    assert operator.post(f"/escalations/{asked.escalation}/take").status == 302  # an act on this very card
    expect(page.locator("[data-moved]")).to_be_visible()
    expect(memo).to_have_value("Half a mem")


def keep_sockets(page: Page) -> None:
    page.add_init_script(KEPT)
    page.reload()
    expect(page.locator("#live")).to_have_attribute("data-s", "live")


def cut(page: Page) -> None:
    """No network, and the open socket ends."""
    page.context.set_offline(True)
    page.evaluate("window.kept.forEach(socket => socket.close())")
