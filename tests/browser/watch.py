"""What no page may do: errors on its console, breaches of its policy, failed requests, requests to elsewhere.

Collects only; the fixture that opened the page asserts that nothing was found.
"""

import re
from dataclasses import dataclass, field

from playwright.sync_api import ConsoleMessage, Error, Page, Request, Response

_STATUS = re.compile(r"(?:status of|Status Error Code) (\d{3})")
_UNSENT = re.compile(r"htmx:(sendError|afterRequest)\b")  # what htmx says of a request that never left


@dataclass(kw_only=True)
class Watch:
    """One page under watch, and what it opens. `refusals` are the statuses that a test provokes on purpose."""

    origin: str
    refusals: set[int] = field(default_factory=set)
    offline: bool = False
    findings: list[str] = field(default_factory=list)

    def over(self, page: Page) -> None:
        page.on("popup", self.over)
        page.on("console", self._said)
        page.on("pageerror", self._threw)
        page.on("request", self._asked)
        page.on("requestfailed", self._failed)
        page.on("response", self._answered)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning") or self._cut(message.text):
            return
        status = _STATUS.search(message.text)
        if status and int(status.group(1)) in self.refusals:
            return
        self.findings.append(f"console {message.type}: {message.text}")

    def _threw(self, error: Error) -> None:
        self.findings.append(f"script error: {error}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.origin + "/", "data:", "blob:", "about:")):
            self.findings.append(f"left the origin: {request.url}")

    def _failed(self, request: Request) -> None:
        failure = request.failure or ""
        # Aborted is what a page left behind by a click does to its own fetches.
        if failure != "net::ERR_ABORTED" and not self._cut(failure):
            self.findings.append(f"failed: {request.method} {request.url}: {failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self.refusals:
            self.findings.append(f"{response.status}: {response.request.method} {response.url}")

    def _cut(self, text: str) -> bool:
        return self.offline and ("ERR_INTERNET_DISCONNECTED" in text or _UNSENT.match(text) is not None)
