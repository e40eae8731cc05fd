"""Work in a child process of its own, for nodes that block or compute: a stop kills it for real. No retries.

The child imports the node's module and nothing of Django; it ends itself when its parent is gone.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from runs.canonical import canonical
from runs.errors import DataError, ReasoningError, RecoverableError, StepError, broken

if TYPE_CHECKING:
    from runs.engine.worker.flights import Flight

_KINDS: dict[str, type[StepError]] = {
    "recoverable": RecoverableError,
    "data": DataError,
    "reasoning": ReasoningError,
}


class ChildFailed(Exception):
    """The child raised what has no class, or died without a word."""


def perform(work: Callable[[Any], BaseModel], given: BaseModel, flight: Flight, seconds: float) -> Any:
    """What `work(given)` returned in a child, as JSON data.

    Raises the step error that it raised, ChildFailed, TimeoutError after `seconds`, or CutInFlight.
    """
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    child = spawn.Process(target=_run, args=(theirs, work, type(given), canonical(given)), daemon=True)
    with contextlib.closing(ours):
        child.start()
        theirs.close()
        try:
            with flight.kills(lambda: _kill(child)):
                reply = _reply(ours, child, seconds)
        finally:
            _kill(child)
            child.join()
            child.close()
        flight.check()
    return _value(reply)


def _reply(ours: Connection, child: BaseProcess, seconds: float) -> dict[str, Any] | None:
    """The child's one message; None when it died before it said anything."""
    if not wait([ours, child.sentinel], timeout=seconds):
        raise TimeoutError(f"the step was not done within {seconds:.0f} s")
    if not ours.poll():
        return None
    try:
        reply: dict[str, Any] = ours.recv()
    except EOFError:
        return None
    return reply


def _value(reply: dict[str, Any] | None) -> Any:
    if reply is None:
        raise ChildFailed("the step's process died without a word")
    if "value" in reply:
        return reply["value"]
    kind = _KINDS.get(reply["kind"])
    if kind is None:
        raise ChildFailed(reply["error"])
    raise kind(reply["error"], where=reply["where"])


def _kill(child: BaseProcess) -> None:
    """SIGKILL to the child's own group, so that what it started goes with it."""
    if child.pid is None or not child.is_alive():
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(child.pid) == child.pid:
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()


def _run(theirs: Connection, work: Callable[[Any], BaseModel], takes: type[BaseModel], text: str) -> None:
    os.setpgid(0, 0)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        reply: dict[str, Any] = {"value": work(takes.model_validate_json(text)).model_dump(mode="json")}
    except ValidationError as error:
        told = broken(error, "output")
        reply = {"kind": "data", "error": told.message, "where": told.where}
    except StepError as error:
        reply = {"kind": str(error.error_class), "error": error.message, "where": error.where}
    except Exception as error:
        reply = {"kind": "unforeseen", "error": f"{type(error).__name__}: {error}", "where": ""}
    theirs.send(reply)
    theirs.close()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.killpg(0, signal.SIGKILL)
