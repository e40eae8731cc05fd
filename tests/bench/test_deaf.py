"""The server that never answers, and the socket on which it is heard."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsconsole.bench.drive import Stalled, Stamps
from opsconsole.bench.flows import stamps as flow_stamps
from opsconsole.environment import REPOSITORY


@pytest.fixture
def stamps(tmp_path: Path) -> Stamps:
    return Stamps(tmp_path / "s")


@pytest.fixture
def port(tmp_path: Path, stamps: Stamps) -> Iterator[int]:
    command = [sys.executable, "-m", "opsconsole.bench.deaf", str(tmp_path / "s")]
    deaf = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert deaf.stdout is not None
    yield int(deaf.stdout.readline())
    deaf.kill()
    deaf.communicate()


def test_it_says_when_a_marked_request_came_and_when_its_sender_was_gone(port: int, stamps: Stamps) -> None:
    with socket.create_connection(("127.0.0.1", port)) as conn:
        conn.sendall(b"POST /v1 HTTP/1.1\r\n\r\n{")
        conn.sendall(b'"mark": "mark-0a"}')
        opened = stamps.wait("open mark-0a")[0]
        closed = time.monotonic_ns()
    gone = stamps.wait("gone mark-0a")[0]
    assert opened < closed <= gone


def test_it_never_answers(port: int, stamps: Stamps) -> None:
    with socket.create_connection(("127.0.0.1", port)) as conn:
        conn.sendall(b"GET /mark-1 HTTP/1.1\r\n\r\n")
        stamps.wait("open mark-1")
        conn.setblocking(False)
        with pytest.raises(BlockingIOError):
            conn.recv(1)


def test_what_is_not_said_is_missed_in_one_sentence(stamps: Stamps) -> None:
    with pytest.raises(Stalled, match="1 stamps, such as open mark-2"):
        stamps.wait("open mark-2", seconds=0.01)


def test_a_workflow_says_that_its_code_has_started(
    tmp_path: Path, stamps: Stamps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_STAMPS", str(tmp_path / "s"))
    before = time.monotonic_ns()
    flow_stamps.stamp("mark-3")
    assert before <= stamps.wait("mark-3")[0] <= time.monotonic_ns()
