"""On a phone nothing that decides is cut off: long names break, and every place can be hit and read."""

from typing import Final

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NARROW, Sit
from tests.browser.person import Person

FINGER: Final = 40  # px
# What cannot be read without moving something sideways. Only ears get what is clipped to a pixel.
_CUT: Final = """root => [...document.querySelectorAll(`${root}, ${root} *`)]
  .filter(one => one.clientWidth > 1 && one.scrollWidth > one.clientWidth + 1
    && !one.closest("svg, .drawn, .vh, thead") && getComputedStyle(one).textOverflow !== "ellipsis"
    && getComputedStyle(one).display !== "inline")
  .map(one => `${one.tagName} ${one.className}: ${one.scrollWidth} in ${one.clientWidth}`)"""
# As if the workflow of the console were called so: names may have 80 characters.
_LENGTHEN: Final = """which => document.querySelectorAll(which).forEach(one =>
  (one.querySelector("bdi") ?? one).textContent =
  "the_quarterly_reconciliation_of_subsidiary_ledgers_with_intercompany_elimination"
)"""
_PLACES: Final = """() => [...document.querySelectorAll("#places a")].map(one => {
  const box = one.getBoundingClientRect();
  const parts = [...one.childNodes].map(part => {
    const seen = document.createRange();
    part.nodeType === Node.TEXT_NODE ? seen.selectNodeContents(part) : seen.selectNode(part);
    return part.className === "n" ? part.getBoundingClientRect() : seen.getBoundingClientRect();
  }).filter(part => part.width > 0);
  return { name: one.id, wide: box.width, high: box.height, left: Math.min(...parts.map(part => part.left)) - box.left,
    right: box.right - Math.max(...parts.map(part => part.right)) };
})"""


def test_a_card_of_long_names_is_read_without_moving_it_sideways(sit: Sit, operator: Person) -> None:
    page = sit("operator", f"/escalations/{operator.asked().escalation}", narrow=True)
    page.evaluate(_LENGTHEN, ".card .top .line .mute")
    assert cut(page, "#card") == []


def test_a_run_of_long_names_is_read_without_moving_it_sideways(sit: Sit, operator: Person) -> None:
    page = sit("operator", f"/runs/{operator.asked().run}", narrow=True)
    for names in (
        ".panel > header a",
        "#i-h",
        ".parts td:first-child a",
        ".events td:nth-child(4)",
        "#inspect td a",
    ):
        page.evaluate(_LENGTHEN, names)
    assert cut(page, "#main") == []


def test_a_start_form_of_a_long_name_does_not_run_off_to_the_side(sit: Sit) -> None:
    page = sit("operator", "/runs/start/invoice_intake", narrow=True)
    page.evaluate(_LENGTHEN, "h1, .head .sub, .btn.do")
    assert cut(page, "body") == []


def test_every_place_can_be_hit_and_read_on_a_phone(sit: Sit) -> None:
    page = sit("operator", narrow=True)
    places = page.evaluate(_PLACES)
    assert len(places) == 8
    assert [one for one in places if min(one["wide"], one["high"]) < FINGER] == []
    assert [one for one in places if min(one["left"], one["right"]) < 0] == []
    assert sum(one["wide"] for one in places[:4]) <= NARROW[0]


@pytest.mark.usefixtures("nothing_held")
def test_the_narrowest_phones_have_stop_and_what_is_held_in_full(sit: Sit, operator: Person) -> None:
    operator.post("/controls/engage", {"kind": "pause", "scope_kind": "workflow", "scope": "refund_desk"})
    page = sit("operator", narrow=True)
    page.set_viewport_size({"width": 360, "height": 740})
    expect(page.locator("#held .held")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    glyph, words = (page.locator(f"#held .held > {part}").first.bounding_box() for part in ("svg", "p"))
    assert glyph is not None
    assert words is not None
    assert glyph["x"] + glyph["width"] <= words["x"]


def cut(page: Page, root: str) -> list[str]:
    found: list[str] = page.evaluate(_CUT, root)
    return found
