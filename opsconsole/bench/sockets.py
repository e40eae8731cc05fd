"""Many open websockets in one process, and when the last of them had an entry of the journal. Imports nothing of ours.

    python -m opsconsole.bench.sockets PORT COUNT PEOPLE < cookies of so many people, then numbers, one a line

They are inboxes. Prints "ready" when everyone has heard "hello"; for each number the nanoseconds (monotonic) at which
each had the message of that entry, which must have brought its parts. Messages are recognised by their bytes and not
parsed: this process shares the cores with what it measures.
"""

from __future__ import annotations

import base64
import json
import os
import re
import selectors
import socket
import sys
import time

_CHUNK = 65536
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
_MOST_CONNECTING = 20
_ENTRY = re.compile(rb'"type": ?"journal", ?"seq": ?(\d+)')
_PARTS = (b'"places": ', b'"queue": ')


class Socket:
    """One open websocket; text frames are handed out whole."""

    def __init__(self, port: int, cookie: str) -> None:
        self.conn = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        self.conn.sendall(
            f"GET /ws/live?at=inbox HTTP/1.1\r\nHost: localhost:{port}\r\nOrigin: http://localhost:{port}\r\n"
            f"Cookie: {cookie}\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self._data = b""
        while b"\r\n\r\n" not in self._data:
            self._read()
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n", 1)[0]:
            raise ConnectionError(head.split(b"\r\n", 1)[0].decode())

    def hear(self) -> list[bytes]:
        """What has come; blocks while nothing has."""
        self._read()
        heard = []
        while (frame := self._frame()) is not None:
            opcode, payload = frame
            if opcode == _TEXT:
                heard.append(payload)
            elif opcode == _PING:
                self._pong(payload)
            elif opcode == _CLOSE:
                raise ConnectionError(f"closed: {payload!r}")
        return heard

    def _read(self) -> None:
        data = self.conn.recv(_CHUNK)
        if not data:
            raise ConnectionError("the console closed a socket")
        self._data += data

    def _frame(self) -> tuple[int, bytes] | None:
        """One frame of a server: never masked, never in parts, since our messages are small."""
        data = self._data
        if len(data) < 2:
            return None
        size, at = data[1] & 0x7F, 2
        if size == 126:
            size, at = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, at = int.from_bytes(data[2:10], "big"), 10
        if len(data) < at + size:
            return None
        self._data = data[at + size :]
        return data[0] & 0x0F, data[at : at + size]

    def _pong(self, payload: bytes) -> None:
        mask = b"\0\0\0\0"  # a client's frames are masked; with zeros the payload stays as it is
        self.conn.sendall(bytes([0x80 | _PONG, 0x80 | len(payload)]) + mask + payload)


class Crowd:
    """All sockets of this process, and the input on which it is told what to wait for."""

    def __init__(self, port: int, cookies: list[str], count: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._greeted: set[Socket] = set()
        self._heard: dict[int, dict[Socket, int]] = {}  # entry -> when each socket had its message
        self.count = count
        for at in range(count):
            one = Socket(port, cookies[at % len(cookies)])
            self._selector.register(one.conn, selectors.EVENT_READ, one)
            if at % _MOST_CONNECTING == 0:
                self._turn(0.0)

    def until_greeted(self) -> None:
        while len(self._greeted) < self.count:
            self._turn(None)

    def until_heard(self, seq: int) -> list[int]:
        """When each had the message of this entry; also when that was before anybody asked."""
        while len(self._heard.get(seq, {})) < self.count:
            self._turn(None)
        return list(self._heard.pop(seq).values())

    def until_asked(self) -> str:
        """The next line of the input; meanwhile everything is heard."""
        self._selector.register(sys.stdin, selectors.EVENT_READ, None)
        try:
            while not self._turn(None):
                continue
            return sys.stdin.readline()
        finally:
            self._selector.unregister(sys.stdin)

    def _turn(self, seconds: float | None) -> bool:
        """Hear what has come; true when the input has something."""
        asked = False
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                asked = True
                continue
            moment = time.monotonic_ns()
            for words in key.data.hear():
                self._note(key.data, words, moment)
        return asked

    def _note(self, one: Socket, words: bytes, moment: int) -> None:
        if b'"hello"' in words:
            self._greeted.add(one)
        found = _ENTRY.match(words, 1)
        if found:
            if not all(part in words for part in _PARTS):
                raise ValueError(f"an entry without its parts: {words[:200]!r}")
            self._heard.setdefault(int(found.group(1)), {}).setdefault(one, moment)


def main() -> None:
    port, count, people = (int(given) for given in sys.argv[1:4])
    cookies = [sys.stdin.readline().strip() for _ in range(people)]
    crowd = Crowd(port, cookies, count)
    crowd.until_greeted()
    print("ready", flush=True)
    while line := crowd.until_asked():
        print(json.dumps(crowd.until_heard(int(line))), flush=True)


if __name__ == "__main__":
    main()
