"""Deliveries over the whole way: a client's socket, the front, a daphne with the console's own application."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.conf import settings as django_settings
from django.db import connection
from standardwebhooks import Webhook as Signature

from opsconsole import environment, front
from opsconsole.embedded.processes import wait_until
from runs.engine.triggers.deliveries import MOST_BYTES
from runs.models import Run
from tests.starts.conftest import SECRET

pytestmark = pytest.mark.django_db(transaction=True)
ADDRESS = "/hooks/hooked/parcels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    port: int
    lane: Path


@pytest.fixture
def console(transactional_db: None) -> Iterator[Console]:
    """A front before one daphne, on the tests' database."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hooks-")))
        lane = folder / "pages.sock"
        _run(stack, "daphne", "-u", str(lane), "--proxy-headers", "-v", "0", "opsconsole.asgi:application")
        listener = stack.enter_context(contextlib.closing(socket.create_server(("127.0.0.1", 0))))
        listener.set_inheritable(True)
        fd = listener.fileno()
        _run(stack, "opsconsole.front", str(fd), str(lane), str(lane), pass_fds=(fd,))
        assert wait_until(lane.exists, 120)
        yield Console(port=listener.getsockname()[1], lane=lane)


def _run(stack: contextlib.ExitStack, module: str, *arguments: str, pass_fds: tuple[int, ...] = ()) -> None:
    env = os.environ | {
        "DATABASE_URL": _database(),
        "REDIS_URL": django_settings.REDIS_URL,
        "OPSCONSOLE_APPS": "tests.starts.hooked",
        "WEBHOOK_SECRETS": f"hooked/parcels={SECRET}",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments], cwd=environment.REPOSITORY, pass_fds=pass_fds, env=env
    )
    stack.callback(process.wait)
    stack.callback(process.kill)


def _database() -> str:
    given: dict[str, Any] = connection.settings_dict
    who = quote(given["USER"], safe="")
    password = f":{quote(given['PASSWORD'], safe='')}" if given["PASSWORD"] else ""
    place = urlencode({key.lower(): given[key] for key in ("HOST", "PORT") if given[key]})
    return f"postgresql://{who}{password}@/{given['NAME']}?{place}"


def signed(body: bytes, id: str = "msg_1") -> dict[str, str]:
    moment = datetime.now(UTC)
    return {
        "Content-Type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Signature(SECRET).sign(msg_id=id, timestamp=moment, data=body.decode()),
    }


def post(port: int, body: Any, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        with contextlib.suppress(BrokenPipeError):  # the answer comes before everything is sent
            conn.request("POST", ADDRESS, body=body, headers=headers)
        response = conn.getresponse()
        return response.status, json.loads(response.read())
    finally:
        conn.close()


def test_a_delivery_over_the_whole_way(console: Console) -> None:
    port = console.port
    body = b'{"number": 4711}'
    status, answer = post(port, body, signed(body))
    run = Run.objects.get(workflow="hooked")
    assert (status, answer["run"], answer["created"]) == (202, run.pk, True)
    assert (run.started_by, run.goal) == ("webhook parcels", "Parcel 4711")
    assert post(port, body, signed(body))[0] == 200
    assert post(port, b'{"number": 4712}', signed(body, "msg_2"))[0] == 401
    assert post(port, b'{"number": "x"}', signed(b'{"number": "x"}', "msg_3"))[0] == 422
    assert Run.objects.filter(workflow="hooked").count() == 1

    # Too large: told by the front, from the head alone, without taking the body in.
    large = b"x" * (10 * MOST_BYTES)
    status, answer = post(port, large, {"webhook-id": "msg_4"})
    assert (status, "at most 1000000 bytes" in answer["says"]) == (413, True)
    assert post(port, iter([b"x" * 100]), {"webhook-id": "msg_5"})[0] == 413  # chunked: no length is said
    # Another proxy may let that through: then the lane counts.
    assert b" 413 " in _chunked(console.lane, b"x" * (MOST_BYTES + 1)).partition(b"\r\n")[0]
    assert b" 401 " in _chunked(console.lane, b"x" * MOST_BYTES).partition(b"\r\n")[0]


def _chunked(lane: Path, body: bytes) -> bytes:
    """What the lane itself answers to a body whose length nobody has said."""
    head = f"POST {ADDRESS} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.socket(socket.AF_UNIX) as conn:
        conn.settimeout(20)
        conn.connect(str(lane))
        conn.sendall(head.encode() + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        answer = b""
        while chunk := conn.recv(65536):
            answer += chunk
        return answer


def test_the_front_and_the_engine_allow_the_same() -> None:
    assert front.HOOK_BODY_BYTES == MOST_BYTES


@pytest.mark.parametrize(
    ("target", "field"),
    [
        ("/hooks/a/b", "Content-Length: 1000001"),
        ("/hooks/a/b", "Content-Length: " + "9" * 5000),
        ("/hooks/a/b", "Content-Length: -1"),
        ("/hooks/a/b", "Transfer-Encoding: chunked"),
    ],
)
def test_a_body_that_may_be_too_large_is_refused_from_its_head(target: str, field: str) -> None:
    with pytest.raises(front.BodyTooLarge):
        front.rewrite(f"POST {target} HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n".encode(), "192.0.2.1")


@pytest.mark.parametrize("target", ["/hooks/a/b", "/runs/start"])
def test_other_bodies_pass(target: str) -> None:
    size = 1_000_000 if target.startswith("/hooks") else 9_000_000
    head = f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"
    assert front.rewrite(head.encode(), "192.0.2.1").lane == "pages"
