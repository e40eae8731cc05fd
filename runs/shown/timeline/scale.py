"""Time to percent of a drawing's width, and the moments that are written above it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

_NARROWEST = 0.5  # percent; below that a bar could not be seen
_TICKS = 5
_NICE = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 43200, 86400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """kind: step, call, bad, wait, held, guard. x and width in percent."""

    kind: str
    x: float
    width: float

    @property
    def end(self) -> float:
        return self.x + self.width


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A round moment and how it is written: with seconds only where ticks are less than a minute apart."""

    x: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Time to percent. A little room is left at the right edge."""

    SPARE = 0.02
    begin: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        return (self.end - self.begin).total_seconds()

    def x(self, moment: datetime) -> float:
        share = (moment - self.begin).total_seconds() / self.seconds
        return round(100 * (1 - self.SPARE) * min(1.0, max(0.0, share)), 3)

    def bar(self, kind: str, begin: datetime, end: datetime | None) -> Bar:
        x = min(self.x(begin), 100 - _NARROWEST)
        return Bar(kind=kind, x=x, width=round(max(_NARROWEST, self.x(end or self.end) - x), 3))

    def length(self, begin: datetime, end: datetime | None) -> float:
        return max(0.0, ((end or self.end) - begin).total_seconds())


def ticks(scale: Scale) -> tuple[Tick, ...]:
    """At most seven round moments, so that the labels do not touch."""
    apart = next((step for step in _NICE if scale.seconds / step <= _TICKS), None)
    apart = apart or 86400 * (1 + int(scale.seconds // (_TICKS * 86400)))
    first = int(scale.begin.timestamp() // apart + 1) * apart
    moments = range(first, int(scale.end.timestamp()) + 1, apart)
    at = [datetime.fromtimestamp(moment, tz=scale.begin.tzinfo) for moment in moments]
    form = "%H:%M:%S" if apart < 60 else "%H:%M" if apart < 86400 else "%-d %b"
    return tuple(Tick(x=scale.x(moment), label=moment.strftime(form)) for moment in at)
