"""A server that never answers: it says when a marked request came and when its sender went away.

    python -m opsconsole.bench.deaf STAMPS

prints its port, then sends "open MARK NANOSECONDS" and "gone MARK NANOSECONDS" to the datagram socket STAMPS. The mark
is found anywhere in what was sent. Times are taken as soon as the socket is readable; sending them has a thread of its
own, so that nobody's time waits for another's. Imports nothing of ours.
"""

from __future__ import annotations

import contextlib
import queue
import re
import selectors
import socket
import sys
import threading
import time

_MARK = re.compile(rb"mark-[0-9a-z-]+")
_CHUNK = 65536


class Deaf:
    """One thread, one selector."""

    def __init__(self, stamps: str) -> None:
        self._stamps = stamps
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._marks: dict[socket.socket, str] = {}
        self._heard: dict[socket.socket, bytes] = {}
        self._words: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._tell, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._welcome()
                else:
                    self._hear(key.fileobj)  # type: ignore[arg-type]  # only sockets are registered

    def _welcome(self) -> None:
        conn, _ = self._listener.accept()
        conn.setblocking(False)
        self._heard[conn] = b""
        self._selector.register(conn, selectors.EVENT_READ)

    def _hear(self, conn: socket.socket) -> None:
        try:
            data = conn.recv(_CHUNK)
        except OSError:  # reset: gone as well
            data = b""
        moment = time.monotonic_ns()
        if not data:
            self._part(conn, moment)
        elif conn not in self._marks:
            self._heard[conn] += data
            found = _MARK.search(self._heard[conn])
            if found:
                self._marks[conn] = found.group().decode()
                self._words.put(f"open {self._marks[conn]} {moment}")

    def _part(self, conn: socket.socket, moment: int) -> None:
        self._selector.unregister(conn)
        conn.close()
        self._heard.pop(conn, None)
        mark = self._marks.pop(conn, None)
        if mark:
            self._words.put(f"gone {mark} {moment}")

    def _tell(self) -> None:
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        while True:
            words = self._words.get()
            with contextlib.suppress(OSError):
                sender.sendto(words.encode(), self._stamps)


def main() -> None:
    deaf = Deaf(sys.argv[1])
    print(deaf.port, flush=True)
    deaf.serve()


if __name__ == "__main__":
    main()
