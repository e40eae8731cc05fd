"""A small server on loopback that speaks both protocols as far as the tests need, and does what a test scripts.

Real sockets, one connection a request. It knows how often it was asked, with what, and when the client hung up.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Seen:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    gone: threading.Event = field(default_factory=threading.Event)
    gone_at: float = 0.0
    sent: int = 0


Reply = Callable[["Line"], Awaitable[None]]


@dataclass
class Line:
    """One connection, after its request was read."""

    seen: Seen
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        self.seen.sent += len(data)
        await self.writer.drain()

    async def until_gone(self) -> None:
        """Wait for the client to close."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(1024):
                pass
        self.seen.gone_at = time.monotonic()
        self.seen.gone.set()


def answer(
    status: int = 200,
    body: Any = "",
    headers: Mapping[str, str] | None = None,
    kind: str = "application/json",
) -> Reply:
    """A whole answer."""
    text = body if isinstance(body, (bytes, str)) else json.dumps(body)
    data = text if isinstance(text, bytes) else text.encode()

    async def reply(line: Line) -> None:
        await line.send(
            _head(status, {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})})
        )
        await line.send(data)

    return reply


def streamed(events: list[str], *, ends: str = "well") -> Reply:
    """Server-sent events. ends: well, cut (in the middle of a chunk), early (in order, but too soon), never."""

    async def reply(line: Line) -> None:
        await line.send(_head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}))
        for event in events:
            data = event.encode()
            await line.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        if ends == "cut":
            await line.send(b"400\r\ndata: {")
            line.writer.transport.abort()
        elif ends == "never":
            await line.until_gone()
        else:
            await line.send(b"0\r\n\r\n")

    return reply


async def silence(line: Line) -> None:
    """Never answers."""
    await line.until_gone()


def endless(piece: bytes = b" " * 65536) -> Reply:
    """A body that does not end by itself (at two gigabytes, so that a broken client is noticed, not endured)."""

    async def reply(line: Line) -> None:
        await line.send(_head(200, {"Content-Type": "application/json", "Content-Length": str(2**31)}))
        with contextlib.suppress(ConnectionError):
            while line.seen.sent < 2**31:
                await line.send(piece)
        line.seen.gone.set()

    return reply


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [
        f"HTTP/1.1 {status} X",
        "Connection: close",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class ModelServer:
    """Answers by the script, in order; the last reply is repeated."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.script: deque[Reply] = deque()
        self.asked = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="model-server")
        self._thread.start()
        self._open: set[asyncio.StreamWriter] = set()
        start = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result(60)
        self.port: int = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def says(self, *replies: Reply) -> None:
        self.script.extend(replies)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in head[1:] if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            seen = Seen(path=head[0].split(" ")[1], headers=headers, body=json.loads(body or b"{}"))
            reply = self.script.popleft() if len(self.script) > 1 else self.script[0]
            self.seen.append(seen)
            self.asked.set()
            await reply(Line(seen, reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()


@contextlib.contextmanager
def serving() -> Iterator[ModelServer]:
    server = ModelServer()
    try:
        yield server
    finally:
        server.stop()
