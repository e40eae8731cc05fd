"""Whether a breaker opens, from the calls that ended last: three rules, any of them. Pure.

- consecutive: so many failures in a row;
- ratio: at least a share of the calls of the window failed, once there were enough of them;
- slow: at least a share of them took longer than a call may, once there were enough.

Source of the rules: Nygard, Release It! (2nd edition, 2018), "Circuit Breaker"; the shares and windows are settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

LONGEST_OPEN = 900.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A call that ended. `latency_ms` None: not known."""

    failed: bool
    latency_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRule:
    """`window` seconds; `ratio` and `slow_ratio` in percent; `slow_ms` above which a call is slow; `open_seconds` until
    the first probe, doubled with each probe that fails."""

    consecutive: int = 5
    ratio: int = 50
    slow_ratio: int = 80
    slow_ms: int = 60_000
    least: int = 10
    window: int = 60
    open_seconds: float = 30.0


def opens(rule: BreakerRule, ended: Sequence[Ended]) -> str:
    """Why the breaker opens, in words with the figure; empty: it stays closed. `ended`: newest first, of the window."""
    row = sum(1 for _ in takewhile(lambda one: one.failed, ended))
    if row >= rule.consecutive:
        return f"{row} failures in a row (limit {rule.consecutive})"
    count = len(ended)
    if count < rule.least:
        return ""
    failed = sum(one.failed for one in ended)
    if failed * 100 >= rule.ratio * count:
        return f"{failed} of {count} calls failed within {rule.window} s (limit {rule.ratio} %)"
    slow = sum(one.latency_ms is not None and one.latency_ms > rule.slow_ms for one in ended)
    if slow * 100 >= rule.slow_ratio * count:
        return (
            f"{slow} of {count} calls took longer than {rule.slow_ms / 1000:g} s within {rule.window} s"
            f" (limit {rule.slow_ratio} %)"
        )
    return ""


def open_for(rule: BreakerRule, opens_in_a_row: int) -> float:
    """Seconds until the next probe."""
    return min(LONGEST_OPEN, rule.open_seconds * 2.0 ** min(max(opens_in_a_row - 1, 0), 20))
