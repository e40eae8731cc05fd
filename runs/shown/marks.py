"""What of a timeline stands out: the steps the run had to wait for, steps and calls slower than they may be. Pure.

A step's own time counts: nobody's wait, and no time between tries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from runs.limits.rows import Row
from runs.shown import critical
from runs.shown.spans import Spans
from runs.shown.visited import Tried

Caps = Callable[
    [frozenset[str]], Sequence[Row]
]  # by the agents that tried a step: limits of latency, strictest first


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """By number of the step or call what it was slower than, in words."""

    on_path: frozenset[int] = frozenset()
    slow_steps: Mapping[int, str] = field(default_factory=dict)
    slow_calls: Mapping[int, str] = field(default_factory=dict)


NONE = Marks()


def marks(
    spans: Spans, tries: Mapping[int, Iterable[Tried]], *, on_path: frozenset[int], caps: Caps, now: datetime
) -> Marks:
    """Of the steps with `tries`, which are those that are shown."""
    worked = {one.id: one for one in spans.worked if one.id in tries}
    steps: dict[int, str] = {}
    calls: dict[int, str] = {}
    for step, many in tries.items():
        allowed = caps(spans.agents.get(step, frozenset()))
        if not allowed:
            continue
        if step in worked:
            took = critical.latency(critical.spent(worked[step], end=spans.ms(now), loose=spans.loose))
            steps[step] = over(took, allowed)
        for call in (call for tried in many for call in tried.calls):
            length = ((call.end or now) - call.begin) // timedelta(milliseconds=1)
            calls[call.id] = over(length, allowed)
    return Marks(
        on_path=on_path,
        slow_steps={step: words for step, words in steps.items() if words},
        slow_calls={call: words for call, words in calls.items() if words},
    )


def over(took: int, caps: Sequence[Row]) -> str:
    """Which of these limits so many milliseconds cross, in words; of several the widest that is crossed."""
    crossed = [row for row in caps if took > row.value]
    if not crossed:
        return ""
    row = max(crossed, key=lambda one: (one.mode.strength, one.value))
    return f"slower than {row.amount} ({row.scope_words}, {row.mode.value})"
