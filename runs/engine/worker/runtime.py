"""What a worker process has beside its threads: one event loop for model calls, the flights it may have to cut,
and a heart that beats: it extends leases, reads the controls, cuts, and confirms. Decides nothing about runs.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from runs import registry
from runs.engine import failpoints
from runs.engine.worker import heart
from runs.engine.worker.adrift import Adrift
from runs.engine.worker.flights import Flight
from runs.engine.worker.obeying import Obeying
from runs.engine.worker.torn import Torn
from runs.models import Control, WorkerKind

T = TypeVar("T")
LANDING_SECONDS = 0.05
OVERDUE_SECONDS = 5.0  # past the run's deadline, for a call to come back by its own time-out
BESIDE_THREADS = 64  # steps performed beside others, of all runs of a process together
_log = logging.getLogger("opsconsole.runtime")


LEAVING = "its worker is leaving"


async def _cancelled_are_gone(seconds: float) -> None:
    """When every call of this loop that was cancelled has given up its connection; at most so long."""
    cancelled = [task for task in asyncio.all_tasks() if task.cancelling()]
    if cancelled:
        await asyncio.wait(cancelled, timeout=seconds)


class Runtime:
    """One a process. `start` begins the heart; without it the object only offers the loop (for tests)."""

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self.kind = kind
        self._flights: set[Flight] = set()
        self._took_off: dict[int, float] = {}  # run -> when something of it took off last
        self._flights_lock = threading.Lock()
        self._between: dict[int, float] = {}  # thread -> since when it may have claimed what does not fly yet
        self._beside: ThreadPoolExecutor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread: threading.Thread | None = None
        self._loop_lock = threading.Lock()
        self.look_at: Callable[[int], None] = lambda run_id: None  # a person let this run go on
        self._tick = threading.Event()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._beat_ok = self._moved = time.monotonic()
        self._torn = Torn()
        self._adrift = Adrift(self, self._torn)
        self._leaving = False
        self._left: set[int] = set()  # runs that were cut because this worker leaves
        self.after_beat: Callable[[], None] = lambda: None  # called after every try to beat
        self.obeying = Obeying(self)

    def start(self) -> None:
        """Make this process known, and begin to beat. While the database is gone, the heart goes on trying."""
        try:
            self._register()
        except (InterfaceError, OperationalError) as error:
            _log.warning("%s starts without the database: %s", self.name, error)
            connection.close()
        self._spawn(self._beat_on, "heart")
        self._spawn(self._listen, "controls")

    def _register(self) -> None:
        definitions = registry.contents() if self.kind == WorkerKind.AGENTS else ()
        heart.register(self.name, self.kind, os.getpid(), definitions)

    def stop(self) -> None:
        """Leave in order: say so, stop the threads and the loop."""
        self._stopping.set()
        self._tick.set()
        for thread in self._threads:
            thread.join(timeout=1)
        if self._beside is not None:
            self._beside.shutdown(wait=False, cancel_futures=True)
        with contextlib.suppress(Exception):
            heart.leave(self.name)
        connection.close()
        self._end_loop()

    def _end_loop(self) -> None:
        with self._loop_lock:
            if self._loop is None or self._loop_thread is None:
                return
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._loop_thread.join(timeout=3)
            if not self._loop_thread.is_alive():
                self._loop.close()
            self._loop = None

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Put a coroutine on the loop, from any thread."""
        return asyncio.run_coroutine_threadsafe(work, self._running_loop())

    def wait_for_cancelled(self, seconds: float) -> None:
        """Until every call that was cancelled has given up its connection; at most so long."""
        if self._loop is None:
            return
        gone = asyncio.run_coroutine_threadsafe(_cancelled_are_gone(seconds), self._loop)
        with contextlib.suppress(concurrent.futures.TimeoutError, concurrent.futures.CancelledError):
            gone.result(seconds)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._loop_lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._loop_thread = threading.Thread(target=self._loop.run_forever, name="calls", daemon=True)
                self._loop_thread.start()
            return self._loop

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """While a thread claims and settles: no stop is confirmed over the head of a claim that does not fly yet."""
        me = threading.get_ident()
        with self._flights_lock:
            self._between[me] = self._moved = time.monotonic()
        try:
            yield
        finally:
            with self._flights_lock:
                self._between.pop(me, None)
                self._moved = time.monotonic()

    def stuck(self, seconds: float) -> bool:
        """Whether no thread has claimed or settled for so long and all that flies here was given up: its threads
        hang. Long calls are none of that."""
        with self._flights_lock:
            idle = time.monotonic() - self._moved
            return idle > seconds and all(flight.lost for flight in self._flights)

    def take_off(
        self, run_id: int, workflow: str, fence: int, seconds_left: float = math.inf, step_id: int = 0
    ) -> Flight:
        """Register a step as being performed here, so that its run's lease is extended and stops can cut it.

        `seconds_left` is what the run's deadline leaves; past it the lease is extended no more.
        """
        flight = Flight(self, run_id, workflow, fence, seconds_left, step_id)
        with self._flights_lock:
            self._flights.add(flight)
            self._took_off[run_id] = time.monotonic()
            leaving = self._leaving
        self._torn.took_off(run_id, step_id)
        if leaving:
            self._cut_to_leave(flight)
        return flight

    def land(self, flight: Flight) -> None:
        with self._flights_lock:
            self._flights.discard(flight)

    @contextlib.contextmanager
    def fly(self, run_id: int, workflow: str, fence: int, seconds_left: float = math.inf) -> Iterator[Flight]:
        """A flight for as long as the block lasts."""
        flight = self.take_off(run_id, workflow, fence, seconds_left)
        try:
            yield flight
        finally:
            self.land(flight)

    def cut_run(self, run_id: int, why: str, *, fence: float = math.inf) -> None:
        """Give up whatever is performed of a run here: it is over, or nobody can say how far it is.

        `fence`: only what was claimed under this fence or an older one; this process may hold the run anew.
        """
        for flight in self.in_flight():
            if flight.run_id == run_id and flight.fence <= fence:
                flight.cut(why, lost=True)

    def tore(self, run_id: int, fence: int) -> None:
        """A settlement of a run was lost, and nobody knows how far it is: the heart finds out what nobody performs any
        more, and gives it back. The other steps of the run go on."""
        self._torn.tore(run_id, fence)

    def beside(self) -> ThreadPoolExecutor:
        """Threads for the steps of one run that are performed side by side."""
        with self._loop_lock:
            if self._beside is None:
                self._beside = ThreadPoolExecutor(BESIDE_THREADS, thread_name_prefix="beside")
            return self._beside

    def in_flight(self) -> list[Flight]:
        with self._flights_lock:
            return list(self._flights)

    def took_off_since_asked(self) -> dict[int, float]:
        """Runs of which something took off since this was asked last, and when it did last."""
        with self._flights_lock:
            took_off, self._took_off = self._took_off, {}
            return took_off

    def begin_nothing_more(self) -> None:
        """This worker leaves: what takes off from now on is cut before it does anything."""
        with self._flights_lock:
            self._leaving = True

    @property
    def leaving(self) -> bool:
        return self._leaving

    def busy(self) -> bool:
        """Whether a step is performed here, or a thread claims or settles."""
        with self._flights_lock:
            return bool(self._flights or self._between)

    def cut_all(self, why: str) -> None:
        """Cut everything that flies here; each step goes on in the same attempt, wherever it is taken up."""
        for flight in self.in_flight():
            self._cut_to_leave(flight, why)

    def _cut_to_leave(self, flight: Flight, why: str = LEAVING) -> None:
        self.leaves_behind(flight.run_id)
        flight.cut(why)

    def leaves_behind(self, run_id: int) -> None:
        """Note a run that could go on, and will elsewhere."""
        with self._flights_lock:
            self._left.add(run_id)

    def left_behind(self) -> set[int]:
        """Runs that could go on, and do not because this worker leaves."""
        with self._flights_lock:
            return set(self._left)

    def nudge(self) -> None:
        """Beat at once: a control may have been engaged."""
        self._tick.set()

    def beat(self) -> None:
        """One beat: seen, leases extended, lost ones cut, controls obeyed and confirmed."""
        flights = self.in_flight()
        if not heart.seen(self.name, len(flights)):
            self._register()
        failpoints.hit("mid_heartbeat")
        self._give_up_overdue(flights)
        fences = _newest_fences(flight for flight in flights if not flight.lost)
        kept = heart.extend_leases(self.name, fences)
        for flight in flights:
            if flight.run_id not in kept or flight.fence < fences.get(flight.run_id, 0):
                flight.cut("the lease is gone", lost=True)
        self._cut_dropped(flights)
        self._beat_ok = time.monotonic()
        self._obey(heart.engaged_controls())
        self._adrift.give_back_runs()
        self._adrift.give_back_steps()

    def claiming_since(self, moment: float) -> bool:
        """Whether a thread has been claiming or settling since before that moment: what it has does not fly yet."""
        with self._flights_lock:
            return any(since <= moment for since in self._between.values())

    def _cut_dropped(self, flights: list[Flight]) -> None:
        """A step that is not needed any more is not worth its call."""
        dropped = heart.settled({flight.step_id for flight in flights})
        for flight in flights:
            if flight.step_id in dropped:
                flight.cut("this step is not needed any more", lost=True)

    def _give_up_overdue(self, flights: list[Flight]) -> None:
        """A step that goes on past its run's deadline may never end: its lease runs out, and another worker ends
        the run. Its own thread cannot be freed."""
        over = time.monotonic() - OVERDUE_SECONDS
        for run_id in {flight.run_id for flight in flights if flight.until < over}:
            self.cut_run(run_id, "the run's deadline has passed")

    def _obey(self, controls: list[Control]) -> None:
        if self.obeying.obey(controls):
            self._tick.wait(LANDING_SECONDS)
            self._tick.set()  # look again soon: what was cut is about to land

    def _hear(self, controls: list[Control]) -> None:
        """A control was engaged: cut what it stops, before anything else. The heart then obeys it in full."""
        self.obeying.hear(controls)
        self.nudge()

    def _spawn(self, target: Any, name: str) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _beat_on(self) -> None:
        while not self._stopping.is_set():
            try:
                self.beat()
            except Exception:
                _log.exception("heartbeat failed")
                connection.close()
                self._stop_before_the_lease_ends()
            self.after_beat()
            self._tick.wait(float(settings.RUNS_HEARTBEAT_SECONDS))
            self._tick.clear()
        connection.close()

    def _stop_before_the_lease_ends(self) -> None:
        """Dead man's switch: a worker that cannot reach the database stops itself before others may take over."""
        lease = float(settings.RUNS_LEASE_SECONDS)
        if time.monotonic() - self._beat_ok < lease - min(3.0, lease / 3):
            return
        for flight in self.in_flight():
            flight.cut("the database could not be reached", lost=True)

    def _listen(self) -> None:
        heart.listen(self._hear, lambda run_id: self.look_at(run_id), self._stopping)


def _newest_fences(flights: Iterable[Flight]) -> dict[int, int]:
    fences: dict[int, int] = {}
    for flight in flights:
        fences[flight.run_id] = max(flight.fence, fences.get(flight.run_id, 0))
    return fences


_current: Runtime | None = None
_current_lock = threading.Lock()


def current() -> Runtime:
    """This process's runtime; without a started one (a test, a command) a plain one named after the process."""
    global _current
    with _current_lock:
        if _current is None:
            _current = Runtime(f"process-{os.getpid()}", "agents")
        return _current


def install(runtime: Runtime | None) -> None:
    global _current
    with _current_lock:
        _current = runtime
