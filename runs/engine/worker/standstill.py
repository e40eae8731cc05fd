"""A worker that hangs ends itself, so that whoever started it starts another. Looks at no run and at no database.

Each part that must never stand still says again and again that it goes on. When one has not for too long, the process
writes down where every thread of it stands, and is gone with exit code 1. The timer is a thread of the interpreter's
own (faulthandler) that needs no interpreter lock: code that never gives that back is found, too.
"""

from __future__ import annotations

import faulthandler
import sys
import threading
import time
from collections.abc import Iterable


class Watch:
    """One a process: faulthandler has one timer."""

    def __init__(self, parts: Iterable[str], *, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        moment = time.monotonic()
        self._parts = dict.fromkeys(parts, moment)
        self._set()

    def goes_on(self, part: str) -> None:
        """This part lives. One that has left stays away."""
        with self._lock:
            if part in self._parts:
                self._parts[part] = time.monotonic()
                self._set()

    def leaves(self, part: str) -> None:
        """This part ends in order: nobody waits for it any more."""
        with self._lock:
            self._parts.pop(part, None)
            self._set()

    def _set(self) -> None:
        if not self._parts:
            faulthandler.cancel_dump_traceback_later()
            return
        left = min(self._parts.values()) + self._seconds - time.monotonic()
        # Not sys.stderr: Celery has put its own in that place, which is no file.
        faulthandler.dump_traceback_later(max(left, 0.001), exit=True, file=sys.__stderr__ or sys.stderr)
