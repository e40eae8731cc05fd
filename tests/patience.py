"""How long tests wait for what takes a moment: so long that only a hang takes longer. Measures nothing, and nothing is
judged by it: how quick something is belongs to `bench` and to soaks, not to tests, which share their cores."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from django.db import connection

from opsconsole.embedded.processes import wait_until

SECONDS = 60.0
Result = TypeVar("Result")


def until(true: Callable[[], Any], what: str = "it became so") -> None:
    """Look again until it is so."""
    assert wait_until(lambda: bool(true()), SECONDS), f"not within {SECONDS:g} s: {what}"


def joined(*threads: threading.Thread) -> None:
    """They have ended."""
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive(), f"{thread.name} has not ended within {SECONDS:g} s"


def ends(act: Callable[[], Result]) -> Result:
    """What it returns or raises, of an act that would never end if it did not look at its own time."""
    done: Future[Result] = Future()

    def perform() -> None:
        try:
            done.set_result(act())
        except BaseException as error:
            done.set_exception(error)
        finally:
            connection.close()

    threading.Thread(target=perform, daemon=True).start()
    return done.result(SECONDS)
