"""Single keys do what the buttons do, and nothing while somebody types."""

from datetime import UTC, datetime

from playwright.sync_api import Page, expect

from tests.browser.conftest import Sit
from tests.browser.person import Person


def test_j_and_k_walk_through_the_queue(sit: Sit, operator: Person) -> None:
    operator.asked()
    operator.asked()
    page = sit("operator")
    items = page.locator("#queue-list .item a")
    expect(items.nth(0)).to_have_attribute("aria-current", "true")
    first, second = items.nth(0).inner_text(), items.nth(1).inner_text()
    page.keyboard.press("j")
    expect(items.nth(1)).to_have_attribute("aria-current", "true")
    expect(page.locator("#card-title")).to_contain_text(second)
    page.keyboard.press("k")
    expect(items.nth(0)).to_have_attribute("aria-current", "true")
    expect(page.locator("#card-title")).to_contain_text(first)


def test_e_opens_the_edit_r_the_rejection_and_the_question_mark_the_list(sit: Sit, operator: Person) -> None:
    asked = operator.asked()
    page = sit("operator", f"/escalations/{asked.escalation}")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()
    page.keyboard.press("r")
    expect(page.locator("#reject")).to_be_visible()
    page.keyboard.press("4")
    expect(page.get_by_label("Duplicate")).to_be_checked()
    page.keyboard.press("Escape")
    page.get_by_label("Duplicate").evaluate("radio => { radio.checked = false }")
    page.keyboard.press("e")
    expect(page.locator("#edit-form")).to_be_visible()


def test_what_is_drawn_can_be_used_in_the_same_moment(sit: Sit, operator: Person) -> None:
    """A link that is followed at once must not leave the page, nor the cursor jump from a field that is written in."""
    asked = operator.asked()
    page = sit("operator")
    page.evaluate(
        """escalation => {
            window.stays = true;
            new MutationObserver(() => {
                const form = document.getElementById("edit-form");
                if (form) return (window.cursor ??= document.activeElement.id);
                document.querySelector(`#card[data-escalation="${escalation}"] [data-key=e]`)?.click();
            }).observe(document.getElementById("main"), { childList: true, subtree: true });
        }""",
        str(asked.escalation),
    )
    page.locator(f"#item-{asked.escalation}").click()
    first = page.locator("#edit-form [autofocus]")
    expect(first).to_be_focused()
    assert page.evaluate("window.stays"), "the edit was a page of its own"
    assert page.evaluate("window.cursor") == first.get_attribute("id")


def test_keys_are_letters_while_somebody_types(sit: Sit, operator: Person) -> None:
    asked = operator.asked()
    page = sit("operator", f"/escalations/{asked.escalation}")
    title = page.locator("#card-title").inner_text()
    page.keyboard.press("/")
    expect(page.locator("#find")).to_be_focused()
    page.keyboard.type("jaker?S")
    expect(page.locator("#find")).to_have_value("jaker?S")
    for opened in ("#keys", "#reject", "#stop"):
        expect(page.locator(opened)).to_be_hidden()
    expect(page.locator("#card-title")).to_have_text(title)
    expect(page.locator("#card")).to_have_attribute("data-state", "open")


def test_turned_off_they_stay_off(sit: Sit, operator: Person) -> None:
    asked = operator.asked()
    page = sit("operator", f"/escalations/{asked.escalation}", own=True)
    page.keyboard.press("?")
    page.get_by_label("Single keys work on this computer").uncheck()
    page.reload()
    expect(page.locator("#live")).to_have_attribute("data-s", "live")
    page.keyboard.press("r")
    page.keyboard.press("Shift+S")  # stopping is not among what can be turned off
    expect(page.locator("#stop")).to_be_visible()
    expect(page.locator("#reject")).to_be_hidden()


def test_a_approves_what_cannot_be_undone_only_after_a_second_on_screen(sit: Sit, operator: Person) -> None:
    asked = operator.asked()
    page = sit("operator", "/runs/", own=True)
    sent = posts(page)
    page.clock.install(time=datetime.now(UTC))
    page.clock.pause_at(datetime.now(UTC).timestamp() + 1)
    page.goto(f"/escalations/{asked.escalation}")
    expect(page.locator("#card")).to_have_attribute("data-effect", "irreversible")
    expect(page.locator("#live")).to_have_attribute("data-s", "live")
    page.clock.run_for(900)
    page.keyboard.press("a")
    assert sent == []
    page.clock.run_for(200)
    page.keyboard.press("a")
    page.clock.resume()
    expect(page.locator("#messages")).to_contain_text(f"E-{asked.escalation} approved")
    assert [address.rsplit("/", 1)[1].split("?")[0] for address in sent] == ["approve"]


def posts(page: Page) -> list[str]:
    """Every form that this page sends from now on."""
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    return sent
