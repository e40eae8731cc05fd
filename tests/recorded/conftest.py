"""Taking recorded runs in and playing them in this process, without a worker."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from runs.engine import recordings
from runs.engine.advance import advance
from runs.engine.worker.runtime import Runtime
from runs.models import Run
from runs.recorded import toolsets
from runs.recorded.trace import read
from tests.recorded.traces import TOOLSETS

KNOWN = toolsets.parse(TOOLSETS)
TakenIn = Callable[..., Run]


def taken_in(line: dict[str, Any], speed: float = 0.0) -> Run:
    """A line as a run that nobody has played yet."""
    with transaction.atomic():
        return recordings.take_in(read(line), KNOWN, speed=speed, by="test").run


@pytest.fixture(scope="session")
def runtime() -> Runtime:
    return Runtime("test-player", "agents")


def played(run: Run, runtime: Runtime) -> Run:
    """The run after a worker has played it as far as it goes. On a busy machine a permit that took too long is aborted
    unsent, and the run sleeps for a second."""
    until = time.monotonic() + 30.0
    while advance(run.pk, runtime).why == "later" and time.monotonic() < until:
        time.sleep(0.05)
    return Run.objects.get(pk=run.pk)
