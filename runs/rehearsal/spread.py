"""Where the figures of many runs lie, beside a value that is drafted. Pure; eight bytes a run."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from runs.limits.units import Unit, shown

BARS = 12  # the last one holds everything above the others
SHARES = (50, 90, 99)


@dataclass(slots=True, kw_only=True)
class Spread:
    """One figure a run. Percentiles are by nearest rank: so many in a hundred runs came to that figure at most."""

    figures: array[int] = field(default_factory=lambda: array("q"))

    def add(self, figure: int) -> None:
        self.figures.append(figure)

    def as_json(self, unit: Unit, value: int | None) -> dict[str, Any]:
        """With bars of equal width, from 0 to where all but a few lie; `value` is drafted, if anything is."""
        ordered = sorted(self.figures)
        if not ordered:
            return {}
        marks = {f"p{share}": _percentile(ordered, share) for share in SHARES} | {"most": ordered[-1]}
        return {
            "runs": len(ordered),
            **marks,
            "said": {name: shown(unit, figure) for name, figure in marks.items()},
            "above": None if value is None else sum(figure > value for figure in ordered),
            "bars": _bars(ordered, unit, marks["p99"], value),
        }


def _percentile(ordered: Sequence[int], share: int) -> int:
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]


def _bars(ordered: Sequence[int], unit: Unit, usual: int, value: int | None) -> list[dict[str, Any]]:
    """Each holds the figures above the one before it, up to its own edge. A bar is `over` where all of it is above the
    value, `crossed` where the value is within it."""
    width = max(1, -(-max(usual, value or 0) // (BARS - 1)))
    counts = [0] * BARS
    for figure in ordered:
        counts[min(BARS - 1, max(0, -(-figure // width) - 1))] += 1
    highest = max(counts)
    bars = []
    for n, count in enumerate(counts):
        least, edge = n * width, (n + 1) * width
        last = n == BARS - 1
        bars.append(
            {
                "up_to": None if last else edge,
                "says": f"above {shown(unit, least)}" if last else f"up to {shown(unit, edge)}",
                "runs": count,
                "percent": round(100 * count / highest),
                "over": value is not None and least >= value,
                "crossed": value is not None and least < value and (last or value < edge),
            }
        )
    return bars
