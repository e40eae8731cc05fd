"""A worker that leaves in order: what is under way may finish for a while, then it is let go for others to take over.

Nothing begins here any more: a step that is claimed while this goes on is cut before it does anything. What cannot be
cut, a thread that blocks in a tool, is left behind: its run is given back, and the process ends without it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time

from django.db import connection

from runs import live
from runs.engine.worker import heart
from runs.engine.worker.runtime import LEAVING, Runtime

LAND_SECONDS = 2.0  # for what has been cut to be recorded
CUT_SECONDS = 1.1  # a step that was cut is due again a second later
LAST_SECONDS = 1.5  # for the process to end by itself
_TURN = 0.02
_log = logging.getLogger("opsconsole.leaving")


class Leaving:
    """One a process, begun once. `seconds`: how long calls under way may go on."""

    def __init__(self, runtime: Runtime, *, seconds: float) -> None:
        self._runtime = runtime
        self._seconds = seconds
        self._thread = threading.Thread(target=self._leave, name="leaving", daemon=True)
        self._done = threading.Event()

    def begin(self) -> None:
        self._runtime.begin_nothing_more()
        self._thread.start()

    def wait(self) -> None:
        """Until everything is recorded or given back."""
        self._done.wait(self._seconds + LAND_SECONDS + CUT_SECONDS + LAST_SECONDS)

    def _leave(self) -> None:
        try:
            self._until_nothing_flies(self._seconds)
            self._runtime.cut_all(LEAVING)
            self._until_nothing_flies(LAND_SECONDS)
            self._hand_over()
        except Exception:
            _log.exception("what was under way could not be handed over: its leases run out")
        finally:
            connection.close()
            self._done.set()
        time.sleep(LAST_SECONDS)
        with contextlib.suppress(Exception):
            heart.leave(self._runtime.name)
        os._exit(0)  # a thread that blocks would keep the process

    def _until_nothing_flies(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._runtime.busy() and time.monotonic() < until:
            time.sleep(_TURN)

    def _hand_over(self) -> None:
        """Give back what is still ours, and say to others what they can take up."""
        for run_id, fence in heart.leased(self._runtime.name).items():
            heart.give_back(self._runtime.name, run_id, fence)
        left = self._runtime.left_behind()
        if left:
            time.sleep(CUT_SECONDS)
        for run_id in left:
            live.wake(run_id)
        live.flush()
