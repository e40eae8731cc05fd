"""The rows of a timeline: of a step, its attempts, calls and questions, of a control, of what guards said. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from runs.shown.guarded import Told, Wait
from runs.shown.timeline.scale import Bar, Scale
from runs.shown.visited import Asked, Called, Held, Tried, Visited

MOST_REMARKS = 6  # of guards about one step, or about the run itself; the events have all
_MOST_OF_A_TASK = 2  # among many tasks
_GOOD = ("done", "running", "asked")  # states of an attempt that need no row of their own


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


def step_row(visit: Visited, level: int, scale: Scale) -> Row:
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


def below(visit: Visited, base: int, scale: Scale) -> Iterator[Row]:
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
        row = asked_row(asked, base + 1, scale)
        found.append((asked.end or scale.end, -1, row))  # what it allowed comes after it
    found += [(at, 2, row) for at, row in remark_rows(visit.remarks, base, scale)]
    return (row for _, _, row in sorted(found, key=lambda one: one[:2]))


def of_many(visit: Visited, base: int, scale: Scale) -> Iterator[Row]:
    """Of one task among many only the question that a person can answer now, and what a guard refused."""
    yield from (asked_row(asked, base + 1, scale) for asked in visit.questions if asked.end is None)
    weighty = [one for one in visit.remarks if _weighs(one)]
    yield from (row for _, row in remark_rows(weighty, base, scale, most=_MOST_OF_A_TASK))


def more_row(planner: int, level: int, rest: Mapping[str, int]) -> Row:
    counts = Counter(rest)
    words = ", ".join(
        f"{number} {'planned' if state == 'ready' else state}" for state, number in counts.most_common()
    )
    return Row(about="more", id=planner, level=level, label=f"… and {counts.total()} more: {words}", state="")


def remark_rows(
    remarks: Sequence[Told | Wait], base: int, scale: Scale, most: int = MOST_REMARKS
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


def _weighs(remark: Told | Wait) -> bool:
    return remark.over is None if isinstance(remark, Wait) else remark.refused


def _remark_row(remark: Told | Wait, level: int, scale: Scale) -> Row:
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


def _attempt_row(attempt: Tried, level: int, scale: Scale) -> Row:
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


def _call_row(call: Called, level: int, scale: Scale) -> Row:
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


def _call_bar(call: Called, scale: Scale) -> Bar:
    kind = "call" if call.state in ("done", "permitted") else "bad"
    return scale.bar(kind, call.begin, call.end)


def asked_row(asked: Asked, level: int, scale: Scale) -> Row:
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
    did = {
        "approve": "approved",
        "reject": "rejected",
        "respond": "responded",
        "top up": "topped up",
        "migrate": "migrated it",
    }.get(asked.verb, "answered")
    if asked.end is None:
        return "waits for a person"
    return f"{asked.by} {did}" if asked.by else f"question {asked.state}"


def hold_row(hold: Held, scale: Scale) -> Row:
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
