"""A budget over its period as the geometry of a plot: used so far, the cap, where it goes at the present burn. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

WIDE, HIGH = 640, 168
LEFT, RIGHT, TOP, BOTTOM = 8, 8, 22, 22
MONTH = timedelta(days=27)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A word at a place of the plot; `end` is where it is anchored."""

    x: float
    y: float
    words: str
    anchor: str = "start"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A row of the table beside the plot: what was used in one span, and altogether by its end."""

    at: datetime
    used: str
    total: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Everything in user units of `wide` by `high`. `line` and `fore` are the points of polylines, empty for none."""

    line: str
    fore: str
    cap: float | None
    now: tuple[float, float]
    base: float
    marks: tuple[Mark, ...]
    points: tuple[Point, ...]
    wide: int = WIDE
    high: int = HIGH


def plot(
    *,
    begins: datetime,
    ends: datetime,
    now: datetime,
    used: Sequence[tuple[datetime, int]],
    span: timedelta,
    total: int,
    cap: int | None,
    breach: datetime | None,
    words: Callable[[int], str],
    expected: int | None = None,
    wide: int = WIDE,
    high: int = HIGH,
) -> Plot:
    """`used`: what each span used, by its beginning, in order. `total` is what is used by now, which may be more than
    their sum: what was booked since they were added up. `expected`: what it will be at the end, unless the cap comes
    first; None draws no forecast without a breach."""
    until = min(now, ends)
    top = max(cap or 0, total, 1, expected or 0 if breach is None else 0) * 1.06
    x, y = _across(begins, ends, wide), _up(top, high)
    steps, sums, at = [(x(begins), y(0))], 0, []
    for moment, amount in used:
        steps.append((x(moment), y(min(sums, total))))
        sums += amount
        end = min(moment + span, until)
        steps.append((x(end), y(min(sums, total))))
        at.append(Point(at=moment, used=words(amount), total=words(sums)))
    here = (x(until), y(total))
    steps.append(here)
    fore = ""
    if breach is not None and cap is not None and breach > until:
        last = min(breach, ends)
        share = (last - until) / (breach - until)
        fore = _line([here, (x(last), y(total + (cap - total) * share))])
    elif breach is None and expected is not None and expected > total and until < ends:
        fore = _line([here, (x(ends), y(expected))])
    return Plot(
        line=_line(steps),
        fore=fore,
        cap=None if cap is None else y(cap),
        now=here,
        base=y(0),
        marks=_marks(begins, ends, x, high, None if cap is None else (y(cap), words(cap))),
        points=tuple(at),
        wide=wide,
        high=high,
    )


def _marks(
    begins: datetime,
    ends: datetime,
    x: Callable[[datetime], float],
    high: int,
    cap: tuple[float, str] | None,
) -> tuple[Mark, ...]:
    middle = begins + (ends - begins) / 2
    form = "%-d %b" if ends - begins > MONTH else "%H:%M"
    found = [
        Mark(x=x(begins), y=high - 6, words=begins.astimezone(UTC).strftime(form)),
        Mark(x=x(middle), y=high - 6, words=middle.astimezone(UTC).strftime(form), anchor="middle"),
        Mark(x=x(ends), y=high - 6, words=ends.astimezone(UTC).strftime(form), anchor="end"),
    ]
    if cap is not None:
        height, words = cap
        found.append(Mark(x=LEFT, y=max(height - 5, 10), words=f"cap {words}"))
    return tuple(found)


def _across(begins: datetime, ends: datetime, wide: int) -> Callable[[datetime], float]:
    whole = max((ends - begins).total_seconds(), 1.0)

    def x(moment: datetime) -> float:
        share = min(max((moment - begins).total_seconds() / whole, 0.0), 1.0)
        return round(LEFT + share * (wide - LEFT - RIGHT), 1)

    return x


def _up(top: float, high: int) -> Callable[[float], float]:
    def y(amount: float) -> float:
        return round(high - BOTTOM - amount / top * (high - TOP - BOTTOM), 1)

    return y


def _line(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)
