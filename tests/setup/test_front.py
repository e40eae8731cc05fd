"""The front: the right lane, nothing a client may not claim, and no page can delay a control."""

import asyncio
import contextlib
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import websockets

from opsconsole import environment, front
from opsconsole.embedded.processes import wait_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Lanes:
    port: int
    control_pid: int


@pytest.fixture(scope="module")
def lanes() -> Iterator[Lanes]:
    """The real front before two real daphnes that run an app for tests."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="front-")))
        sockets = {name: folder / f"{name}.sock" for name in ("pages", "control")}
        pids = {}
        for name, path in sockets.items():
            options = ["-u", str(path), "--proxy-headers", "-v", "0", "tests.setup.slow_app:application"]
            pids[name] = _run(stack, "daphne", *options)
        listener = stack.enter_context(contextlib.closing(socket.create_server(("127.0.0.1", 0))))
        listener.set_inheritable(True)
        arguments = [str(listener.fileno()), str(sockets["pages"]), str(sockets["control"])]
        _run(stack, "opsconsole.front", *arguments, pass_fds=(listener.fileno(),))
        assert wait_until(lambda: all(path.exists() for path in sockets.values()), 60)
        yield Lanes(port=listener.getsockname()[1], control_pid=pids["control"])


def _run(stack: contextlib.ExitStack, module: str, *arguments: str, pass_fds: tuple[int, ...] = ()) -> int:
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=environment.REPOSITORY,
        pass_fds=pass_fds,
        stdout=subprocess.DEVNULL,
    )
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process.pid


def get(port: int, path: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> Any:
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        conn.request("POST" if body is not None else "GET", path, body=body, headers=headers or {})
        response = conn.getresponse()
        assert response.status == 200
        return json.loads(response.read())
    finally:
        conn.close()


def raw(port: int, sent: bytes) -> bytes:
    """What comes back until the front closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as conn:
        conn.sendall(sent)
        received = b""
        while chunk := conn.recv(65536):
            received += chunk
        return received


@pytest.mark.parametrize(
    ("target", "lane"),
    [
        ("/", "pages"),
        ("/runs/7", "pages"),
        ("/controlsx", "pages"),
        ("/controls", "control"),
        ("/controls/engage?x=/runs", "control"),
        ("/healthz", "control"),
        ("/readyz?verbose", "control"),
        ("/?next=/controls/", "pages"),
        ("http://localhost/controls/engage", "control"),
        ("http://localhost", "pages"),
    ],
)
def test_the_lane_is_chosen_by_path_alone(target: str, lane: str) -> None:
    assert front.lane_of(target) == lane


@pytest.mark.parametrize(
    "head",
    [
        b"GET /\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"G\x00T / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nNo colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n",
    ],
)
def test_a_malformed_head_is_refused(head: bytes) -> None:
    with pytest.raises(front.BadHead):
        front.rewrite(head, "192.0.2.1")


def test_a_client_cannot_claim_where_it_comes_from(lanes: Lanes) -> None:
    claimed = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "Forwarded": "for=203.0.113.9"}
    seen = get(lanes.port, "/", claimed)
    assert seen["client"][0] == "127.0.0.1"
    assert "x-forwarded-proto" not in seen["headers"]
    assert "forwarded" not in seen["headers"]


def test_each_request_has_a_connection_of_its_own(lanes: Lanes) -> None:
    two = (
        b"GET /one HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\nGET /two HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    answer = raw(lanes.port, two)
    assert b'"path": "/one"' in answer
    assert b"/two" not in answer


def test_a_large_body_arrives_whole(lanes: Lanes) -> None:
    assert get(lanes.port, "/upload", body=b"x" * 3_000_000)["length"] == 3_000_000


def test_garbage_gets_a_400_and_a_huge_head_too(lanes: Lanes) -> None:
    assert raw(lanes.port, b"\x16\x03\x01 nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    huge = b"GET / HTTP/1.1\r\nX: " + b"a" * (front.HEAD_LIMIT_BYTES + 10) + b"\r\n\r\n"
    with contextlib.suppress(ConnectionResetError):  # it may close before we have sent everything
        assert raw(lanes.port, huge).startswith(b"HTTP/1.1 400 ")
    assert get(lanes.port, "/after")["path"] == "/after"


async def test_a_websocket_passes_both_ways(lanes: Lanes) -> None:
    async with websockets.connect(f"ws://127.0.0.1:{lanes.port}/ws/live") as socket:
        await socket.send("hello")
        assert await asyncio.wait_for(socket.recv(), 60) == "hello"


def test_a_lane_that_is_frozen_does_not_freeze_the_other(lanes: Lanes) -> None:
    os.kill(lanes.control_pid, signal.SIGSTOP)
    try:
        assert get(lanes.port, "/runs/")["path"] == "/runs/"
    finally:
        os.kill(lanes.control_pid, signal.SIGCONT)
    assert get(lanes.port, "/controls")["path"] == "/controls"


def test_a_lane_that_is_down_is_a_503_that_says_when_to_come_back(tmp_path: Path) -> None:
    async def ask() -> bytes:
        lanes = {"pages": str(tmp_path / "none"), "control": str(tmp_path / "none")}
        server = await asyncio.get_running_loop().create_server(front.Front(lanes).client, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            return answer

    answer = asyncio.run(ask())
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 2" in answer
    assert b"starting, try again" in answer


def test_no_control_waits_for_thirty_pages_that_block_their_lane(lanes: Lanes, tmp_path: Path) -> None:
    free = tmp_path / "free"
    ask = f"GET /slow?{free} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with contextlib.ExitStack() as hanging:
        hanging.callback(free.touch)
        pages = []
        for _ in range(30):
            conn = hanging.enter_context(socket.create_connection(("127.0.0.1", lanes.port), timeout=60))
            conn.sendall(ask)
            pages.append(conn)
        for _ in range(20):
            assert get(lanes.port, "/controls/engage", body=b"scope=all")["length"] == 9
        assert select.select(pages, [], [], 0)[0] == []
        free.touch()
        assert all(conn.recv(12) == b"HTTP/1.1 200" for conn in pages)
