"""A person at the console over HTTP: signs in by the form and fetches pages. Runs no script and keeps no clock."""

from __future__ import annotations

import http.client
import re
import secrets
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from urllib.parse import urlencode

from opsconsole.bench import drive

_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


class Unexpected(Exception):
    """The console answered otherwise than a signed-in person expects."""


@dataclass(slots=True, kw_only=True)
class Browser:
    """One person's cookies and one connection at a time."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def get(self, path: str) -> str:
        """The page. Raises Unexpected for anything but 200."""
        status, text = self._ask("GET", path)
        if status != 200:
            raise Unexpected(f"{path} answered {status}")
        return text

    def sign_in(self, username: str, password: str) -> None:
        """By the form, as people do. Raises Unexpected."""
        found = _TOKEN.search(self.get("/sign-in"))
        if found is None:
            raise Unexpected("the sign-in form has no token")
        form = {"username": username, "password": password, "csrfmiddlewaretoken": found.group(1)}
        status, _ = self._ask("POST", "/sign-in", urlencode(form))
        if status != 302 or "sessionid" not in self.cookies:
            raise Unexpected(f"signing in answered {status}")

    def _ask(self, method: str, path: str, body: str | None = None) -> tuple[int, str]:
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Host": f"localhost:{self.port}", "Origin": f"http://localhost:{self.port}"}
        if self.cookies:
            headers["Cookie"] = self.cookie
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            conn.request(method, path, body=body, headers=headers)
            reply = conn.getresponse()
            for value in reply.headers.get_all("Set-Cookie") or []:
                self.cookies |= {name: part.value for name, part in SimpleCookie(value).items()}
            return reply.status, reply.read().decode()
        finally:
            conn.close()


def signed_in(port: int, username: str) -> Browser:
    """A person of that name, made when not there, signed in. Raises Stalled, Unexpected."""
    browser = Browser(port=port)
    drive.until(lambda: _is_up(browser), "the console answers")
    password = secrets.token_urlsafe(12)
    drive.operator(username, password)
    browser.sign_in(username, password)
    return browser


def _is_up(browser: Browser) -> bool:
    try:
        browser.get("/healthz")
    except (OSError, http.client.HTTPException, Unexpected):
        return False
    return True
