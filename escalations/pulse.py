"""One heartbeat a process for all its sockets: reads the journal's head and who is still signed in. Writes nothing.

Two hundred sockets then cost three queries a beat and not six hundred.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import Protocol

from channels.db import database_sync_to_async

from escalations import live, sessions
from escalations.sessions import Seat

BEAT_SECONDS = 10.0  # below the 15 s after which a screen calls itself stale
_log = logging.getLogger("opsconsole.live")


class Socket(Protocol):
    """What the pulse needs of a consumer."""

    seat: Seat

    async def beat(self, head: int) -> None: ...

    async def dismiss(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one beat found: the journal's newest number, and the seats that still count."""

    head: int
    valid: frozenset[Seat]


class Pulse:
    """Beats while at least one socket is open; one an event loop."""

    def __init__(self) -> None:
        self._sockets: set[Socket] = set()
        self._beating: asyncio.Task[None] | None = None

    def join(self, socket: Socket) -> None:
        self._sockets.add(socket)
        if self._beating is None or self._beating.done() or self._beating.get_loop() is not _loop():
            self._beating = _loop().create_task(self._run())

    def leave(self, socket: Socket) -> None:
        self._sockets.discard(socket)
        if not self._sockets and self._beating is not None:
            self._beating.cancel()
            self._beating = None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                await self.beat()
            except Exception as error:  # the database may be away for a while; screens turn stale and say so
                _log.warning("no beat: %s", error)

    async def beat(self) -> None:
        """One beat: every valid socket hears the head, the others are dismissed."""
        sockets = list(self._sockets)
        reading = await read(frozenset(socket.seat for socket in sockets))
        for socket in sockets:
            with contextlib.suppress(Exception):  # one broken socket must not keep the beat from the others
                if socket.seat in reading.valid:
                    await socket.beat(reading.head)
                else:
                    await socket.dismiss()


def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def _read(seats: frozenset[Seat]) -> Reading:
    return Reading(head=live.head(), valid=sessions.valid(seats))


# Not the one thread that Django's synchronous views share: a slow page must not delay a beat.
read = database_sync_to_async(_read, thread_sensitive=False)
replay = database_sync_to_async(live.after, thread_sensitive=False)
pulse = Pulse()
