"""The bench-only switch: calls of one workflow pass no guard of ours, in the same workers beside those that pass all.

Only a benchmark's processes have this app; no setting of the product turns guards off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runs.engine import caps
from runs.engine.caps import Asks
from runs.engine.claimed import Claimed
from runs.engine.wanted import Wanted
from runs.engine.watched import Watched

WORKFLOW = "bench_unguarded"
_WATCHING = ("calls", "returned", "answered", "done", "strictly", "rejected", "tainted")
_asks = caps.asks


def _asks_unless_unguarded(claimed: Claimed, wanted: Wanted, *, first: bool) -> Asks:
    return Asks() if claimed.run.workflow == WORKFLOW else _asks(claimed, wanted, first=first)


def _unless_unguarded(looks: Callable[..., Any]) -> Callable[..., Any]:
    def watched(self: Watched, *given: Any, **named: Any) -> Any:
        return None if self.claimed.run.workflow == WORKFLOW else looks(self, *given, **named)

    return watched


def install() -> None:
    caps.asks = _asks_unless_unguarded
    for name in _WATCHING:
        setattr(Watched, name, _unless_unguarded(getattr(Watched, name)))
