"""The critical path of a run as its page shows it: a bar, what its time went to, and the longest parts of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from runs.shown import critical
from runs.shown.critical import Cause, Critical
from runs.shown.spans import Named, Spans

MOST_PARTS = 8
LEAST_MS = 50  # of a part that is named: less reads as nothing
WORDS = {
    Cause.MODELS: "models",
    Cause.TOOLS: "tools",
    Cause.HELD: "held",
    Cause.PEOPLE: "waiting for people",
    Cause.GUARDS: "waiting for guards",
    Cause.BACK_OFF: "between two tries",
    Cause.FUNCTIONS: "functions",
    Cause.OVERHEAD: "our own overhead",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Part of the bar: x and width in percent."""

    cause: Cause
    x: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One row of a table: milliseconds, and percent of the whole. `step` None: no step, but between them."""

    cause: Cause
    ms: int
    share: float
    step: int | None = None
    named: Named | None = None

    @property
    def words(self) -> str:
        return WORDS[self.cause]

    @property
    def seconds(self) -> float:
        return self.ms / 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """`on_path` are the steps that the run had to wait for. `cut`: what came before these steps is not looked at."""

    segments: tuple[Segment, ...]
    causes: tuple[Part, ...]
    parts: tuple[Part, ...]
    on_path: frozenset[int]
    of: int
    ms: int
    cut: bool

    @property
    def seconds(self) -> float:
        return self.ms / 1000

    @property
    def said(self) -> str:
        """The bar in words, for those who do not see it."""
        return ", ".join(f"{part.words} {part.share} %" for part in self.causes)


def chain(spans: Spans, path: Critical) -> Chain:
    """The path, laid out."""
    whole = path.length
    return Chain(
        segments=tuple(
            Segment(
                cause=one.cause,
                x=_percent(one.begin - path.begin, whole),
                width=_percent(one.length, whole),
            )
            for one in critical.drawn(path)
        ),
        causes=tuple(
            Part(cause=cause, ms=ms, share=_share(ms, whole))
            for cause, ms in sorted(path.by_cause().items(), key=lambda one: -one[1])
        ),
        parts=tuple(
            Part(cause=cause, ms=ms, share=_share(ms, whole), step=step, named=spans.names.get(step or 0))
            for step, cause, ms in path.longest(MOST_PARTS)
            if ms >= LEAST_MS or ms == whole
        ),
        on_path=frozenset(path.steps),
        of=len(spans.worked),
        ms=whole,
        cut=spans.cut,
    )


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 3) if whole else 0.0


def _share(part: int, whole: int) -> float:
    """Percent as people read it."""
    return round(100 * part / whole, 1) if whole else 0.0
