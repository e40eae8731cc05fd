"""One step that a process performs: what is in flight of it may be cut at any moment. Decides nothing about runs."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from runs.engine.outcomes import CutInFlight
from runs.errors import RecoverableError

if TYPE_CHECKING:
    from runs.engine.worker.runtime import Runtime

T = TypeVar("T")
LATE_SECONDS = 0.5  # beyond its time, before a call is left to itself


class ProviderFault(Exception):
    """A provider raised what would have ended the loop of all calls."""


Begin = Callable[[], Coroutine[Any, Any, T]]  # called on the loop: what is cancelled before has begun nothing


async def _within(seconds: float, begin: Begin[T]) -> T:
    return await asyncio.wait_for(_contained(begin), seconds)


async def _contained(begin: Begin[T]) -> T:
    """asyncio lets these two end the loop, and with it every call of this process."""
    try:
        return await begin()
    except (SystemExit, KeyboardInterrupt) as error:
        raise ProviderFault(f"the provider raised {type(error).__name__}") from error


class Flight:
    """One step that this process is performing. `cut` may come from another thread at any moment."""

    def __init__(
        self, runtime: Runtime, run_id: int, workflow: str, fence: int, seconds_left: float, step_id: int
    ) -> None:
        self.run_id = run_id
        self.step_id = step_id
        self.workflow = workflow
        self.fence = fence
        self.until = time.monotonic() + seconds_left
        self._runtime = runtime
        self._lock = threading.Lock()
        self._why = ""
        self._lost = False
        self._kill: Callable[[], None] | None = None
        self._waiting: concurrent.futures.Future[Any] | None = None

    def cut(self, why: str, *, lost: bool = False) -> bool:
        """Cancel what is in flight and refuse what would follow. True when a call was in flight."""
        with self._lock:
            self._why, self._lost = self._why or why, self._lost or lost
            waiting, kill = self._waiting, self._kill
        if waiting is not None:
            waiting.cancel()
        if kill is not None:
            kill()
        return waiting is not None or kill is not None

    @contextlib.contextmanager
    def kills(self, kill: Callable[[], None]) -> Iterator[None]:
        """While inside, a cut also calls `kill`; at once when the cut came before."""
        with self._lock:
            self._kill = kill
            late = bool(self._why)
        if late:
            kill()
        try:
            yield
        finally:
            with self._lock:
                self._kill = None

    @property
    def lost(self) -> bool:
        """Given up: its run's lease is not extended for it any more."""
        return self._lost

    def check(self) -> None:
        """Raise CutInFlight when this flight has been cut."""
        if self._why:
            self._runtime.obeying.stand_aside()
            raise CutInFlight(self._why, lost=self._lost)

    def wait(self, begin: Begin[T], seconds: float) -> T:
        """Run what it begins on the process's loop and wait for it. Raises CutInFlight, TimeoutError, or its error."""
        with self._lock:
            if not self._why:
                self._waiting = self._runtime.submit(_within(seconds, begin))
        self.check()
        assert self._waiting is not None
        try:
            # The time is kept on both sides: a provider that blocks the loop, or ignores being cancelled, is left.
            result: T = self._waiting.result(seconds + LATE_SECONDS)
        except (concurrent.futures.CancelledError, asyncio.CancelledError) as error:
            self.check()
            raise RecoverableError("the provider cancelled its own call") from error
        finally:
            self._waiting.cancel()  # nothing, unless it was left to itself
            with self._lock:
                self._waiting = None
        return result
