"""A signed-in person who acts by plain requests, for what a test needs to have happened. Opens no page."""

import itertools
import re
import time
from dataclasses import dataclass
from typing import Final

from playwright.sync_api import APIRequestContext, APIResponse

from tests.browser.console import Console
from tests.browser.invoices import invoice

WAIT_SECONDS: Final = 60.0
_numbers = itertools.count(1)
_CSRF = re.compile(r'"X-CSRFToken": "([^"]+)"')
_START_KEY = re.compile(r'name="start_key"\s+value="([^"]+)"')
_VERSION = re.compile(r'name="version"\s+value="(\d+)"')
_DIGEST = re.compile(r'name="digest"\s+value="(\w+)"')


def new_number() -> str:
    """An invoice number that no other test has."""
    return f"BR-{next(_numbers):04d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A run that waits for a person, and the escalation round its question."""

    number: str  # of the invoice; stands in the escalation's title
    run: int
    escalation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody's session, and the console they talk to."""

    console: Console
    request: APIRequestContext

    def read(self, path: str) -> str:
        response = self.request.get(path)
        assert response.status == 200, (path, response.status)
        return response.text()

    def post(self, path: str, form: dict[str, str | float | bool] | None = None) -> APIResponse:
        """A form as the browser sends it. Follows no redirect."""
        token = _found(_CSRF, self.read("/"))
        origin = {"Origin": self.console.address, "X-CSRFToken": token}
        return self.request.post(path, form=form or {}, headers=origin, max_redirects=0)

    def start(self, number: str, text: str = "", goal: str = "") -> int:
        """The number of a run that takes this invoice in."""
        file = f"{number}.txt"
        self.console.put(file, text or invoice(number))
        return self.start_of("invoice_intake", folder="inbox", file=file, goal=goal)

    def start_of(self, workflow: str, **fields: str) -> int:
        """The number of a new run; a field that is not named is not sent."""
        path = f"/runs/start/{workflow}"
        key = {"start_key": _found(_START_KEY, self.read(path))}
        response = self.post(path, {**key, **{f"field.{name}": value for name, value in fields.items()}})
        assert response.status == 302, response.text()
        return int(response.headers["location"].rsplit("/", 1)[1])

    def asked(self, text: str = "", goal: str = "", number: str = "") -> Asked:
        """A new run that has come to ask a person."""
        number = number or new_number()
        run = self.start(number, text, goal)
        return Asked(number=number, run=run, escalation=self.escalation_of(run))

    def escalation_of(self, run: int) -> int:
        """Waits until the run asks."""
        page = self.until(f"/runs/{run}/people", "A person is asked")
        return int(_found(re.compile(r'id="waits-(\d+)"'), page))

    def until(self, path: str, words: str) -> str:
        """The page, once the words stand on it."""
        deadline = time.monotonic() + WAIT_SECONDS
        while words not in (page := self.read(path)):
            assert time.monotonic() < deadline, f"{words!r} never came to {path}"
            time.sleep(0.05)
        return page

    def decide(self, act: str, escalation: int, **form: str) -> APIResponse:
        """approve, reject, respond or edit what the card shows now."""
        card = self.read(f"/escalations/{escalation}")
        seen = {"version": _found(_VERSION, card), "digest": _found(_DIGEST, card)}
        return self.post(f"/escalations/{escalation}/{act}", {**seen, **form})

    def limit(self, form: dict[str, str | float | bool]) -> str:
        """The number of a limit that is enforced, once the rehearsal that this asks for has ended."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            answer = self.post("/limits/set", form)
            assert answer.status == 302, answer.text()
            if line := re.search(r"/limits/(\d+)$", answer.headers["location"]):
                return line.group(1)
            assert time.monotonic() < deadline, f"not rehearsed: {answer.headers['location']}"
            time.sleep(0.05)

    def release_stops(self) -> None:
        """What is held now is released; the runs of a stop stay where they are."""
        for control in re.findall(r'id="hold-(\d+)"', self.read("/controls/held")):
            self.post(f"/controls/{control}/release", {"reason": "end of the test"})

    def release_everything(self) -> None:
        """Whatever is held is released and resumed: for the end of a test that held something."""
        self.release_stops()
        for control in re.findall(r'action="/controls/(\d+)/resume"', self.read("/controls/left")):
            self.post(f"/controls/{control}/resume")


def _found(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    assert match, f"{pattern.pattern} is not in {text[:500]}"
    return match.group(1)
