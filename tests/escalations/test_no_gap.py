"""Screens that miss messages end complete and in order (law L8, row W1): real sockets of a real lane, three hints in
ten lost, Valkey killed and started again, sockets that come and go."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets
from channels.db import database_sync_to_async
from django.contrib.auth.models import User
from pytest_django import Settings

from escalations import live as live_entries
from escalations.audit import chain
from escalations.models import JournalEntry
from runs import live
from tests.escalations.lanes import Lane, lane
from tests.escalations.test_live import entries
from tests.faults import counts, figures
from tests.faults.broker import Broker

pytestmark = pytest.mark.django_db(transaction=True)

CLIENTS = counts.of(fast=8, soak=50)
ENTRIES = counts.of(fast=120, soak=5000)
AT_ONCE = 4  # entries between two pauses
PAUSE_SECONDS = 0.02
CAUGHT_UP_SECONDS = counts.of(fast=60, soak=10)
OPEN_SECONDS = 60.0  # browsers wait for minutes
LOST = 0.3

aside: Any = database_sync_to_async


@pytest.fixture
def broker(tmp_path: Path, settings: Settings) -> Iterator[Broker]:
    """A Valkey of this test's own, to which this process speaks too."""
    made = Broker(tmp_path)
    made.start()
    settings.REDIS_URL = made.url
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [{"address": made.url, "socket_timeout": None}]},
        }
    }
    live._senders.clear()  # the threads that send hints make their connections anew
    yield made
    live._senders.clear()
    made.kill()


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Three messages in ten get lost on their way to the screens; how many were lost, and how many left."""
    dice, counted = random.Random(1), [0, 0]
    tell = live._Sender._tell_screens

    def unsure(self: Any, *given: Any) -> None:
        gone = dice.random() < LOST
        counted[0 if gone else 1] += 1
        if not gone:
            tell(self, *given)

    monkeypatch.setattr(live._Sender, "_tell_screens", unsure)
    return counted


class Screen:
    """What live.js does with entries: only the very next number counts, for everything else it asks; who has missed
    more than is replayed fetches the page again."""

    def __init__(self, number: int, lane: Lane, headers: dict[str, str]) -> None:
        self.log: list[int] = []
        self.flaps = 0
        self.reloads = 0
        self.tries = 0  # in a row that nobody has greeted
        self.calm = False  # whether it stays once it is connected
        self._lane = lane
        self._headers = headers
        self._dice = random.Random(number)

    async def watch(self) -> None:
        """Until cancelled: connect, listen for a moment (when calm for good), leave, again. Who finds no way in comes
        back ever later, as pages do: fifty who knock again at once keep a busy lane from opening to anybody."""
        while True:
            self.tries += 1
            with contextlib.suppress(OSError, websockets.WebSocketException, TimeoutError):
                async with websockets.connect(
                    self._lane.address,
                    additional_headers=self._headers,
                    origin=websockets.Origin(self._lane.origin),
                    proxy=None,
                    open_timeout=OPEN_SECONDS,
                    close_timeout=1.0,  # a page that is left does not wait for the other side's goodbye
                ) as socket:
                    moment = self._dice.uniform(0.2, 1.5)
                    async with asyncio.timeout(None if self.calm else moment):
                        await self._listen(socket)
            self.flaps += 1
            most = min(5.0, 0.25 * 2 ** (self.tries - 1)) * 1.5 if self.tries else 0.2
            await asyncio.sleep(self._dice.uniform(most / 3, most))

    async def _listen(self, socket: Any) -> None:
        while True:
            message = json.loads(await socket.recv())
            self.tries = 0
            last = self.log[-1] if self.log else 0
            if message["type"] == "journal" and message["seq"] == last + 1:
                self.log.append(message["seq"])
            elif message["type"] in ("hello", "beat", "journal") and message["seq"] > last:
                await socket.send(json.dumps({"after": last}))
            elif message["type"] == "reload":
                self.log, self.reloads = await aside(_on_the_page)(), self.reloads + 1
                return  # the page that was fetched opens a socket of its own


def _on_the_page() -> list[int]:
    return list(JournalEntry.objects.order_by("seq").values_list("seq", flat=True))


async def test_clients_that_miss_messages_end_complete_and_in_order(
    broker: Broker, lost: list[int], operator: User, tmp_path: Path
) -> None:
    started = contextlib.ExitStack()
    lane_ = await aside(started.enter_context)(lane(tmp_path, broker.url))
    headers = await aside(lane_.headers)(operator)
    screens = [Screen(number, lane_, headers) for number in range(CLIENTS)]
    watching = [asyncio.create_task(screen.watch()) for screen in screens]
    try:
        for at in range(0, ENTRIES, AT_ONCE):
            await aside(entries)(AT_ONCE)
            await asyncio.sleep(PAUSE_SECONDS)
            if at == ENTRIES // 2 // AT_ONCE * AT_ONCE:
                await asyncio.to_thread(broker.kill)
                await asyncio.to_thread(broker.start)
        for screen in screens:
            screen.calm = True  # the last fault heals: whoever connects from here on stays
        took = await _all_have(screens, ENTRIES)
    finally:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        await asyncio.to_thread(started.close)
    figures.tell(
        f"screens: {ENTRIES:,} entries, three hints in ten lost, Valkey killed, sockets that come and go",
        target=f"complete and in order within {CAUGHT_UP_SECONDS} s",
        measured=f"complete {took:.1f} s after the last; {sum(one.flaps for one in screens)} reconnections,"
        f" {sum(one.reloads for one in screens)} pages fetched again, {lost[0]} of {sum(lost)} hints lost",
        n=CLIENTS,
    )
    assert lost[0] > 0
    assert sum(one.flaps for one in screens) > 0
    assert ENTRIES > live_entries.REPLAY_LIMIT or not any(one.reloads for one in screens)
    complete = list(range(1, ENTRIES + 1))
    assert [(number, one.log[-3:]) for number, one in enumerate(screens) if one.log != complete] == []
    assert "Traceback" not in await asyncio.to_thread(_said, lane_)
    assert await aside(chain.verify)() is None


def _said(lane_: Lane) -> str:
    """What the lane complained of; that Valkey was away may be said."""
    text = lane_.log.read_text()
    return text if "Disconnected" in text or "Exception inside application" in text else ""


async def _all_have(screens: list[Screen], count: int) -> float:
    """Seconds until everyone has everything, at most as long as is allowed."""
    began = time.monotonic()
    while time.monotonic() < began + CAUGHT_UP_SECONDS:
        if all(len(screen.log) >= count for screen in screens):
            break
        await asyncio.sleep(0.05)
    return time.monotonic() - began
