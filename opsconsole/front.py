"""The front: one port, two lanes. Reads one request head, picks the lane by path, then only moves bytes.

Stopping must not wait behind a slow page, so what controls is served by a process of its own. Each
ordinary request gets a connection of its own (`Connection: close`): a browser's kept connection would
otherwise stick to the lane of its first request. Decides nothing but the lane; in production a reverse
proxy does the same by path (see compose.yaml).
"""

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass

HEAD_LIMIT_BYTES = 32 * 1024
HEAD_SECONDS = 10.0
_CHUNK_BYTES = 64 * 1024
_LANE_CONNECT_SECONDS = 2.0
CONTROL_PATHS = ("/controls", "/healthz", "/readyz")
HOOK_PATH, HOOK_BODY_BYTES = "/hooks/", 1_000_000  # the lanes read a whole body before they look at it
_LINGER_SECONDS, _LINGER_BYTES = 2.0, 16 * 1024 * 1024
_TARGET = re.compile(r"[!-~]+")
_FIELD = re.compile(
    r"[A-Za-z0-9!#$%&'*+.^_`|~-]+:[\t -~\x80-\xff]*"
)  # no line ends or other controls in a value
_ONCE = ("host", "content-length", "transfer-encoding", "upgrade")
# What a client may not claim: where it comes from, and what belongs to the connection to us.
_NOT_FORWARDED = ("connection", "keep-alive", "proxy-connection", "forwarded", "x-real-ip")


class BadHead(Exception):
    """The request head is not one we pass on."""


class BodyTooLarge(Exception):
    """A delivery that says itself that it is larger than one may be, or does not say how large it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarded:
    """What is sent to the lane in place of the head that was read, and how many bytes behind it are the request's
    (None: its own marks say where it ends)."""

    lane: str  # "pages" or "control"
    head: bytes
    body: int | None = 0


def lane_of(target: str) -> str:
    """The lane of a request target, by path alone."""
    path = target.split("?", 1)[0].split("#", 1)[0]
    if not path.startswith("/") and "://" in path:  # absolute form
        path = "/" + path.split("://", 1)[1].partition("/")[2]
    if any(path == control or path.startswith(control + "/") for control in CONTROL_PATHS):
        return "control"
    return "pages"


def rewrite(head: bytes, client: str) -> Forwarded:
    """Turn a client's head (up to and with the empty line) into the lane's. Raises BadHead, BodyTooLarge."""
    try:
        request, *fields = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        method, target, version = request.split(" ")
    except ValueError as why:
        raise BadHead from why
    if version not in ("HTTP/1.1", "HTTP/1.0") or not method.isascii() or not method.isalpha():
        raise BadHead
    if not _TARGET.fullmatch(target) or not all(_FIELD.fullmatch(field) for field in fields):
        raise BadHead
    names = [field.partition(":")[0].lower() for field in fields]
    _must_be_unambiguous(names)
    if target.startswith(HOOK_PATH):
        _must_be_small(fields)
    upgrade = _asks_for_websocket(target, fields)
    kept = [request]
    for name, field in zip(names, fields, strict=True):
        if name not in _NOT_FORWARDED and not name.startswith("x-forwarded-"):
            kept.append(field)
    kept.append("Connection: Upgrade" if upgrade else "Connection: close")
    kept.append(f"X-Forwarded-For: {client}")
    body = None if upgrade else _body_bytes(names, fields)
    return Forwarded(lane=lane_of(target), head="\r\n".join(kept).encode("latin-1") + b"\r\n\r\n", body=body)


def _body_bytes(names: list[str], fields: list[str]) -> int | None:
    """How much of what follows the head belongs to the request; None: its own marks say where it ends."""
    if "transfer-encoding" in names:
        return None
    if "content-length" not in names:
        return 0
    length = fields[names.index("content-length")].partition(":")[2].strip()
    if not length.isascii() or not length.isdecimal() or len(length) > 18:
        raise BadHead
    return int(length)


def _must_be_unambiguous(names: list[str]) -> None:
    """Raise BadHead for what two readers of one head could understand differently."""
    if any(names.count(name) > 1 for name in _ONCE) or {"content-length", "transfer-encoding"} <= set(names):
        raise BadHead


def _must_be_small(fields: list[str]) -> None:
    """Raise BodyTooLarge unless the head says how large the body is, and that is not too much."""
    given = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    length = given.get("content-length", "0")
    known = length.isdecimal() and len(length) < 12 and "transfer-encoding" not in given
    if not known or int(length) > HOOK_BODY_BYTES:
        raise BodyTooLarge


def _asks_for_websocket(target: str, fields: list[str]) -> bool:
    if not target.startswith("/ws/"):
        return False
    return any(field.lower().replace(" ", "") == "upgrade:websocket" for field in fields)


class Front:
    """The listening side. `lanes` maps a lane's name to the path of its unix socket."""

    def __init__(self, lanes: dict[str, str]) -> None:
        self._lanes = lanes
        self._open: set[asyncio.Task[None]] = set()

    def client(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        return _ClientSide(asyncio.StreamReader(limit=HEAD_LIMIT_BYTES), self.accept)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection from head to end."""
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, TimeoutError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            await _close(writer)

    def drop_all(self) -> None:
        """End every connection now."""
        for task in self._open:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            forwarded = rewrite(head, _peer(writer))
        except asyncio.IncompleteReadError as early:
            if not early.partial:  # browsers open connections they never use
                return None
            return await _answer(writer, 400, "Bad Request", "This is not a complete HTTP request.")
        except TimeoutError:
            return await _answer(writer, 408, "Request Timeout", "The request took too long to arrive.")
        except BodyTooLarge:
            await _answer(writer, 413, "Content Too Large", _TOO_LARGE, kind="application/json")
            return await _linger(reader, writer)
        except (BadHead, asyncio.LimitOverrunError):
            return await _answer(writer, 400, "Bad Request", "This is not an HTTP request we can read.")
        lane = _LaneSide(writer)
        try:
            async with asyncio.timeout(_LANE_CONNECT_SECONDS):
                path = self._lanes[forwarded.lane]
                await asyncio.get_running_loop().create_unix_connection(lambda: lane, path)
        except OSError:  # TimeoutError is one
            return await _answer(writer, 503, "Service Unavailable", "The console is starting, try again.")
        try:
            lane.write(forwarded.head)
            await _splice(reader, lane, forwarded.body)
        finally:
            lane.close()


class _LaneSide(asyncio.Protocol):
    """The connection to a lane. What the lane says is written to the client at once, without a task to wake."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.ended = asyncio.get_running_loop().create_future()
        self._client = client.transport
        self._transport: asyncio.Transport | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()

    def write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    async def drained(self) -> None:
        """When the lane has taken most of what was written. Raises ConnectionResetError when it is gone."""
        await self._may_write.wait()
        if self.ended.done():
            raise ConnectionResetError

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def hold_back(self, full: bool) -> None:
        """A slow reader slows its sender, not our memory."""
        if self._transport is None or self._transport.is_closing():
            return
        if full:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        client = self._client.get_protocol()
        assert isinstance(client, _ClientSide)
        client.lane = self

    def data_received(self, data: bytes) -> None:
        self._client.write(data)

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def connection_lost(self, error: Exception | None) -> None:
        self._may_write.set()
        if not self.ended.done():
            self.ended.set_result(None)


class _ClientSide(asyncio.StreamReaderProtocol):
    """A client's connection: read as a stream, and its lane is held back while its buffer is full."""

    lane: _LaneSide | None = None

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.lane is not None:
            self.lane.hold_back(full=True)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.lane is not None:
            self.lane.hold_back(full=False)


async def _splice(reader: asyncio.StreamReader, lane: _LaneSide, body: int | None) -> None:
    """Both ways until either side ends; a client that hangs up ends the lane's work too. `body`: see Forwarded."""
    sending = asyncio.ensure_future(_send_on(reader, lane, body))
    try:
        await asyncio.wait((sending, lane.ended), return_when=asyncio.FIRST_COMPLETED)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def _send_on(reader: asyncio.StreamReader, lane: _LaneSide, body: int | None) -> None:
    """What comes after the request is nobody's: written to a lane that has answered, it would lose us the answer."""
    left = body
    while chunk := await reader.read(_CHUNK_BYTES):
        if left is not None:
            chunk, left = chunk[:left], max(0, left - len(chunk))
        if chunk:
            lane.write(chunk)
            await lane.drained()


async def _linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read on for a moment and forget it: closing on a client that still sends would lose it our answer."""
    with contextlib.suppress(OSError):  # TimeoutError is one
        writer.write_eof()
        async with asyncio.timeout(_LINGER_SECONDS):
            left = _LINGER_BYTES
            while left > 0 and (chunk := await reader.read(_CHUNK_BYTES)):
                left -= len(chunk)


_TOO_LARGE = f'{{"says": "A delivery has a Content-Length, and at most {HOOK_BODY_BYTES} bytes."}}'


async def _answer(
    writer: asyncio.StreamWriter, code: int, title: str, sentence: str, *, kind: str = "text/html"
) -> None:
    page = f"<!doctype html><title>{title}</title><p>{sentence}</p>" if kind == "text/html" else sentence
    body = f"{page}\n".encode()
    head = (
        f"HTTP/1.1 {code} {title}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\nCache-Control: no-store\r\n"
        "Content-Security-Policy: default-src 'none'\r\nX-Content-Type-Options: nosniff\r\n"
    )
    retry = "Retry-After: 2\r\n" if code == 503 else ""
    writer.write(f"{head}{retry}\r\n".encode() + body)
    await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, asyncio.CancelledError):
        await writer.wait_closed()


def _peer(writer: asyncio.StreamWriter) -> str:
    name = writer.get_extra_info("peername")
    return str(name[0]) if isinstance(name, tuple) and name else "127.0.0.1"


async def serve(listener: socket.socket, lanes: dict[str, str], started: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; open connections are then dropped."""
    front = Front(lanes)
    server = await asyncio.get_running_loop().create_server(front.client, sock=listener)
    done = asyncio.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sig, done.set)
    started()
    await done.wait()
    server.close()
    front.drop_all()


def main(arguments: list[str]) -> int:
    """`python -m opsconsole.front LISTENING_FD PAGES_SOCKET CONTROL_SOCKET`"""
    listener = socket.socket(fileno=int(arguments[0]))
    os.set_inheritable(listener.fileno(), False)
    lanes = {"pages": arguments[1], "control": arguments[2]}
    asyncio.run(serve(listener, lanes, lambda: print("front: listening", flush=True)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
