"""The live badge tells the truth, and a page that was cut off catches up by itself."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from playwright.sync_api import APIResponse, Page, Route, expect

from tests.browser.arrivals import arrived, untouched, watch_for
from tests.browser.conftest import PATIENCE_MS, Sit
from tests.browser.person import Person

# Going offline does not end a socket that is open; the page's own are kept here so that it can be cut.
KEPT: Final = """
window.kept = [];
const Plain = window.WebSocket;
window.WebSocket = class extends Plain {
  constructor(...given) { super(...given); window.kept.push(this); }
};
"""

# The queue on the page, and the same fetched anew: causes, items and numbers, without what moves with the clock.
QUEUE: Final = """async () => {
  const text = (element) => element.textContent.replace(/\\s+/g, " ").trim();
  const read = (root) => ({
    filters: [...root.querySelectorAll(".filters a")].map(text),
    causes: [...root.querySelectorAll("section[data-cause]")].map((cause) => ({
      head: text(cause.querySelector(".cause")),
      items: [...cause.querySelectorAll(".item")].map((item) => ({
        rank: item.dataset.rank,
        words: text(item.querySelector("a")) + text(item.querySelector(".meta")) + text(item.querySelector(".by")),
        link: item.querySelector("a").outerHTML.replace(/ aria-current="true"/, "").replace(/\\s+/g, " "),
      })),
    })),
    places: [...document.querySelectorAll("#places a")].map(text),
  });
  const answer = await fetch(document.getElementById("queue").getAttribute("hx-get"));
  const anew = new DOMParser().parseFromString(await answer.text(), "text/html");
  return [read(document), { ...read(anew), places: read(document).places }];
}"""


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


def test_that_something_newer_waits_is_said_without_moving_what_is_read(sit: Sit, operator: Person) -> None:
    operator.asked()
    for narrow in (False, True):
        page = sit("operator", "/", narrow=narrow)
        page.locator("#queue-q").click()
        queue = page.locator("#queue-list")
        before = queue.bounding_box()
        arrived_meanwhile = operator.asked()
        newer = page.get_by_role("button", name="Newer, show")
        expect(newer).to_be_visible()
        now = queue.bounding_box()
        assert before is not None
        assert now is not None
        assert (now["x"], now["y"]) == (before["x"], before["y"])
        newer.click()
        expect(page.locator(f"#item-{arrived_meanwhile.escalation}")).to_be_attached()
        expect(newer).to_be_hidden()


def test_what_was_pushed_into_the_queue_is_what_would_be_fetched(
    sit: Sit, operator: Person, admin: Person
) -> None:
    stays, goes = operator.asked(), operator.asked()
    page = sit("operator", f"/escalations/{stays.escalation}")
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    comes = admin.asked()
    expect(page.locator(f"#item-{comes.escalation}")).to_be_visible()
    assert admin.post(f"/escalations/{comes.escalation}/take").status == 302
    assert operator.post(f"/escalations/{stays.escalation}/take").status == 302
    admin.decide("reject", goes.escalation, reason="Not this one")
    expect(page.locator(f"#item-{goes.escalation}")).to_have_count(0)
    expect(page.locator(f".item[data-item='{stays.escalation}'] .by")).to_have_text("You")
    assert [url for url in fetched if "/queue" in url or "/places" in url] == []  # it was pushed
    shown, would_be = page.evaluate(QUEUE)
    assert shown == would_be


def test_a_silent_line_is_called_stale(sit: Sit) -> None:
    page = sit("operator", "/runs/", own=True)
    page.clock.install(time=datetime.now(UTC))
    keep_sockets(page)
    page.evaluate("window.kept.forEach(socket => (socket.onmessage = null))")  # nothing comes any more
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


def test_a_hint_that_comes_during_a_fetch_is_not_lost(sit: Sit, operator: Person) -> None:
    asked = operator.asked()
    page = sit("operator", f"/runs/{asked.run}")
    expect(page.locator("#people")).to_contain_text("A person is asked")
    watch_for(page, "#run-head", "done")
    held = hold_back(page, f"**/runs/{asked.run}/moving")
    page.evaluate("document.body.dispatchEvent(new CustomEvent('live:run', { bubbles: true }))")
    wait_for(page, lambda: len(held) == 1)  # it has read the run as it was, and is still on its way

    operator.decide("approve", asked.escalation)
    operator.until(f"/runs/{asked.run}/events", ">done<")
    expect(page.locator("#people")).to_contain_text("approved")
    for route, response in held:
        route.fulfill(response=response)
    arrived(page, "#run-head", "done")


def test_a_run_that_ends_while_its_page_is_loading_is_shown_as_ended(sit: Sit, operator: Person) -> None:
    asked = operator.asked()
    page = sit("operator", "/runs/")
    other = sit("admin", f"/runs/{asked.run}")
    scripts: list[Route] = []
    page.route("**/js/live*.js", lambda route: scripts.append(route))
    page.goto(f"/runs/{asked.run}", wait_until="commit")
    wait_for(page, lambda: len(scripts) == 1)  # the page has been read, its socket is not open yet
    operator.decide("approve", asked.escalation)
    expect(other.locator("#run-head")).to_contain_text(
        "done"
    )  # the hint has been sent, and will not come again
    expect(page.locator("#run-head")).to_contain_text("waiting")
    scripts[0].continue_()
    expect(page.locator("#run-head")).to_contain_text("done")


def test_the_answer_to_an_act_is_shown_even_when_the_news_of_it_was_quicker(
    sit: Sit, operator: Person
) -> None:
    operator.asked()  # something to go on to
    asked = operator.asked()
    page = sit("operator", f"/escalations/{asked.escalation}")
    held = hold_back(page, "**/approve*")
    page.locator("#approve").click()
    expect(page.locator(f"#item-{asked.escalation}")).to_have_count(0)  # the news is here, the answer is not
    wait_for(page, lambda: len(held) == 1)
    expect(page.locator("#card")).to_have_attribute("data-escalation", str(asked.escalation))
    for route, response in held:
        route.fulfill(response=response)
    expect(page.locator("#messages")).to_contain_text(f"E-{asked.escalation} approved")
    expect(page.locator("#card")).not_to_have_attribute("data-escalation", str(asked.escalation))
    expect(page.locator("#card")).to_have_attribute("data-state", "open")


def hold_back(page: Page, address: str) -> list[tuple[Route, APIResponse]]:
    """The first answer from that address is fetched, and kept until the test lets it go; later ones pass."""
    held: list[tuple[Route, APIResponse]] = []

    def keep(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append((route, route.fetch()))

    page.route(address, keep)
    return held


def wait_for(page: Page, came: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not came():
        assert time.monotonic() < deadline
        page.wait_for_timeout(20)  # lets Playwright hand over what has come


def keep_sockets(page: Page) -> None:
    page.add_init_script(KEPT)
    page.reload()
    expect(page.locator("#live")).to_have_attribute("data-s", "live")


def cut(page: Page) -> None:
    """No network, and the open socket ends."""
    page.context.set_offline(True)
    page.evaluate("window.kept.forEach(socket => socket.close())")
