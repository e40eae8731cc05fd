"""The open screens of one process: hears the hints once, reads the journal once, tells every screen. Writes nothing.

What is told is read from the journal by number, in order and without a gap: a hint that was lost is made good by the
next one, or by the look that is taken anyway; so is one about runs. The heartbeat says who is still signed in: two
hundred sockets cost four queries a beat and not eight hundred.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
import weakref
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from channels.db import database_sync_to_async
from channels.layers import get_channel_layer

from escalations import live, moved, parts, sessions
from escalations.parts import Audience
from escalations.roles import Role
from escalations.sessions import Seat
from runs.live import SCREENS

BEAT_SECONDS = 10.0  # below the 15 s after which a screen calls itself stale
LOOK_SECONDS = 2.0  # from one look to the next, whatever hints say
GAP_SECONDS = 0.05  # from one telling to the next; under load a third of the time is left for pages
HEARING_SECONDS = 1.0  # that a new screen waits for the channel layer; without it, it is told by looking
AT_A_TIME = 25  # screens that are written to before what was written may leave
_RUN_PLACES = (
    "",
    "runs",
    "workflows",
    "controls",
    "budgets",
    "breakers",
)  # where it matters that some run changed
_log = logging.getLogger("opsconsole.live")


class Socket(Protocol):
    """What the pulse needs of a consumer."""

    seat: Seat
    roles: frozenset[Role]
    place: str
    run: int | None

    async def tell(self, text: str) -> None: ...

    async def hello(self, head: int) -> None: ...

    async def beat(self, head: int) -> None: ...

    async def dismiss(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one beat found: the journal's newest number, and the seats that still count, with their roles."""

    head: int
    valid: Mapping[Seat, frozenset[Role]]


@dataclass(slots=True)
class _Heard:
    """What hints have said since somebody looked."""

    journal: bool = True
    controls: bool = False
    runs: bool = False
    each: dict[int, int] = field(default_factory=dict)  # run -> its last event

    def note(self, hints: Iterable[Any]) -> None:
        for _, message in hints:
            match message.get("type"):
                case "journal":
                    self.journal = True
                case "controls":
                    self.controls = True
                case "runs":
                    self.runs = True
                case "run":
                    self.each[message["run"]] = message["seq"]


class Pulse:
    """Beats, hears and tells while at least one socket is open; one an event loop."""

    def __init__(self) -> None:
        self._members: set[Socket] = set()  # whoever has come, greeted or not
        self._sockets: set[Socket] = set()  # who is told
        self._told = 0  # the number of the newest entry that was told
        self._heard = _Heard()
        self._runs = moved.Heard()
        self._news = asyncio.Event()
        self._hearing = asyncio.Event()
        self._telling = asyncio.Lock()
        self._looking = asyncio.Lock()  # an older look at runs must not be taken for a newer one
        self._tasks: list[asyncio.Task[None]] = []

    async def join(self, socket: Socket) -> None:
        """Greet a socket with the number from which on it is told everything."""
        self._members.add(socket)
        if not self._tasks:
            self._told = (await read(frozenset())).head
            self._start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hearing.wait(), HEARING_SECONDS)
        if not self._runs.knows(socket.run):
            await self._look_at_runs()
        await self.look()
        # Nothing is told between these two: neither gives the loop away.
        self._sockets.add(socket)
        await socket.hello(self._told)

    async def leave(self, socket: Socket) -> None:
        self._sockets.discard(socket)
        self._members.discard(socket)
        if self._members:
            return
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self) -> None:
        if not self._tasks:
            loop = asyncio.get_running_loop()
            self._tasks = [
                loop.create_task(work) for work in (self._listen(), self._go_on(), self._beat_on())
            ]

    async def _listen(self) -> None:
        """Hear hints, and begin again when Valkey was away."""
        while True:
            try:
                await self._hear()
            except Exception as error:
                _log.warning("no hints (%s); screens are told by looking", error)
                await asyncio.sleep(1.0)

    async def _hear(self) -> None:
        layer: Any = get_channel_layer()
        name = await layer.new_channel()
        await layer.group_add(SCREENS, name)
        self._hearing.set()
        self._heard.runs = self._heard.controls = True  # whatever was said while nobody heard it
        try:
            while True:
                event = await layer.receive(name)
                self._heard.note(event["hints"])
                self._news.set()
        finally:
            self._hearing.clear()
            with contextlib.suppress(Exception):
                await layer.group_discard(SCREENS, name)

    async def _go_on(self) -> None:
        looked = time.monotonic()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(looked + LOOK_SECONDS - time.monotonic()):
                    await self._news.wait()
            self._news.clear()
            began = time.monotonic()
            if began - looked >= LOOK_SECONDS:
                looked, self._heard.journal = began, True
                await self._survived(self._look_at_runs())
            if self._heard.journal:
                await self._survived(self.look())
            await self._survived(self._pass_on())
            took = time.monotonic() - began
            await asyncio.sleep(max(GAP_SECONDS - took, took / 2))

    async def _beat_on(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            await self._survived(self.beat())

    async def _survived(self, turn: Coroutine[Any, Any, None]) -> None:
        try:
            await turn
        except Exception as error:  # the database may be away for a while; screens turn stale and say so
            _log.warning("nothing could be told: %s", error)

    async def look(self) -> None:
        """Tell every screen what is in the journal and was not told yet."""
        async with self._telling:
            self._heard.journal = False
            news = await read_news(self._told, self._audiences())
            # Whoever joins from here on hears this number in its greeting.
            sockets, self._told = list(self._sockets), news.head
            await _tell(sockets, lambda socket: news.texts(_audience(socket)))

    async def _look_at_runs(self) -> None:
        """Make good what no hint has said of runs, one query for all screens."""
        async with self._looking:
            watched = frozenset(socket.run for socket in self._members if socket.run is not None)
            missed = self._runs.compare(await read_moved(self._runs.newest or 0, watched))
        self._heard.runs |= missed.some
        for run in missed.runs:
            self._heard.each.setdefault(run, 0)

    async def _pass_on(self) -> None:
        """What has no number: a screen that misses it asks again when it connects again."""
        heard, self._heard = self._heard, _Heard(journal=self._heard.journal)
        for run, seq in heard.each.items():
            self._runs.note(run, seq)
        if heard.controls:
            held = await read_held(self._audiences())
            await _tell(list(self._sockets), lambda socket: held[_audience(socket)])
        if heard.runs:
            text = json.dumps({"type": "runs"})
            await _tell([one for one in self._sockets if one.place in _RUN_PLACES], lambda _: (text,))
        watching = [one for one in self._sockets if one.run in heard.each]
        await _tell(watching, lambda socket: (json.dumps({"type": "run", "run": socket.run}),))

    async def beat(self) -> None:
        """One beat: every valid socket hears the head, the others are dismissed; roles are what they are now."""
        sockets = list(self._sockets)
        reading = await read(frozenset(socket.seat for socket in sockets))
        for socket in sockets:
            with contextlib.suppress(Exception):  # one broken socket must not keep the beat from the others
                if socket.seat in reading.valid:
                    socket.roles = reading.valid[socket.seat]
                    await socket.beat(reading.head)
                else:
                    self._sockets.discard(socket)
                    await socket.dismiss()

    def _audiences(self) -> frozenset[Audience]:
        return frozenset(_audience(socket) for socket in self._sockets)


async def _tell(sockets: Iterable[Socket], texts: Callable[[Socket], Iterable[str]]) -> None:
    """Write to every socket, a few at a time: what was written leaves while the next are written to."""
    for number, socket in enumerate(sockets, start=1):
        with contextlib.suppress(Exception):  # one broken socket must not keep it from the others
            for text in texts(socket):
                await socket.tell(text)
        if number % AT_A_TIME == 0:
            await asyncio.sleep(0)


def _audience(socket: Socket) -> Audience:
    return Audience(place=socket.place, roles=socket.roles)


def _read(seats: frozenset[Seat]) -> Reading:
    return Reading(head=live.head(), valid=sessions.valid(seats))


# Not the one thread that Django's synchronous views share: a slow page must not delay a beat.
read = database_sync_to_async(_read, thread_sensitive=False)
read_news = database_sync_to_async(parts.news, thread_sensitive=False)
read_held = database_sync_to_async(parts.held, thread_sensitive=False)
read_moved = database_sync_to_async(moved.look, thread_sensitive=False)
replay = database_sync_to_async(live.after, thread_sensitive=False)

_pulses: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Pulse] = weakref.WeakKeyDictionary()


def here() -> Pulse:
    """The pulse of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _pulses:
        _pulses[loop] = Pulse()
    return _pulses[loop]
