"""A function in a process of its own, within what is left of its time: its node's, its run's, and what people let a
step take in one go. Says which of them cut it. Starts nothing itself (`child`) and tries nothing again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.db import connection
from pydantic import BaseModel

from runs.engine import bounds, child, limits
from runs.engine.claimed import Claimed
from runs.engine.found import Found, because, tell
from runs.engine.record import now
from runs.engine.worker.flights import Flight
from runs.errors import RecoverableError
from runs.limits.rows import Row

GUARD = "step_latency"


def perform(claimed: Claimed, flight: Flight, work: Callable[[Any], BaseModel], given: BaseModel) -> Any:
    """What `work(given)` returned in a child, as JSON data.

    Raises RecoverableError when its time is up, and what `child.perform` raises otherwise.
    """
    row = bounds.step_latency(limits.current(), claimed.run, claimed.workflow, "", now())
    connection.close()
    worked = time.monotonic() - claimed.began
    of_people = row.value / 1000 - worked if row else float("inf")
    own, left = claimed.node.seconds, claimed.left()
    try:
        return child.perform(work, given, flight, max(0.0, min(own, left, of_people)))
    except TimeoutError as cut:
        if left <= min(own, of_people):
            raise  # said when the run ends, which it does now
        found = _found(claimed, row if of_people <= own else None)
        tell(claimed, found)
        raise RecoverableError(found.says) from cut


def _found(claimed: Claimed, row: Row | None) -> Found:
    """That it was cut: by a limit of people, or by the bound of its own node."""
    worked, name = time.monotonic() - claimed.began, claimed.step.node
    seconds = claimed.node.seconds
    which = f"{because(row)}." if row else f"its definition allows {seconds:g} s."
    return Found(
        guard=GUARD,
        scope=f"node {name}",
        says=f"{name} has taken {worked:.0f} s and was ended: {which}",
        row=row,
        cap=round(seconds * 1000),
        value=round(worked * 1000),
        about=str(claimed.attempt.number),
    )
