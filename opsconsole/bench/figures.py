"""What a benchmark says: one object, medians of its rounds. Arithmetic only; measures nothing."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One benchmark's outcome. What does not apply is None.

    `value`, `p50_ms` and `p95_ms` are medians over the rounds, `min` and `max` the least and the greatest round,
    `max_ms` is the worst sample of all rounds. `floor` is what the machine gives without us, `ratio` the median of
    value / floor of the same round, unless `detail` says otherwise. `load1` is the load before anything was started.
    """

    bench: str
    rounds: int
    n: int
    value: float | None
    unit: str
    min: float | None = None
    max: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    max_ms: float | None = None
    floor: float | None = None
    ratio: float | None = None
    load1: float | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """The object as one line of JSON."""
        return json.dumps(asdict(self))

    def sentence(self) -> str:
        """The same for people, without the detail."""
        said = [f"{self.bench}: {_text(self.value)} {self.unit} ({_text(self.min)} to {_text(self.max)})"]
        if self.p50_ms is not None:
            said.append(f"p50 {_text(self.p50_ms)}, p95 {_text(self.p95_ms)}, max {_text(self.max_ms)} ms")
        if self.floor is not None:
            said.append(f"floor {_text(self.floor)}, ratio {_text(self.ratio)}")
        said.append(f"{self.rounds} rounds of {self.n}, load {_text(self.load1)}")
        return "; ".join(said)


def of_rounds(
    bench: str,
    *,
    n: int,
    unit: str,
    values: Sequence[float],
    samples_ms: Sequence[Sequence[float]] = (),
    floors: Sequence[float] = (),
    detail: Mapping[str, Any] | None = None,
) -> Figures:
    """The figures of a benchmark from one value, and any number of samples in ms, a round.

    Raises ValueError without a round.
    """
    if not values:
        raise ValueError(f"{bench}: there is no round to take figures from")
    sampled = [round_ for round_ in samples_ms if round_]
    return Figures(
        bench=bench,
        rounds=len(values),
        n=n,
        value=_short(statistics.median(values)),
        unit=unit,
        min=_short(min(values)),
        max=_short(max(values)),
        p50_ms=_median([percentile(round_, 50) for round_ in sampled]),
        p95_ms=_median([percentile(round_, 95) for round_ in sampled]),
        max_ms=_short(max(max(round_) for round_ in sampled)) if sampled else None,
        floor=_median(floors),
        ratio=_median([value / floor for value, floor in zip(values, floors, strict=False)]),
        detail=detail or {},
    )


def of_parts(bench: str, parts: Sequence[Figures], headline: Figures) -> Figures:
    """One object for a benchmark that has told several: what `headline` says, and all of them in the detail."""
    names = ("value", "unit", "n", "p50_ms", "p95_ms", "max_ms")
    told = {one.bench: {name: getattr(one, name) for name in names} for one in parts}
    return replace(
        headline, bench=bench, detail={"headline": headline.bench, "parts": told, **headline.detail}
    )


def percentile(samples: Sequence[float], percent: float) -> float:
    """The least sample that at least `percent` of all do not exceed (nearest rank). Raises IndexError on none."""
    ordered = sorted(samples)
    rank = math.ceil(percent / 100 * len(ordered))
    return ordered[max(rank, 1) - 1]


def _median(values: Sequence[float]) -> float | None:
    return _short(statistics.median(values)) if values else None


def _short(value: float) -> float:
    """Four digits that count: nothing here is measured better."""
    return float(f"{value:.4g}") if abs(value) < 1000 else round(value, 1)


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
