"""A run as rows of a waterfall: steps, attempts, calls, waits, holds, and people's acts where they happened. Pure.

Positions are percent of the drawing's width. Reads no database and makes no markup.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from runs.shown.guarded import Told, Wait
from runs.shown.timeline.rows import Row, asked_row, below, hold_row, more_row, of_many, remark_rows, step_row
from runs.shown.timeline.scale import Scale, Tick, ticks
from runs.shown.visited import Asked, Held, Visited

__all__ = ["MOST_ROWS", "MOST_TASKS", "URGENT", "Row", "Timeline", "timeline"]

MOST_ROWS = 240  # beyond this the list of events is the better place to look
MOST_TASKS = 12  # of a plan; the rest is one row that counts them
URGENT = {"waiting": 0, "failed": 1, "running": 2, "sleeping": 3}  # what gets a row first
_ANY = datetime(2000, 1, 1, tzinfo=UTC)  # for rows that are only counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """All rows on one scale. When there are more than MOST_ROWS the newest steps have them: `first` is the first step
    with a row, `left_out` counts the rows of that one which have no place. `now` is None for a finished run."""

    rows: tuple[Row, ...]
    ticks: tuple[Tick, ...]
    now: float | None
    seconds: float
    waited: float
    left_out: int
    first: int | None = None


def timeline(
    *,
    begin: datetime,
    end: datetime | None,
    now: datetime,
    visits: Sequence[Visited],
    ahead: Sequence[str] = (),
    holds: Sequence[Held] = (),
    unfolded: int | None = None,
    planned: int = 0,
    remarks: Sequence[Told | Wait] = (),
    asked: Sequence[Asked] = (),
) -> Timeline:
    """The waterfall of a run from `begin` to `end`, or to `now` while it goes on.

    Tasks stand under the step that planned them, at most MOST_TASKS of a plan; of step `unfolded` all of them.
    `planned`: so many more steps nobody has begun, which are not given. `remarks`: what guards said of no step;
    `asked`: questions about the run itself.
    """
    known = {visit.id for visit in visits}
    tops = [visit for visit in visits if visit.parent not in known]
    tasks = _by_parent(visits)
    kept, left_out = _kept([visit for visit in tops if visit.begun], tasks, unfolded)
    if kept and kept[0] is not next(visit for visit in tops if visit.begun):
        begin = kept[0].begin
    scale = Scale(begin=begin, end=max(end or now, begin + timedelta(seconds=1)))
    tree = _Tree(scale=scale, tasks=tasks, unfolded=unfolded)
    shown = list(tree.rows(kept))[:MOST_ROWS]
    shown += tree.planned([visit for visit in tops if not visit.begun], planned)
    shown += [asked_row(one, 0, scale) for one in asked]
    shown += [hold_row(hold, scale) for hold in holds if hold.end is None or hold.end > begin]
    shown += [row for _, row in remark_rows(remarks, -1, scale)]
    shown += [Row(about="ahead", id=0, level=0, label=node, state="ahead") for node in ahead]
    return Timeline(
        rows=tuple(shown),
        first=kept[0].id if kept else None,
        ticks=ticks(scale),
        now=None if end else 100 * (1 - Scale.SPARE),
        seconds=scale.seconds,
        waited=_waited([*asked, *(one for visit in visits for one in visit.questions)], scale),
        left_out=left_out,
    )


def _kept(
    tops: Sequence[Visited], tasks: Mapping[int, Sequence[Visited]], unfolded: int | None
) -> tuple[Sequence[Visited], int]:
    """The newest steps whose rows have a place, at least one, and how many rows of that one have none."""
    scale = Scale(begin=_ANY, end=_ANY + timedelta(seconds=1))
    tree = _Tree(scale=scale, tasks=tasks, unfolded=unfolded)
    room, first = MOST_ROWS, len(tops)
    while first and room > 0:
        needs = sum(1 for _ in tree.rows([tops[first - 1]]))
        if needs > room and first < len(tops):
            break
        room, first = room - needs, first - 1
    return tops[first:], max(0, -room)


def _by_parent(visits: Sequence[Visited]) -> dict[int, list[Visited]]:
    found: dict[int, list[Visited]] = {}
    for visit in visits:
        if visit.parent is not None:
            found.setdefault(visit.parent, []).append(visit)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tree:
    """Steps and the tasks below them, as rows."""

    scale: Scale
    tasks: Mapping[int, Sequence[Visited]]
    unfolded: int | None

    def rows(self, tops: Sequence[Visited]) -> Iterator[Row]:
        """Steps in order, each with what is below it."""
        for visit in tops:
            yield step_row(visit, 0, self.scale)
            yield from below(visit, 0, self.scale)
            yield from self._plan(visit, 1)

    def planned(self, tops: Sequence[Visited], more: int) -> Iterator[Row]:
        """Steps that nobody has begun: of many the first few have a row."""
        yield from self.rows(tops[:MOST_TASKS])
        rest = max(0, len(tops) - MOST_TASKS) + more
        if rest:
            yield more_row(0, 0, {"ready": rest})

    def _plan(self, planner: Visited, level: int) -> Iterator[Row]:
        tasks = self.tasks.get(planner.id, ())
        whole = planner.id == self.unfolded
        shown = tasks if whole or planner.rest else _telling(tasks)
        many = len(tasks) + sum(planner.rest.values()) > MOST_TASKS
        for task in shown:
            yield step_row(task, level, self.scale)
            yield from of_many(task, level, self.scale) if many else below(task, level, self.scale)
            yield from self._plan(task, min(level + 1, 2))
        seen = {task.id for task in shown}
        rest = Counter(planner.rest) + Counter(task.state for task in tasks if task.id not in seen)
        if rest:
            yield more_row(planner.id, level, rest)
        if whole and many:
            yield Row(about="more", id=planner.id, level=level, label="show fewer", state="", folds=True)


def _telling(tasks: Sequence[Visited]) -> Sequence[Visited]:
    """The tasks that get a row, in the plan's order: first what waits, failed or goes on, then by place."""
    if len(tasks) <= MOST_TASKS:
        return tasks
    first = sorted(tasks, key=lambda task: URGENT.get(task.state, len(URGENT)))[:MOST_TASKS]
    chosen = {task.id for task in first}
    return [task for task in tasks if task.id in chosen]


def _waited(questions: Iterable[Asked], scale: Scale) -> float:
    """Seconds in which at least one question was open: what waits side by side counts once."""
    open_at = sorted((one.begin, one.end or scale.end) for one in questions)
    total, reached = 0.0, None
    for begin, end in open_at:
        start = begin if reached is None else max(begin, reached)
        total += max(0.0, (end - start).total_seconds())
        reached = end if reached is None else max(reached, end)
    return total
