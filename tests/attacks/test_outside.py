"""An outsider at the door: what the front passes on, where a socket may come from, who gets past the sign-in page."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from opsconsole import access, front
from tests import factories, patience
from tests.escalations.test_live import aside, cookie_of
from tests.escalations.test_live import socket as live_socket
from tests.setup.test_front import Lanes, lanes, raw

__all__ = ["lanes"]

FORGED = b"X-Forwarded-For: 203.0.113.9"


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\n" + FORGED + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r" + FORGED + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\x00\r\n\r\n",
        b"GET /a\nb HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a\x0bb HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nBad Name: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\tX: b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /ws/live HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n\r\n",
    ],
)
def test_a_head_that_two_readers_could_read_differently_is_refused(head: bytes) -> None:
    with pytest.raises(front.BadHead):
        front.rewrite(head, "192.0.2.1")


@pytest.mark.parametrize(
    "target",
    [
        "/runs/://x/controls/engage",
        "/interventions/list/http://localhost/controls/",
        "//localhost/controls/",
        "/%63ontrols/",
        "/runs/../controls/",
    ],
)
def test_only_the_paths_of_controls_take_the_lane_of_controls(target: str) -> None:
    assert front.lane_of(target) == "pages"


@pytest.mark.parametrize(
    "first",
    [
        b"GET /one HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET /ws/one HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET /ws/one HTTP/1.1\r\nHost: a\r\nupgrade:\twebsocket\r\nConnection: Upgrade\r\n\r\n",
        b"POST /one HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        b"HEAD /one HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /one HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    ],
)
def test_nothing_behind_the_first_request_reaches_a_lane_unseen(lanes: Lanes, first: bytes) -> None:
    second = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n" + FORGED + b"\r\n\r\n"
    with socket.create_connection(("127.0.0.1", lanes.port), timeout=3) as conn:
        conn.sendall(first + second)
        received = b""
        try:
            while chunk := conn.recv(65536):
                received += chunk
        except TimeoutError:
            pass
    assert b"/smuggled" not in received
    assert b"203.0.113.9" not in received


def test_a_forged_address_with_an_underscore_is_not_believed(lanes: Lanes) -> None:
    answer = raw(lanes.port, b"GET / HTTP/1.1\r\nHost: a\r\nX_Forwarded_For: 203.0.113.9\r\n\r\n")
    assert b'"client": ["127.0.0.1"' in answer


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("origin", "host", "let_in"),
    [
        ("http://localhost:8000", "localhost:8000", True),
        ("http://localhost", "localhost", True),
        ("https://localhost", "localhost", True),
        ("https://localhost:443", "localhost", True),
        ("http://localhost:9999", "localhost:8000", False),
        ("http://localhost.evil.example", "localhost:8000", False),
        ("http://evil.example", "evil.example", False),
        ("null", "localhost:8000", False),
        ("", "localhost:8000", False),
        ("http://localhost:8000@evil.example", "localhost:8000", False),
    ],
)
async def test_a_socket_is_opened_from_our_own_pages_only(
    operator: User, origin: str, host: str, let_in: bool
) -> None:
    knocking = live_socket(await aside(cookie_of)(operator), origin=origin)
    headers = [pair for pair in knocking.scope["headers"] if pair[0] != b"host"]
    knocking.scope["headers"] = [*headers, (b"host", host.encode())]
    connected, _ = await knocking.connect(timeout=patience.SECONDS)
    assert connected is let_in
    if connected:
        await knocking.disconnect(timeout=patience.SECONDS)


def routes(patterns: list[URLPattern | URLResolver], before: str = "") -> Iterator[str]:
    """Every address of the console, with 1 for every number and x for every text."""
    for one in patterns:
        if isinstance(one, URLResolver):
            yield from routes(one.url_patterns, before + str(one.pattern))
        else:
            numbered = re.sub("<int:[a-z_]+>", "1", before + str(one.pattern))
            yield "/" + re.sub("<(str|path|slug):[a-z_]+>", "x", numbered.replace("<str:workflow>", "plain"))


OPEN = {"/healthz", "/readyz", "/sign-in", "/hooks/plain/x"}  # a delivery is signed, it has tests of its own


@pytest.mark.django_db
def test_a_stranger_gets_nothing_but_the_sign_in_page() -> None:
    for path in routes(get_resolver().url_patterns):
        assert "<" not in path, f"a kind of address this test does not know: {path}"
        for send in (Client().get, Client().post):
            if path in OPEN:
                continue
            answer = send(path)
            assert answer.status_code == 302, path
            assert answer["Location"].startswith("/sign-in"), path


@pytest.mark.django_db
def test_somebody_deactivated_is_out_at_the_next_click(operator: User) -> None:
    client = Client()
    client.force_login(operator)
    assert client.get("/").status_code == 200
    User.objects.filter(pk=operator.pk).update(is_active=False)
    assert client.get("/").status_code == 302
    assert client.post("/controls/engage", {"kind": "stop", "scope_kind": "everything"}).status_code == 302
    assert factories.journal() == []


@pytest.mark.django_db
def test_no_form_is_taken_from_another_site(operator: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(operator)
    for path in routes(get_resolver().url_patterns):
        if path in OPEN:
            continue
        answer = client.post(path, {"kind": "stop", "scope_kind": "everything", "reason": "x"})
        assert answer.status_code in (403, 404, 405), path
    assert factories.journal() == []


@pytest.mark.django_db
def test_a_host_that_is_not_ours_is_refused() -> None:
    for host in ("evil.example", "localhost.evil.example", "localhost:8000@evil.example", "[::1", "a b"):
        assert Client(headers={"host": host}).get("/sign-in").status_code == 400, host
    forged = Client(headers={"x-forwarded-host": "evil.example"}).get("/runs/")
    assert "evil.example" not in forged["Location"]


@pytest.mark.django_db
def test_signing_in_leads_to_no_other_site(operator: User) -> None:
    User.objects.filter(pk=operator.pk).update(password="")
    operator.set_password("a long enough one")
    operator.save()
    for other in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"):
        sent = {"username": "marta", "password": "a long enough one", "next": other}
        assert Client().post("/sign-in", sent)["Location"] == "/", other


def test_every_route_is_in_the_table_of_pages() -> None:
    def names(patterns: list[URLPattern | URLResolver]) -> Iterator[str]:
        for one in patterns:
            if isinstance(one, URLResolver):
                yield from names(one.url_patterns)
            else:
                yield str(one.name)

    assert set(names(get_resolver().url_patterns)) == set(access.PAGES)
