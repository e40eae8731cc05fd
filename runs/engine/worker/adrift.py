"""What a process has the lease of and does not perform any more is given back, so that it is taken up before the lease
ends. Blames no step; which steps of a run were lost, `Torn` finds.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from runs.engine.worker import heart
from runs.engine.worker.torn import Torn

if TYPE_CHECKING:
    from runs.engine.worker.runtime import Runtime

ADRIFT_SECONDS = 0.9  # before a run that nobody here performs is given back: it may be between two steps


class Adrift:
    """One a process; its heart looks."""

    def __init__(self, runtime: Runtime, torn: Torn) -> None:
        self._runtime = runtime
        self._torn = torn
        # run -> fence, and since when nobody here has performed anything of it
        self._adrift: dict[int, tuple[int, float]] = {}

    def give_back_runs(self) -> None:
        """Let go of runs that nobody here performs any more, though this worker has their leases."""
        leased = heart.leased(self._runtime.name)
        moment = time.monotonic()
        took_off = self._runtime.took_off_since_asked()
        flying = {flight.run_id for flight in self._runtime.in_flight() if not flight.lost}
        was, self._adrift = self._adrift, {}
        for run, fence in leased.items():
            if run in flying:
                continue
            known, since = was.get(run, (0, 0.0))
            # A run of short steps is found between two of them at every look.
            idle = known == fence and took_off.get(run, -math.inf) < since
            self._adrift[run] = (fence, since if idle else moment)
        for run, (fence, since) in self._adrift.items():
            if moment - since >= ADRIFT_SECONDS and not self._runtime.claiming_since(since):
                heart.give_back(self._runtime.name, run, fence)

    def give_back_steps(self) -> None:
        """Let go of single steps of runs that are performed here. A run of which nothing else is performed is given
        back as a whole."""
        for run_id, fence, since in self._torn.runs():
            if since is not None and self._runtime.claiming_since(since):
                continue
            performed = heart.performed(self._runtime.name, run_id, fence)
            if performed is None:
                self._torn.forget(run_id, fence)
                continue
            flights = self._runtime.in_flight()
            flying = {flight.step_id for flight in flights if flight.run_id == run_id}
            if since is None:
                self._torn.first_look(run_id, fence, performed - flying, time.monotonic())
            elif flying:
                self._give_back(run_id, fence, self._torn.second_look(run_id, fence, performed))

    def _give_back(self, run_id: int, fence: int, lost: set[int]) -> None:
        if not lost:
            return
        given_back = heart.give_back_steps(self._runtime.name, run_id, fence, lost)
        if given_back is None:
            self._torn.tore(run_id, fence)  # look again
        elif given_back:
            self._runtime.look_at(run_id)
        else:
            self._runtime.cut_run(run_id, "a step beside it could not be settled", fence=fence)
