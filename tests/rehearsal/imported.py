"""Recorded runs from elsewhere, made up here: small enough to be added up on paper."""

from __future__ import annotations

from escalations.imports import Recorded
from runs.recorded.trace import read
from tests.recorded import traces


def one(run_id: str = "theirs-1", turns: int = 3, succeeded: bool | None = None) -> Recorded:
    """So many turns of 100 tokens in and 10 out, with a look between them."""
    steps = [traces.message("Where is order 7?")]
    for _ in range(turns):
        steps += [traces.thought("I look."), traces.called("find_order", {"order_id": 7}, "sent")]
    return Recorded(trace=read(traces.trace(*steps, run_id=run_id)), succeeded=succeeded)
