"""How one process obeys the controls that people engage: what a stop covers is cut here, and confirmed when nothing of
it flies any more. Engages and releases nothing.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from runs.engine.worker import heart
from runs.engine.worker.flights import Flight
from runs.models import Control, ControlKind, WorkerKind

if TYPE_CHECKING:
    from runs.engine.worker.runtime import Runtime

ASIDE_SECONDS = 0.25  # at most, for a step that was cut to wait until all others are


class Obeying:
    """One a process."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._heard: dict[int, float] = {}  # control -> when this worker first read it
        self._calm = threading.Event()  # not while many are being cut
        self._calm.set()

    def obey(self, controls: list[Control]) -> bool:
        """Obey everything that is engaged; True while something of it is about to land."""
        moment = time.monotonic()
        self._heard = {control.pk: self._heard.get(control.pk, moment) for control in controls}
        landing = [control for control in controls if self._still_flying(control)]
        return bool(landing)

    def hear(self, controls: list[Control]) -> None:
        """Cut what these stop, and nothing else: it cannot wait for the heart."""
        for control in controls:
            if control.kind == ControlKind.STOP:
                self._cut_covered(control)

    def _cut_covered(self, control: Control) -> list[Flight]:
        """Cut what a stop covers here; what is held only is left to land. Returns all that it covers."""
        flights = self._runtime.in_flight()
        covered = [one for one in flights if control.covers(run_id=one.run_id, workflow=one.workflow)]
        heart.note_cut(control, self._runtime.name, len(covered))
        if control.kind == ControlKind.STOP:
            self.cut_together(covered, f"{control.kind} of {control.scope_name} by {control.engaged_by}")
        return covered

    def cut_together(self, flights: list[Flight], why: str) -> None:
        """The last of many is cut before the first goes on: what each has to record afterwards can wait."""
        self._calm.clear()
        try:
            if [flight for flight in flights if flight.cut(why)]:
                self._runtime.wait_for_cancelled(ASIDE_SECONDS)
        finally:
            self._calm.set()

    def stand_aside(self) -> None:
        """Let those that are being cut at this moment be cut first."""
        self._calm.wait(ASIDE_SECONDS)

    def _still_flying(self, control: Control) -> bool:
        """Obey one control; True while something it covers is in flight here. Else this worker confirms it."""
        covered = self._cut_covered(control)
        if covered or self._claimed_before(control):
            return True
        if self._runtime.kind == WorkerKind.AGENTS:
            heart.confirm(control, self._runtime.name)
        return False

    def _claimed_before(self, control: Control) -> bool:
        """Whether a thread has been claiming since before this worker heard of the control: what it claims may be
        covered, and does not fly yet. What began to claim later has met the control at the gate."""
        return self._runtime.claiming_since(self._heard.get(control.pk, 0.0))
