"""Playing recorded runs from a command: takes them in as there is room, advances them, waits until they have settled.

Workers of a running console may take part: whoever holds a run's lease plays it. Counts nothing.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

from django.db import InterfaceError, OperationalError, connection

from escalations.roles import Actor
from escalations.starts import take_in_recording
from runs.engine import holds
from runs.engine.advance import advance
from runs.engine.record import now
from runs.engine.starts import IntakeFull, Started
from runs.engine.worker.runtime import Runtime, install
from runs.models import Run, RunState, WorkerKind
from runs.models.run import FINAL
from runs.recorded.toolsets import Toolsets
from runs.recorded.trace import Trace

LOOK_SECONDS = 0.2
MOST_GOING = 100  # runs at once: the queue is for others too
STALLED_SECONDS = 300.0  # without any event of any run; a recorded pause is at most 90 s long
LEAVE_SECONDS = 10.0
_log = logging.getLogger("opsconsole.replay")


class Stalled(Exception):
    """Nothing has moved for STALLED_SECONDS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The runs at one look. `settled`: final, waiting for a person, or held. `events` grows while anything moves."""

    settled: int
    going: int
    held: tuple[int, ...]
    events: int


_NOTHING_SEEN = Seen(settled=0, going=0, held=(), events=0)


class Player:
    """Threads that advance runs, with a heart of their own. Use it with `with`; an interrupt leaves in order."""

    def __init__(self, threads: int, say: Callable[[Seen], None]) -> None:
        name = f"replay-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
        self._runtime = Runtime(name[:100], WorkerKind.AGENTS)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="play")
        self._say = say
        self._runs: set[int] = set()  # taken in and not final, as far as known
        self._final = 0
        self._busy: set[int] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Player:
        install(self._runtime)
        self._runtime.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: TracebackType | BaseException | None) -> None:
        """Whatever is under way is cut, goes back on record and is due at once for any worker."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        until = time.monotonic() + LEAVE_SECONDS
        while self._busy and time.monotonic() < until:
            for flight in self._runtime.in_flight():
                flight.cut("the replay was interrupted")
            time.sleep(0.02)
        install(None)
        self._runtime.stop()

    def take_in(self, actor: Actor, trace: Trace, toolsets: Toolsets, speed: float) -> Started:
        """Take in one recorded run, once there is room for it. Raises Refusal, Stalled."""
        waiting = _Patience()
        while len(self._runs) >= MOST_GOING and (seen := self.look()).going >= MOST_GOING:
            waiting.check(seen)
            time.sleep(LOOK_SECONDS)
        while True:
            try:
                started = take_in_recording(actor=actor, trace=trace, toolsets=toolsets, speed=speed)
            except IntakeFull as full:
                seen = self.look()
                if not seen.going:
                    raise Stalled(full.sentence) from full
                waiting.check(seen)
                time.sleep(LOOK_SECONDS)
            except (InterfaceError, OperationalError) as why:  # away, or starting again
                connection.close()
                _log.warning("the database cannot be reached: %s", why)
                waiting.check(_NOTHING_SEEN)
                time.sleep(LOOK_SECONDS)
            else:
                self._add(started.run)
                return started

    def _add(self, run: Run) -> None:
        if run.final:
            self._final += 1
            return
        self._runs.add(run.pk)
        self._play(run.pk)

    def wait(self) -> Seen:
        """Until every run has settled. Raises Stalled."""
        waiting = _Patience()
        while (seen := self.look()).going:
            waiting.check(seen)
            time.sleep(LOOK_SECONDS)
        return seen

    def look(self) -> Seen:
        """See how far the runs are; whatever is due and not looked at is advanced."""
        try:
            seen = self._look()
        except (InterfaceError, OperationalError) as why:
            connection.close()
            _log.warning("the database cannot be reached: %s", why)
            return Seen(settled=self._final, going=len(self._runs), held=(), events=0)
        self._say(seen)
        return seen

    def _look(self) -> Seen:
        controls, moment = list(holds.engaged()), now()
        waiting, held, events = 0, [], 0
        rows = Run.objects.filter(pk__in=self._runs)
        for run in rows.only("pk", "workflow", "state", "hold", "due_at", "event_seq"):
            events += run.event_seq
            if run.state in FINAL:
                self._runs.discard(run.pk)
                self._final += 1
            elif run.state == RunState.WAITING:
                waiting += 1
            elif run.state != RunState.RUNNING and (
                run.hold or any(one.covers(run_id=run.pk, workflow=run.workflow) for one in controls)
            ):
                held.append(run.pk)
            elif run.due_at is not None and run.due_at <= moment:
                self._play(run.pk)
        going = len(self._runs) - waiting - len(held)
        return Seen(settled=self._final + waiting + len(held), going=going, held=tuple(held), events=events)

    def _play(self, run_id: int) -> None:
        with self._lock:
            if run_id in self._busy:
                return
            self._busy.add(run_id)
        self._pool.submit(self._advance, run_id).add_done_callback(lambda _: self._busy.discard(run_id))

    def _advance(self, run_id: int) -> None:
        try:
            advance(run_id, self._runtime)
        except (InterfaceError, OperationalError) as why:
            _log.warning("run %s is left to the next look: %s", run_id, why)
        except Exception:
            _log.exception("run %s is left to the next look", run_id)
        finally:
            connection.close()


class _Patience:
    """Gives up when nothing has moved for long."""

    def __init__(self) -> None:
        self._mark: tuple[int, int] | None = None
        self._since = time.monotonic()

    def check(self, seen: Seen) -> None:
        mark = (seen.settled, seen.events)
        if mark != self._mark:
            self._mark, self._since = mark, time.monotonic()
        elif time.monotonic() - self._since > STALLED_SECONDS:
            raise Stalled(f"Nothing has moved for {STALLED_SECONDS:.0f} s.")
