"""Steps that nobody performs while others of their run go on here: a settlement was lost with its connection, and
whether it was recorded, or what it claimed with it, nobody knows. Finds them by looking twice; writes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Torn:
    fence: int
    since: float | None = None  # when it was looked at first
    idle: frozenset[int] = frozenset()  # performed by the record, and by nobody here, at that look
    flown: set[int] = field(
        default_factory=set
    )  # what took off since it tore: none of that is lost, or it tears again


class Torn:
    """The runs of one process in which something was lost, until it is found."""

    def __init__(self) -> None:
        self._runs: dict[int, _Torn] = {}
        self._lock = threading.Lock()

    def tore(self, run_id: int, fence: int) -> None:
        """A settlement of this run was lost."""
        with self._lock:
            self._runs[run_id] = _Torn(fence)

    def took_off(self, run_id: int, step_id: int) -> None:
        """Somebody performs this step."""
        with self._lock:
            if run_id in self._runs:
                self._runs[run_id].flown.add(step_id)

    def runs(self) -> list[tuple[int, int, float | None]]:
        """Run, fence, and when it was looked at first."""
        with self._lock:
            return [(run_id, one.fence, one.since) for run_id, one in self._runs.items()]

    def forget(self, run_id: int, fence: int) -> None:
        """This process has the run no more."""
        with self._lock:
            if run_id in self._runs and self._runs[run_id].fence == fence:
                del self._runs[run_id]

    def first_look(self, run_id: int, fence: int, idle: Collection[int], moment: float) -> None:
        """What seems to be performed by nobody. It may be in the hands of a thread between its claim and its flight,
        or between its flight and its settlement: such a thread is at it since before `moment`."""
        with self._lock:
            found = self._runs.get(run_id)
            if found is not None and found.fence == fence and found.since is None:
                found.since, found.idle = moment, frozenset(idle)

    def second_look(self, run_id: int, fence: int, performed: Collection[int]) -> set[int]:
        """What is lost, once no thread is left that was at it before the first look: the run is forgotten here."""
        with self._lock:
            found = self._runs.get(run_id)
            if found is None or found.fence != fence or found.since is None:
                return set()  # it tore again meanwhile
            del self._runs[run_id]
            return set(performed) & (found.idle - found.flown)
