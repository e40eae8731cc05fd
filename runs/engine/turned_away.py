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
from runs.starts_by import Start

WINDOW_SECONDS = 10.0
_log = logging.getLogger("opsconsole.webhooks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What was refused and why; `start` is None for a hook that there is not, whatever it was called."""

    workflow: str
    start: Start | None
    why: str  # a class of refusals, never a sender's words

    @property
    def says(self) -> str:
        return f"webhook {self.start.name} of {self.workflow}" if self.start else "an unknown webhook"


_more: dict[Kind, int] = {}
_lock = threading.Lock()


def note(kind: Kind) -> None:
    """Count one refusal. Never fails, and waits for the database only once in a window."""
    with _lock:
        first = kind not in _more
        _more[kind] = 0 if first else _more[kind] + 1
    if not first:
        return
    _log.warning("%s refused a delivery: %s", kind.says, kind.why)
    _book(kind, 1)
    timer = threading.Timer(WINDOW_SECONDS, _window_over, [kind])
    timer.daemon = True
    timer.start()


def flush() -> None:
    """Write down what was counted so far, and begin anew."""
    with _lock:
        counted = list(_more)
    for kind in counted:
        _end(kind)


def _window_over(kind: Kind) -> None:
    try:
        _end(kind)
    finally:
        connection.close()  # this thread ends


def _end(kind: Kind) -> None:
    with _lock:
        more = _more.pop(kind, 0)
    if more:
        _log.warning("%s refused %s more: %s", kind.says, more, kind.why)
        _book(kind, more)


def _book(kind: Kind, times: int) -> None:
    if kind.start is None:
        return
    with contextlib.suppress(Exception):  # the refusal itself does not wait for the database to come back
        triggers.refused(triggers.row(kind.workflow, kind.start), kind.why, times=times)
