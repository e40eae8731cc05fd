"""The effect sink: the world that effects change, as a process of its own. Every request is one line in its log.

    python tests/faults/sink.py LOG [--delay-ms LEAST MOST] [--seed N]

prints its port, then answers until it is killed. Whoever connects waits 0 to 50 ms (as told) for the greeting,
sends one JSON line and gets `ok` when it is in the log. It refuses nothing and forgets nothing: a key that comes
twice is two lines, since what arrived is what the tests are about. Imports nothing of ours.

The delay stands before the greeting and not before `accept`: a listening socket completes handshakes by itself,
so the sender cannot tell the two apart, and this way the delays of several connections overlap.

When a request arrived is asked of the kernel (SO_TIMESTAMPNS: the moment the segment reached this socket), so that
a sink that is itself late cannot make an effect look late. The option stands on the listening socket from the start,
because the kernel stamps nothing before somebody has asked, and would fill in the time of reading instead. Where the
option does not exist the time of reading is used, which is never too early; `clock` says which it was.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import os
import random
import selectors
import socket
import struct
import sys
import time

GREETING = b"sink\n"
TAKEN = b"ok\n"
_SO_TIMESTAMPNS = 35  # Linux; Python's socket module has no name for it
_LONGEST_REQUEST = 65536


class Sink:
    """One thread, one selector: what waits for its delay stands in a heap."""

    def __init__(self, log: str, delay_ms: tuple[float, float], seed: int) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._delay = delay_ms
        self._random = random.Random(seed)
        self._selector = selectors.DefaultSelector()
        self._delayed: list[tuple[float, int, socket.socket]] = []
        self._numbers = itertools.count()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._stamped = _ask_for_stamps(self._listener)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def serve(self) -> None:
        while True:
            for key, _ in self._selector.select(self._until_next()):
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._read(key.fileobj)  # type: ignore[arg-type]  # only sockets are registered
            self._greet()

    def _until_next(self) -> float | None:
        return max(0.0, self._delayed[0][0] - time.monotonic()) if self._delayed else None

    def _accept(self) -> None:
        conn, _ = self._listener.accept()
        conn.setblocking(False)
        due = time.monotonic() + self._random.uniform(*self._delay) / 1000
        heapq.heappush(self._delayed, (due, next(self._numbers), conn))

    def _greet(self) -> None:
        while self._delayed and self._delayed[0][0] <= time.monotonic():
            conn = heapq.heappop(self._delayed)[2]
            try:
                conn.sendall(GREETING)
            except OSError:  # the sender was killed while it waited
                conn.close()
                continue
            self._selector.register(conn, selectors.EVENT_READ)

    def _read(self, conn: socket.socket) -> None:
        """One request and its answer. Requests are small: they come in one segment or not at all."""
        try:
            data, stamps, _, _ = conn.recvmsg(_LONGEST_REQUEST, 256)
            if data:
                self._take(data, _arrived(stamps) if self._stamped else None)
                conn.sendall(TAKEN)
        except OSError:
            pass
        self._selector.unregister(conn)
        conn.close()

    def _take(self, data: bytes, arrived: int | None) -> None:
        request = json.loads(data)
        line = {
            "key": request["key"],
            "arguments": request["arguments"],
            "arrived_ns": arrived or time.time_ns(),
            "clock": "kernel" if arrived else "reading",
        }
        os.write(self._log, json.dumps(line).encode() + b"\n")


def _ask_for_stamps(listener: socket.socket) -> bool:
    """Accepted sockets inherit the option."""
    if sys.platform != "linux":
        return False
    listener.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    return True


def _arrived(stamps: list[tuple[int, int, bytes]]) -> int | None:
    for level, kind, data in stamps:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = struct.unpack("qq", data[:16])
            return int(seconds * 1_000_000_000 + nanoseconds)
    return None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("log")
    parser.add_argument("--delay-ms", nargs=2, type=float, default=(0.0, 0.0), metavar=("LEAST", "MOST"))
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sink = Sink(given.log, (given.delay_ms[0], given.delay_ms[1]), given.seed)
    print(sink.port, flush=True)
    sink.serve()


if __name__ == "__main__":
    main()
