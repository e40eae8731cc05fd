"""When something came to a page that nobody touched: the browser notes the time, the journal has the other one."""

import re
from datetime import datetime
from typing import Final

from playwright.sync_api import Page, expect

from tests.browser.person import Person
from tests.faults import figures

FIGURE: Final = 1.0  # seconds from the journal to every open page, on two idle cores

_NOTE = """(words) => {
  window.untouched = true;
  window.seenAt = null;
  const look = () => {
    const place = document.querySelector(words.within);
    if (window.seenAt === null && place && place.textContent.includes(words.text)) window.seenAt = Date.now();
  };
  new MutationObserver(look).observe(document.body, { childList: true, subtree: true, characterData: true });
  look();
}"""
_AT = re.compile(r"(\d+ \w{3} \d{4} \d\d:\d\d:\d\d\.\d+) UTC")


def watch_for(page: Page, within: str, text: str) -> None:
    """From now on the page notes when these words first stand within that element."""
    page.evaluate(_NOTE, {"within": within, "text": text})


def arrived(page: Page, within: str, text: str) -> float:
    """When they did, in seconds since 1970. The page must not have been loaded anew for it."""
    expect(page.locator(within)).to_contain_text(text)
    untouched(page)
    seen = page.evaluate("window.seenAt")
    assert seen is not None
    return float(seen) / 1000


def untouched(page: Page) -> None:
    """Nobody has reloaded this page since `watch_for`."""
    assert page.evaluate("window.untouched") is True


def recorded(person: Person, act: str, about: str = "") -> float:
    """When the newest such entry was made, in seconds since 1970."""
    listed = person.read(f"/interventions/list?act={act.replace(' ', '+')}&text={about}")
    newest = re.search(r'id="e-(\d+)"', listed)
    assert newest, f"no entry {act!r} {about!r}"
    at = _AT.search(person.read(f"/interventions/{newest.group(1)}"))
    assert at
    return datetime.strptime(f"{at.group(1)}+0000", "%d %b %Y %H:%M:%S.%f%z").timestamp()


def quick(what: str, recorded_at: float, seen_at: float) -> None:
    """How quick is told beside the figure; what is held has room for cores that others want too."""
    took = seen_at - recorded_at
    measured = f"{took * 1000:.0f} ms from the journal to the page"
    figures.tell(f"browser: {what}", target=f"{FIGURE:g} s", measured=measured, n=1)
    assert took <= figures.room(FIGURE)
