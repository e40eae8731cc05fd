"""Hints: "look at run X", "this changed", "a control was engaged". They may be lost, late or doubled.

Two threads a process send them, one to screens and one to workers, so that nobody who commits ever waits for
Valkey or fails because of it, and a stop's hint never stands behind a screen's. Equal nudges to screens within
50 ms are sent once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import redis
from celery import current_app
from channels.layers import get_channel_layer
from django.conf import settings

from runs.engine import failpoints

CONTROLS_CHANNEL = "opsconsole:controls"
COALESCE_SECONDS = 0.05
MOST_QUEUED = 10_000
QUIET_SECONDS = 30.0  # at most one complaint a while about an unreachable Valkey
_log = logging.getLogger("opsconsole.live")

Hint = tuple[str, str, dict[str, Any]]  # kind (wake, group, control), key, message


def wake(run_id: int) -> None:
    """Hint to the agent workers that somebody should look at this run."""
    failpoints.hit("after_ack")
    _put(("wake", str(run_id), {}))


def announce(group: str, message: dict[str, Any]) -> None:
    """Hint to every screen in a group. Equal messages within 50 ms are one."""
    _put(("group", group, message))


def control_changed() -> None:
    """Hint to every worker to read the controls now."""
    _put(("control", "", {}))


class _Sender:
    """A lane's thread, its queue and its event loop. Made anew after a fork."""

    def __init__(self, lane: str) -> None:
        self.pid = os.getpid()
        self.hints: queue.Queue[Hint] = queue.Queue(MOST_QUEUED)
        self.complained = 0.0
        self.redis: redis.Redis | None = None
        threading.Thread(target=self._run, name=f"hints-{lane}", daemon=True).start()

    def _run(self) -> None:
        loop = asyncio.new_event_loop()
        while True:
            first = self.hints.get()
            if first[0] == "group":
                time.sleep(COALESCE_SECONDS)
            taken = self._waiting(first)
            for hint in {repr(hint): hint for hint in taken}.values():  # each equal hint once, in order
                self._send(loop, hint)
            for _ in taken:
                self.hints.task_done()

    def _waiting(self, first: Hint) -> list[Hint]:
        """Everything queued now."""
        hints = [first]
        with contextlib.suppress(queue.Empty):
            while len(hints) < 1000:
                hints.append(self.hints.get_nowait())
        return hints

    def _send(self, loop: asyncio.AbstractEventLoop, hint: Hint) -> None:
        try:
            self._dispatch(loop, hint)
        except Exception as error:
            self.redis = None
            if time.monotonic() - self.complained > QUIET_SECONDS or not self.complained:
                self.complained = time.monotonic()
                _log.warning("a hint could not be sent (%s); everything goes on by polling", error)

    def _dispatch(self, loop: asyncio.AbstractEventLoop, hint: Hint) -> None:
        kind, key, message = hint
        if kind == "wake":
            # By name: the task is the edge's, and nothing below the edge may import it.
            current_app.send_task("runs.advance", args=(int(key),), queue="agents", retry=False)
        elif kind == "control":
            self._valkey().publish(CONTROLS_CHANNEL, "look")
        else:
            layer = get_channel_layer()
            if layer is not None:
                event = {"type": "hint", "message": message}
                loop.run_until_complete(asyncio.wait_for(layer.group_send(key, event), 2.0))

    def _valkey(self) -> redis.Redis:
        if self.redis is None:
            self.redis = redis.Redis.from_url(
                settings.REDIS_URL, socket_timeout=1.0, socket_connect_timeout=1.0, retry=None
            )
        return self.redis


_senders: dict[str, _Sender] = {}
_sender_lock = threading.Lock()
_silent = 0


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """While inside, this process gives no hints: for runs that no worker and no screen shall look at."""
    global _silent
    with _sender_lock:
        _silent += 1
    try:
        yield
    finally:
        with _sender_lock:
            _silent -= 1


def _put(hint: Hint) -> None:
    if _silent:
        return
    lane = "screens" if hint[0] == "group" else "workers"
    with _sender_lock:
        sender = _senders.get(lane)
        if sender is None or sender.pid != os.getpid():
            sender = _senders[lane] = _Sender(lane)
        with contextlib.suppress(queue.Full):  # Valkey hangs; what is not said is found by polling
            sender.hints.put_nowait(hint)


def queued() -> int:
    """Hints that wait to be sent; for tests."""
    return sum(sender.hints.qsize() for sender in _senders.values())


def flush(seconds: float = 1.0) -> bool:
    """Wait until every hint has been sent, for commands that end at once; False when that took too long."""
    until = time.monotonic() + seconds
    while any(sender.hints.unfinished_tasks for sender in _senders.values()):
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True
