"""A run as rows of a waterfall: steps, attempts, calls, waits, holds, and people's acts where they happened. Pure.

Positions are percent of the drawing's width. Reads no database and makes no markup.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from runs.shown.guarded import Told, Wait
from runs.shown.visited import Asked, Called, Held, Tried, Visited

MOST_ROWS = 240  # beyond this the list of events is the better place to look
MOST_TASKS = 12  # of a plan; the rest is one row that counts them
MOST_REMARKS = 6  # of guards about one step, or about the run itself; the events have all
_MOST_OF_A_TASK = 2  # among many tasks
URGENT = {"waiting": 0, "failed": 1, "running": 2, "sleeping": 3}  # what gets a row first
_NARROWEST = 0.5  # percent; below that a bar could not be seen
_TICKS = 5
_ANY = datetime(2000, 1, 1, tzinfo=UTC)  # for rows that are only counted
_GOOD = ("done", "running", "asked")  # states of an attempt that need no row of their own
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
class Row:
    """One line. `about` says what it is about: step, attempt, call, question, guard, more, held, ahead; `id` which one.

    `words` say its state where the name of that says too little.
    A "more" row stands for the tasks of step `id` that have no row; `folds` says that they can be folded again.
    """

    about: str
    id: int
    level: int
    label: str
    state: str
    bars: tuple[Bar, ...] = ()
    marks: tuple[float, ...] = ()
    seconds: float | None = None
    at: datetime | None = None
    cost_micros: int | None = None
    href_attempt: int | None = None  # which attempt the inspector shows for a step
    task: bool = False
    folds: bool = False
    words: str = ""
    flags: tuple[float, ...] = ()  # where guards spoke
    remark: Told | Wait | None = None
    slow: str = ""
    on_path: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A round moment and how it is written: with seconds only where ticks are less than a minute apart."""

    x: float
    label: str


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
) -> Timeline:
    """The waterfall of a run from `begin` to `end`, or to `now` while it goes on.

    Tasks stand under the step that planned them, at most MOST_TASKS of a plan; of step `unfolded` all of them.
    `planned`: so many more steps nobody has begun, which are not given. `remarks`: what guards said of no step.
    """
    known = {visit.id for visit in visits}
    tops = [visit for visit in visits if visit.parent not in known]
    tasks = _by_parent(visits)
    kept, left_out = _kept([visit for visit in tops if visit.begun], tasks, unfolded)
    if kept and kept[0] is not next(visit for visit in tops if visit.begun):
        begin = kept[0].begin
    scale = _Scale(begin=begin, end=max(end or now, begin + timedelta(seconds=1)))
    tree = _Tree(scale=scale, tasks=tasks, unfolded=unfolded)
    shown = list(tree.rows(kept))[:MOST_ROWS]
    shown += tree.planned([visit for visit in tops if not visit.begun], planned)
    shown += [_hold_row(hold, scale) for hold in holds if hold.end is None or hold.end > begin]
    shown += [row for _, row in _remark_rows(remarks, -1, scale)]
    shown += [Row(about="ahead", id=0, level=0, label=node, state="ahead") for node in ahead]
    return Timeline(
        rows=tuple(shown),
        first=kept[0].id if kept else None,
        ticks=_ticks(scale),
        now=None if end else 100 * (1 - _Scale.SPARE),
        seconds=scale.seconds,
        waited=_waited(visits, scale),
        left_out=left_out,
    )


def _kept(
    tops: Sequence[Visited], tasks: Mapping[int, Sequence[Visited]], unfolded: int | None
) -> tuple[Sequence[Visited], int]:
    """The newest steps whose rows have a place, at least one, and how many rows of that one have none."""
    scale = _Scale(begin=_ANY, end=_ANY + timedelta(seconds=1))
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
class _Scale:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tree:
    """Steps and the tasks below them, as rows."""

    scale: _Scale
    tasks: Mapping[int, Sequence[Visited]]
    unfolded: int | None

    def rows(self, tops: Sequence[Visited]) -> Iterator[Row]:
        """Steps in order, each with what is below it."""
        for visit in tops:
            yield _step_row(visit, 0, self.scale)
            yield from _below(visit, 0, self.scale)
            yield from self._plan(visit, 1)

    def planned(self, tops: Sequence[Visited], more: int) -> Iterator[Row]:
        """Steps that nobody has begun: of many the first few have a row."""
        yield from self.rows(tops[:MOST_TASKS])
        rest = max(0, len(tops) - MOST_TASKS) + more
        if rest:
            yield _more_row(0, 0, {"ready": rest})

    def _plan(self, planner: Visited, level: int) -> Iterator[Row]:
        tasks = self.tasks.get(planner.id, ())
        whole = planner.id == self.unfolded
        shown = tasks if whole or planner.rest else _telling(tasks)
        many = len(tasks) + sum(planner.rest.values()) > MOST_TASKS
        for task in shown:
            yield _step_row(task, level, self.scale)
            yield from _open(task, level, self.scale) if many else _below(task, level, self.scale)
            yield from self._plan(task, min(level + 1, 2))
        seen = {task.id for task in shown}
        rest = Counter(planner.rest) + Counter(task.state for task in tasks if task.id not in seen)
        if rest:
            yield _more_row(planner.id, level, rest)
        if whole and many:
            yield Row(about="more", id=planner.id, level=level, label="show fewer", state="", folds=True)


def _telling(tasks: Sequence[Visited]) -> Sequence[Visited]:
    """The tasks that get a row, in the plan's order: first what waits, failed or goes on, then by place."""
    if len(tasks) <= MOST_TASKS:
        return tasks
    first = sorted(tasks, key=lambda task: URGENT.get(task.state, len(URGENT)))[:MOST_TASKS]
    chosen = {task.id for task in first}
    return [task for task in tasks if task.id in chosen]


def _more_row(planner: int, level: int, rest: Mapping[str, int]) -> Row:
    counts = Counter(rest)
    words = ", ".join(
        f"{number} {'planned' if state == 'ready' else state}" for state, number in counts.most_common()
    )
    return Row(about="more", id=planner, level=level, label=f"… and {counts.total()} more: {words}", state="")


def _step_row(visit: Visited, level: int, scale: _Scale) -> Row:
    calls = [call for attempt in visit.tries for call in attempt.calls]
    waits = [scale.bar("wait", asked.begin, asked.end) for asked in visit.questions]
    waits += [scale.bar("guard", one.at, one.over) for one in visit.remarks if isinstance(one, Wait)]
    begun = [scale.bar("step", visit.begin, visit.end)] if visit.begun else []
    return Row(
        about="step",
        id=visit.id,
        level=level,
        label=visit.node,
        state=visit.state,
        bars=(*begun, *(_call_bar(call, scale) for call in calls), *waits),
        marks=tuple(scale.x(asked.end) for asked in visit.questions if asked.end and asked.by),
        seconds=scale.length(visit.begin, visit.end) if visit.begun else None,
        cost_micros=_cost(calls),
        href_attempt=visit.tries[-1].id if visit.tries else None,
        task=visit.parent is not None,
        flags=tuple(scale.x(one.at) for one in visit.remarks if isinstance(one, Told) and one.refused),
        slow=visit.slow,
        on_path=visit.on_path,
    )


def _below(visit: Visited, base: int, scale: _Scale) -> Iterator[Row]:
    """Attempts, calls and questions of a step, in the order of their times. A lone good attempt has no row.

    The calls of a task have none either: its own row shows them, and the inspector lists them.
    """
    task = visit.parent is not None
    several = len(visit.tries) > 1 or any(one.state not in _GOOD for one in visit.tries)
    found: list[tuple[datetime, int, Row]] = []
    for attempt in visit.tries:
        if several:
            found.append((attempt.begin, 0, _attempt_row(attempt, base + 1, scale)))
        level = base + (2 if several else 1)
        if not task:
            found += [(call.begin, 1, _call_row(call, level, scale)) for call in attempt.calls]
    for asked in visit.questions:
        row = _asked_row(asked, base + 1, scale)
        found.append((asked.end or scale.end, -1, row))  # what it allowed comes after it
    found += [(at, 2, row) for at, row in _remark_rows(visit.remarks, base, scale)]
    return (row for _, _, row in sorted(found, key=lambda one: one[:2]))


def _open(visit: Visited, base: int, scale: _Scale) -> Iterator[Row]:
    """Of one task among many only the question that a person can answer now, and what a guard refused."""
    yield from (_asked_row(asked, base + 1, scale) for asked in visit.questions if asked.end is None)
    weighty = [one for one in visit.remarks if _weighs(one)]
    yield from (row for _, row in _remark_rows(weighty, base, scale, most=_MOST_OF_A_TASK))


def _weighs(remark: Told | Wait) -> bool:
    return remark.over is None if isinstance(remark, Wait) else remark.refused


def _remark_rows(
    remarks: Sequence[Told | Wait], base: int, scale: _Scale, most: int = MOST_REMARKS
) -> Iterator[tuple[datetime, Row]]:
    """What guards said, each with its moment: of many what they refused and what goes on, then the newest."""
    first = sorted(remarks, key=lambda one: (_weighs(one), one.at, one.seq), reverse=True)[:most]
    chosen = {one.seq for one in first}
    for one in remarks:
        if one.seq in chosen:
            yield one.at, _remark_row(one, base + 1, scale)
    if len(remarks) > most:
        label = f"… and {len(remarks) - most} more remarks of guards, in the events"
        yield remarks[-1].at, Row(about="more", id=0, level=base + 1, label=label, state="")


def _remark_row(remark: Told | Wait, level: int, scale: _Scale) -> Row:
    if isinstance(remark, Wait):
        return Row(
            about="guard",
            id=remark.seq,
            level=level,
            label=remark.what,
            state="waits",
            bars=(scale.bar("guard", remark.at, remark.over),),
            seconds=scale.length(remark.at, remark.over),
            remark=remark,
        )
    return Row(
        about="guard",
        id=remark.seq,
        level=level,
        label=remark.what,
        state=remark.mode.value,
        flags=(scale.x(remark.at),),
        at=remark.at,
        remark=remark,
    )


def _attempt_row(attempt: Tried, level: int, scale: _Scale) -> Row:
    kind = "step" if attempt.state in _GOOD else "bad"
    return Row(
        about="attempt",
        id=attempt.id,
        level=level,
        label=f"attempt {attempt.number}",
        state=attempt.state,
        bars=(scale.bar(kind, attempt.begin, attempt.end),),
        seconds=scale.length(attempt.begin, attempt.end),
        cost_micros=_cost(attempt.calls),
        words=attempt.words,
    )


def _call_row(call: Called, level: int, scale: _Scale) -> Row:
    return Row(
        about="call",
        id=call.id,
        level=level,
        label=f"{call.kind} {call.name}",
        state=call.state,
        bars=(_call_bar(call, scale),),
        seconds=scale.length(call.begin, call.end),
        cost_micros=call.cost_micros,
        slow=call.slow,
    )


def _call_bar(call: Called, scale: _Scale) -> Bar:
    kind = "call" if call.state in ("done", "permitted") else "bad"
    return scale.bar(kind, call.begin, call.end)


def _asked_row(asked: Asked, level: int, scale: _Scale) -> Row:
    return Row(
        about="question",
        id=asked.id,
        level=level,
        label=_answer(asked),
        state="waiting" if asked.end is None else "person" if asked.by else "expired",
        bars=(scale.bar("wait", asked.begin, asked.end),),
        marks=(scale.x(asked.end),) if asked.end and asked.by else (),
        seconds=scale.length(asked.begin, asked.end),
        at=asked.end,
    )


def _answer(asked: Asked) -> str:
    did = {"approve": "approved", "reject": "rejected", "respond": "responded", "top up": "topped up"}.get(
        asked.verb, "answered"
    )
    if asked.end is None:
        return "waits for a person"
    return f"{asked.by} {did}" if asked.by else f"question {asked.state}"


def _hold_row(hold: Held, scale: _Scale) -> Row:
    return Row(
        about="held",
        id=0,
        level=0,
        label=f"{'paused' if hold.kind == 'pause' else 'stopped'} by {hold.by}",
        state=hold.kind,
        bars=(scale.bar("held", hold.begin, hold.end),),
        seconds=scale.length(hold.begin, hold.end),
        at=hold.begin,
    )


def _cost(calls: Sequence[Called]) -> int | None:
    known = [call.cost_micros for call in calls if call.cost_micros is not None]
    return sum(known) if known else None


def _waited(visits: Sequence[Visited], scale: _Scale) -> float:
    """Seconds in which at least one question was open: what waits side by side counts once."""
    open_at = sorted((asked.begin, asked.end or scale.end) for visit in visits for asked in visit.questions)
    total, reached = 0.0, None
    for begin, end in open_at:
        start = begin if reached is None else max(begin, reached)
        total += max(0.0, (end - start).total_seconds())
        reached = end if reached is None else max(reached, end)
    return total


def _ticks(scale: _Scale) -> tuple[Tick, ...]:
    """At most seven round moments, so that the labels do not touch."""
    apart = next((step for step in _NICE if scale.seconds / step <= _TICKS), None)
    apart = apart or 86400 * (1 + int(scale.seconds // (_TICKS * 86400)))
    first = int(scale.begin.timestamp() // apart + 1) * apart
    moments = range(first, int(scale.end.timestamp()) + 1, apart)
    at = [datetime.fromtimestamp(moment, tz=scale.begin.tzinfo) for moment in moments]
    form = "%H:%M:%S" if apart < 60 else "%H:%M" if apart < 86400 else "%-d %b"
    return tuple(Tick(x=scale.x(moment), label=moment.strftime(form)) for moment in at)
