"""The bench-only switch: calls of one workflow pass no guard of ours, in the same workers beside those that pass all.

Only a benchmark's processes have this app; no setting of the product turns guards off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runs.engine import bounds, breakers
from runs.engine.again import Again
from runs.engine.claimed import Claimed
from runs.engine.fullness import Fullness
from runs.engine.spend import caps
from runs.engine.spend.caps import Asks
from runs.engine.spend.wanted import Wanted
from runs.engine.watched import Watched

WORKFLOW = "bench_unguarded"
_GUARDS = {
    Watched: ("calls", "returned", "answered", "done", "strictly", "rejected", "tainted"),
    Again: ("tool", "model"),
}
_asks = caps.asks


def _asks_unless_unguarded(claimed: Claimed, wanted: Wanted, *, first: bool) -> Asks:
    return Asks() if claimed.run.workflow == WORKFLOW else _asks(claimed, wanted, first=first)


def _unless_unguarded(looks: Callable[..., Any]) -> Callable[..., Any]:
    """Of a guard over one attempt: nothing is looked at."""

    def watched(self: Any, *given: Any, **named: Any) -> Any:
        return None if self.claimed.run.workflow == WORKFLOW else looks(self, *given, **named)

    return watched


def _fitting_unless_unguarded(fits: Callable[..., Any]) -> Callable[..., Any]:
    def fitting(self: Fullness, agent: Any, request: Any, *given: Any) -> Any:
        if self.claimed.run.workflow == WORKFLOW:
            return request
        return fits(self, agent, request, *given)

    return fitting


def _bound_unless_unguarded(bound: Callable[..., Any]) -> Callable[..., Any]:
    def slowest(book: Any, run: Any, *given: Any) -> Any:
        return None if run.workflow == WORKFLOW else bound(book, run, *given)

    return slowest


def _ended_unless_unguarded(ended: Callable[..., Any]) -> Callable[..., Any]:
    """An unguarded call knows no breaker: its permit asked for none."""
    return lambda call: None if call.drew is None and not call.metered else ended(call)


def install() -> None:
    caps.asks = _asks_unless_unguarded
    for guard, names in _GUARDS.items():
        for name in names:
            setattr(guard, name, _unless_unguarded(getattr(guard, name)))
    Fullness.fitting = _fitting_unless_unguarded(Fullness.fitting)  # type: ignore[method-assign]
    bounds.step_latency = _bound_unless_unguarded(bounds.step_latency)
    breakers.ended = _ended_unless_unguarded(breakers.ended)
