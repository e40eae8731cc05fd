"""Hints: "look at run X", "this changed". They may be lost, late or doubled. Workers hear of controls, and of
what people answer, with the commit itself as well (`runs.engine.worker.heart.listen`).

Two threads a process send them, one to screens and one to workers, so that nobody who commits ever waits for
Valkey or fails because of it, and a worker's hint never stands behind a screen's. A hint to screens leaves at once
when none has left within the last 50 ms; what comes meanwhile leaves together, as one message, equal ones once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from celery import current_app
from channels.layers import get_channel_layer

from runs.engine import failpoints

CONTROLS_CHANNEL = "opsconsole_controls"  # PostgreSQL's own, heard by every worker with the commit
RUNS_CHANNEL = "opsconsole_runs"  # the same: a person has answered, and somebody should look at this run
SCREENS = "screens"  # the group in which every web process listens, once
COALESCE_SECONDS = 0.05
MOST_QUEUED = 10_000
MOST_AT_ONCE = 1000  # hints in one message
QUIET_SECONDS = 30.0  # at most one complaint a while about an unreachable Valkey
_log = logging.getLogger("opsconsole.live")

Hint = tuple[str, str, dict[str, Any]]  # kind (wake, group), key, message
_RUNS: Hint = ("group", "", {})  # stands for all runs that have changed


def wake(run_id: int) -> None:
    """Hint to the agent workers that somebody should look at this run."""
    failpoints.hit("after_ack")
    _put(("wake", str(run_id), {}))


def announce(group: str, message: dict[str, Any]) -> None:
    """Hint to every screen that listens to `group`. Equal messages within 50 ms are one."""
    _put(("group", group, message))


def announce_run(run_id: int, seq: int) -> None:
    """Hint to every screen that shows this run, or lists runs: of what comes together the last number is told."""
    if _silent:
        return
    with _sender_lock:
        sender = _sender("screens")
        first = not sender.runs
        sender.runs[run_id] = seq
        if first:
            try:
                sender.hints.put_nowait(_RUNS)
            except queue.Full:
                sender.runs.clear()


class _Sender:
    """A lane's thread, its queue and its event loop. Made anew after a fork."""

    def __init__(self, lane: str) -> None:
        self.pid = os.getpid()
        self.hints: queue.Queue[Hint] = queue.Queue(MOST_QUEUED)
        self.complained = 0.0
        self.sent_at = 0.0  # to screens
        self.producer: Any = None  # to workers
        self.runs: dict[int, int] = {}  # that have changed, with their last event, since `_RUNS` was queued
        threading.Thread(target=self._run, name=f"hints-{lane}", daemon=True).start()

    def _run(self) -> None:
        loop = asyncio.new_event_loop()
        while True:
            first = self.hints.get()
            if first[0] == "group":
                time.sleep(max(0.0, self.sent_at + COALESCE_SECONDS - time.monotonic()))
            taken = self._waiting(first)
            # Each equal hint once, in order.
            hints = list({repr(hint): hint for one in taken for hint in self._spelled(one)}.values())
            if first[0] == "group":
                self._try(partial(self._tell_screens, loop, hints))
                self.sent_at = time.monotonic()
            else:
                for hint in hints:
                    self._try(partial(self._tell_workers, hint))
            for _ in taken:
                self.hints.task_done()

    def _waiting(self, first: Hint) -> list[Hint]:
        """Everything queued now."""
        hints = [first]
        with contextlib.suppress(queue.Empty):
            while len(hints) < MOST_AT_ONCE:
                hints.append(self.hints.get_nowait())
        return hints

    def _spelled(self, hint: Hint) -> list[Hint]:
        if hint is not _RUNS:
            return [hint]
        with _sender_lock:
            taken = list(self.runs.items())[:MOST_AT_ONCE]
            for run_id, _ in taken:
                del self.runs[run_id]
            if self.runs:  # the rest goes with the next message
                with contextlib.suppress(queue.Full):
                    self.hints.put_nowait(_RUNS)
        each = [("group", f"run.{run}", {"type": "run", "run": run, "seq": seq}) for run, seq in taken]
        return [("group", "runs", {"type": "runs"}), *each]

    def _try(self, send: Callable[[], None]) -> None:
        try:
            send()
        except Exception as error:
            if time.monotonic() - self.complained > QUIET_SECONDS or not self.complained:
                self.complained = time.monotonic()
                _log.warning("a hint could not be sent (%s); everything goes on by polling", error)

    def _tell_screens(self, loop: asyncio.AbstractEventLoop, hints: list[Hint]) -> None:
        layer = get_channel_layer()
        if layer is None:
            return
        event = {"type": "hints", "hints": [[group, message] for _, group, message in hints]}
        loop.run_until_complete(asyncio.wait_for(layer.group_send(SCREENS, event), 2.0))

    def _tell_workers(self, hint: Hint) -> None:
        """What `send_task` does, without what a hint has no use for: that is more than half of its cost."""
        amqp = current_app.amqp
        if self.producer is None:
            self.producer = amqp.producer_pool.acquire(block=True)
        # By name: the task is the edge's, and nothing below the edge may import it. Its queue is declared by whoever
        # listens to it.
        name = f"{self.pid}-{time.monotonic_ns()}"  # told apart in logs, nothing else asks for it
        message = amqp.as_task_v2(name, "runs.advance", (int(hint[1]),), {}, argsrepr="", kwargsrepr="")
        try:
            amqp.send_task_message(
                self.producer, "runs.advance", message, queue="agents", retry=False, declare=[]
            )
        except Exception:
            producer, self.producer = self.producer, None
            producer.release()
            raise


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


def speaking() -> bool:
    """Whether this process gives hints."""
    return not _silent


def _put(hint: Hint) -> None:
    if _silent:
        return
    with _sender_lock, contextlib.suppress(queue.Full):  # Valkey hangs; what is not said is found by polling
        _sender("screens" if hint[0] == "group" else "workers").hints.put_nowait(hint)


def _sender(lane: str) -> _Sender:
    """This process's. The caller has the lock."""
    sender = _senders.get(lane)
    if sender is None or sender.pid != os.getpid():
        sender = _senders[lane] = _Sender(lane)
    return sender


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
