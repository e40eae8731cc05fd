"""The sink itself: what the effect tests rely on."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.faults.fleet import SinkProcess, until


def _connect(sink: SinkProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", sink.port), timeout=60)


def _request(key: str) -> bytes:
    return json.dumps({"key": key, "arguments": {"number": 1}}).encode()


def test_a_request_is_answered_when_it_is_in_the_log(sink: SinkProcess) -> None:
    for key in ("a", "b", "a"):
        with _connect(sink) as conn:
            assert conn.recv(16) == b"sink\n"
            conn.sendall(_request(key))
            assert conn.recv(16) == b"ok\n"
    assert sink.keys() == ["a", "b", "a"]


def test_a_slow_sink_makes_the_sender_wait_before_it_can_hand_over(tmp_path: Path) -> None:
    sink = SinkProcess(tmp_path, delay_ms=(200.0, 200.0))
    try:
        began = time.monotonic()
        with _connect(sink) as one, _connect(sink) as two:
            assert (one.recv(16), two.recv(16)) == (b"sink\n", b"sink\n")
        assert time.monotonic() - began >= 0.2
    finally:
        sink.end()


def test_a_request_arrives_when_it_reached_the_kernel_not_when_the_sink_read_it(sink: SinkProcess) -> None:
    with _connect(sink) as conn:
        assert conn.recv(16) == b"sink\n"
        os.kill(sink.pid, signal.SIGSTOP)
        until(lambda: _state(sink.pid) == "T", "the sink is frozen")
        conn.sendall(_request("late to be read"))
        sent = time.time_ns()
        until(lambda: time.time_ns() > sent + 200_000_000, "a fifth of a second has passed")
        os.kill(sink.pid, signal.SIGCONT)
        assert conn.recv(16) == b"ok\n"
    (entry,) = sink.arrivals()
    if entry["clock"] != "kernel":
        pytest.skip("this system's kernel does not stamp what arrives")
    assert entry["arrived_ns"] < sent + 100_000_000


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
