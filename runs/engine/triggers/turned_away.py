"""Counts deliveries that were refused: the first of a kind is logged at once, a flood of them once in a while.

Keeps nothing of what was sent. Counts in this process, so that a flood of refusals writes no more to the database
than one row in a while; what a killed process had counted and not yet written is lost.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from dataclasses import dataclass

from django.db import connection

from runs.engine import triggers
from runs.starts_by import Webhook

WINDOW_SECONDS = 10.0
_log = logging.getLogger("opsconsole.webhooks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What was refused and why; `start` is None for a hook that there is not, whatever it was called."""

    workflow: str
    start: Webhook | None
    why: str  # a class of refusals, never a sender's words

    @property
    def says(self) -> str:
        return f"webhook {self.start.name} of {self.workflow}" if self.start else "an unknown webhook"


@dataclass(slots=True, eq=False)
class _Window:
    """What was refused of one kind since the first was said."""

    more: int = 0


_open: dict[Kind, _Window] = {}
_lock = threading.Lock()


def note(kind: Kind) -> None:
    """Count one refusal. Never fails, and waits for the database only once in a window."""
    with _lock:
        if window := _open.get(kind):
            window.more += 1
            return
        window = _open[kind] = _Window()
    _log.warning("%s refused a delivery: %s", kind.says, kind.why)
    _book(kind, 1)
    timer = threading.Timer(WINDOW_SECONDS, _over, [kind, window])
    timer.daemon = True
    timer.start()


def flush() -> None:
    """Write down what was counted so far, and begin anew."""
    with _lock:
        windows = list(_open.items())
    for kind, window in windows:
        _end(kind, window)


def forget() -> None:
    """Drop what was counted. For tests."""
    with _lock:
        _open.clear()


def _over(kind: Kind, window: _Window) -> None:
    try:
        _end(kind, window)
    finally:
        connection.close()  # this thread ends


def _end(kind: Kind, window: _Window) -> None:
    with _lock:
        if _open.get(kind) is not window:
            return
        del _open[kind]
    if window.more:
        _log.warning("%s refused %s more: %s", kind.says, window.more, kind.why)
        _book(kind, window.more)


def _book(kind: Kind, times: int) -> None:
    if kind.start is None:
        return
    with contextlib.suppress(Exception):  # the refusal itself does not wait for the database to come back
        triggers.refused(triggers.row(kind.workflow, kind.start), kind.why, times=times)
