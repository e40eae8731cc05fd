"""A real console, a real Chromium, and people who sit before it.

Everything here lives as long as this folder's tests and no longer: Playwright keeps an event loop running in
the main thread, which the asynchronous tests of other folders would not bear.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.browser.console import Console
from tests.browser.person import Person
from tests.browser.watch import Watch

WIDE, NARROW = (1440, 900), (390, 844)
PATIENCE_MS = 60_000  # for a busy machine; what must be quick is measured

Sit = Callable[..., Page]


@pytest.fixture(scope="package")
def console(chromium_path: str) -> Iterator[Console]:
    """`manage.py up`, only where there is a Chromium to look at it."""
    with tempfile.TemporaryDirectory(prefix="opsconsole-browser-") as folder:
        Path(folder).chmod(0o711)  # as root, the database runs under another account
        running = Console(data=Path(folder) / "data")
        try:
            running.start()
            yield running
        finally:
            running.end()


@pytest.fixture(scope="package")
def chrome(chromium_path: str, chromium_flags: list[str]) -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=chromium_flags)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def sessions(console: Console, chrome: Browser) -> dict[str, Any]:
    """The cookies of each demo person, signed in once by the form."""
    return {name: _signed_in(console, chrome, name) for name in console.people}


@pytest.fixture(scope="package")
def _browsers(sessions: dict[str, Any]) -> Iterator[dict[str, BrowserContext]]:
    """The browser of each person who has sat down: a new one costs a second of processor time, a page in it half."""
    made: dict[str, BrowserContext] = {}
    yield made
    for context in made.values():
        context.close()


@pytest.fixture
def sit(
    console: Console, chrome: Browser, sessions: dict[str, Any], _browsers: dict[str, BrowserContext]
) -> Iterator[Sit]:
    """sit("operator") opens a page of that person; every page is watched to the end of the test.

    Who is offline, has not signed in or has no JavaScript gets a browser that nobody had before, and so does `own`:
    for tests that change what all pages of a browser share, such as its clock and what it stores.
    """
    opened: list[tuple[Page | BrowserContext, Watch]] = []

    def open_page(
        name: str,
        path: str = "/",
        *,
        narrow: bool = False,
        javascript: bool = True,
        refusals: tuple[int, ...] = (),
        offline: bool = False,
        own: bool = False,
    ) -> Page:
        watch = Watch(origin=console.address, refusals=set(refusals), offline=offline)
        state = sessions[name] if name else None
        if own or offline or not (name and javascript):
            context = _context(console, chrome, state, javascript)
            page = context.new_page()
            opened.append((context, watch))
        else:
            if name not in _browsers:
                _browsers[name] = _context(console, chrome, state)
            context = _browsers[name]
            if not context.pages:  # an open page may ask at any moment: without cookies it is sent to sign in
                context.clear_cookies()
                context.add_cookies(sessions[name]["cookies"])
            page = context.new_page()
            opened.append((page, watch))
        watch.over(page)
        width, height = NARROW if narrow else WIDE
        page.set_viewport_size({"width": width, "height": height})
        page.goto(path)
        if name and javascript:
            expect(page.locator("#live")).to_have_attribute("data-s", "live")
        return page

    yield open_page
    for one, _ in opened:
        one.close()
    assert [finding for _, watch in opened for finding in watch.findings] == []


def _context(console: Console, chrome: Browser, state: Any, javascript: bool = True) -> BrowserContext:
    context = chrome.new_context(
        base_url=console.address, storage_state=state, java_script_enabled=javascript
    )
    context.set_default_timeout(PATIENCE_MS)
    return context


@pytest.fixture
def operator(console: Console, chrome: Browser, sessions: dict[str, Any]) -> Iterator[Person]:
    yield from _person(console, chrome, sessions["operator"])


@pytest.fixture
def admin(console: Console, chrome: Browser, sessions: dict[str, Any]) -> Iterator[Person]:
    yield from _person(console, chrome, sessions["admin"])


@pytest.fixture
def auditor(console: Console, chrome: Browser, sessions: dict[str, Any]) -> Iterator[Person]:
    yield from _person(console, chrome, sessions["auditor"])


@pytest.fixture
def nothing_held(admin: Person) -> Iterator[None]:
    """For tests that hold everything: the others find the console going, even if such a test fails."""
    yield
    admin.release_everything()


def _person(console: Console, chrome: Browser, session: Any) -> Iterator[Person]:
    context = chrome.new_context(base_url=console.address, storage_state=session)
    yield Person(console=console, request=context.request)
    context.close()


def _signed_in(console: Console, chrome: Browser, name: str) -> Any:
    context = chrome.new_context(base_url=console.address)
    page = context.new_page()
    page.goto("/sign-in")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(console.people[name])
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#places")).to_be_visible()
    state = context.storage_state()
    context.close()
    return state
