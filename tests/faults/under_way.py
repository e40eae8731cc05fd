"""A model call that is under way when its process is hurt, however slow the machine: it ends when that has happened.

Nothing of the product knows of it: a worker that FAILPOINT tells to be hurt while calls are under way has the simulated
provider wrapped, and its heart passes its failpoint only when every step that it performs waits for a call.
"""

from __future__ import annotations

import asyncio
import os
import threading

from runs.agents import door, simulated
from runs.agents.door import ModelReply, ModelRequest
from runs.engine import failpoints
from runs.engine.worker.runtime import current

NAMES = frozenset({"mid_heartbeat", "unread_task_done"})


def install() -> None:
    """Wrap them in this process, if FAILPOINT names one of these."""
    armed = os.environ.get("FAILPOINT", "").partition(":")[0]
    if armed not in NAMES:
        return
    hurt, passed = threading.Event(), failpoints.hit

    def hit(name: str) -> None:
        if name == "mid_heartbeat" and not _all_call():
            return
        passed(name)
        if name == armed:
            hurt.set()

    async def ask(request: ModelRequest) -> ModelReply:
        await asyncio.to_thread(hurt.wait)
        return await simulated.ask(request)

    failpoints.hit = hit
    door.register("simulated", ask)


def _all_call() -> bool:
    flights = current().in_flight()
    return bool(flights) and all(flight._waiting is not None for flight in flights)
