"""Whether a breaker opens, from the calls that ended last: three rules, any of them; and whom it lets pass. Pure.

- consecutive: so many failures in a row;
- ratio: at least a share of the calls of the window failed, once there were enough of them;
- slow: at least a share of them took longer than a call may, once there were enough; of an agent not its calls but its
  tries, each by what its own calls took together.

Source of the rules: Nygard, Release It! (2nd edition, 2018), "Circuit Breaker"; the shares and windows are settings.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

LONGEST_OPEN = 900.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A call that ended. `latency_ms` None: not known, or not held against what the breaker stands before. `of_try`:
    which try of an agent it belongs to; then what the try's calls took counts together. `inside` the window."""

    failed: bool
    latency_ms: int | None = None
    of_try: Hashable | None = None
    inside: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRule:
    """`window` seconds; `ratio` and `slow_ratio` in percent; `slow_ms` above which a call is slow; `open_seconds` until
    the first probe, doubled with each probe that fails. `try_slow_ms` above which a try of an agent is slow; 0: none
    is."""

    consecutive: int = 5
    ratio: int = 50
    slow_ratio: int = 80
    slow_ms: int = 60_000
    try_slow_ms: int = 0
    least: int = 10
    window: int = 60
    open_seconds: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The calls of a window, counted: failures in a row at its end, and of all of them those that failed and were slow.
    Without moments there is no window: then only the row is known. Of an agent, `slow` of so many `tries`."""

    row: int
    count: int = 0
    failed: int = 0
    slow: int = 0
    tries: int = 0


class Passing(enum.Enum):
    """What a breaker does with a call: lets it pass, lets it pass as its probe, or lets it wait."""

    PASSES = enum.auto()
    PROBES = enum.auto()
    WAITS = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a breaker stands. `forced`: open or closed, by a person. `due`: whether the moment of its next probe has
    come, or the time of the probe under way is up."""

    state: str
    forced: str = ""
    due: bool = False


def admits(standing: Standing) -> Passing:
    """What a breaker does with the next call. A permit decides it in SQL (`runs_pass`), since it takes the probe by the
    same statement."""
    if standing.forced == "closed" or (not standing.forced and standing.state == "closed"):
        return Passing.PASSES
    if standing.forced == "open" or (standing.state != "closed" and not standing.due):
        return Passing.WAITS
    return Passing.PROBES


def opens(rule: BreakerRule, ended: Sequence[Ended]) -> str:
    """Why the breaker opens, in words with the figure; empty: it stays closed. `ended`: newest first, of the window."""
    return due(rule, tallied(rule, ended))


def tallied(rule: BreakerRule, ended: Sequence[Ended]) -> Tally:
    inside = [one for one in ended if one.inside]
    tries = {one.of_try for one in inside if one.of_try is not None}
    took: Counter[Hashable] = Counter()
    for one in ended:
        took[one.of_try] += one.latency_ms or 0
    single = sum(
        one.of_try is None and one.latency_ms is not None and one.latency_ms > rule.slow_ms for one in inside
    )
    return Tally(
        row=sum(1 for _ in takewhile(lambda one: one.failed, inside)),
        count=len(inside),
        failed=sum(one.failed for one in inside),
        slow=sum(took[one] > rule.try_slow_ms for one in tries) if tries else single,
        tries=len(tries),
    )


def own_ms(rule: BreakerRule, latency_ms: int | None, *, others: bool) -> int | None:
    """What a model call counts towards its agent's try. Nothing where it is held against its model already, because the
    model failed (`others`) or was slow: an agent that goes on by another model is not kept from it."""
    return None if latency_ms is None or others or latency_ms > rule.slow_ms else latency_ms


def makes_late(rule: BreakerRule, before: Iterable[int | None], own: int | None) -> bool:
    """Whether by this call its try becomes slow, after what the calls `before` counted: it does once."""
    if not rule.try_slow_ms or own is None:
        return False
    took = sum(one or 0 for one in before)
    return took <= rule.try_slow_ms < took + own


def due(rule: BreakerRule, calls: Tally) -> str:
    """The same of calls that are counted already."""
    if calls.row >= rule.consecutive:
        return f"{calls.row} failures in a row (limit {rule.consecutive})"
    if calls.count < rule.least:
        return ""
    if calls.failed * 100 >= rule.ratio * calls.count:
        return f"{calls.failed} of {calls.count} calls failed within {rule.window} s (limit {rule.ratio} %)"
    if calls.tries:
        if calls.tries < rule.least or calls.slow * 100 < rule.slow_ratio * calls.tries:
            return ""
        return (
            f"{calls.slow} of {calls.tries} tries took longer than {rule.try_slow_ms / 1000:g} s, by its calls within "
            f"{rule.window} s (limit {rule.slow_ratio} %)"
        )
    if calls.slow * 100 >= rule.slow_ratio * calls.count:
        return (
            f"{calls.slow} of {calls.count} calls took longer than {rule.slow_ms / 1000:g} s within {rule.window} s"
            f" (limit {rule.slow_ratio} %)"
        )
    return ""


def open_for(rule: BreakerRule, opens_in_a_row: int) -> float:
    """Seconds until the next probe."""
    return min(LONGEST_OPEN, rule.open_seconds * 2.0 ** min(max(opens_in_a_row - 1, 0), 20))
