"""Where a run's wall time went: the longest chain of steps that had to wait for one another, and what each moment of it
was spent on. Pure.

Moments are whole milliseconds since the run began. Every moment from 0 to the end belongs to exactly one piece, so the
pieces add up to the wall time. The chain is walked backwards: what ended last is on it; before a task came whatever
ended last before that began (its plan, or a task whose place it took), before any other step whatever ended last of all
that stands before it, tasks included. What a join did not wait for is on no chain.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

SAME_MOMENT_MS = 100  # a step is begun in the transaction that ends another, a little before that says so
MOST_DRAWN = 160  # pieces of the bar; of more, each part of the width shows what most of it went to


class Cause(enum.StrEnum):
    """What a moment was spent on. Of several at once the first one counts."""

    MODELS = "models"
    TOOLS = "tools"
    HELD = "held"
    PEOPLE = "people"
    GUARDS = "guards"
    BACK_OFF = "back-off"  # between two tries
    FUNCTIONS = "functions"  # work of the definition's own code
    OVERHEAD = "overhead"  # claiming, recording, waiting for a worker


_CAUSES = tuple(Cause)
_RANK = {cause: rank for rank, cause in enumerate(_CAUSES)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """A stretch of time with its cause; `end` None while it goes on."""

    cause: Cause
    begin: int
    end: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """A begun step. `number` is its place in the run, `parent` the step whose plan it is a task of; `needed` is false
    when it was dropped because others were enough."""

    id: int
    number: int
    begin: int
    end: int | None
    parent: int | None = None
    needed: bool = True
    spells: tuple[Spell, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Part of the wall time, and the step it went to; None between steps."""

    begin: int
    end: int
    cause: Cause
    step: int | None

    @property
    def length(self) -> int:
        return self.end - self.begin


@dataclass(frozen=True, slots=True, kw_only=True)
class Critical:
    """The pieces in order, without a hole from `begin` to `end`; `steps` are those on the chain, in order."""

    begin: int
    end: int
    pieces: tuple[Piece, ...]
    steps: tuple[int, ...]

    @property
    def length(self) -> int:
        return self.end - self.begin

    def by_cause(self) -> dict[Cause, int]:
        """Milliseconds of each cause that has any, in the order of causes."""
        sums: Counter[Cause] = Counter()
        for piece in self.pieces:
            sums[piece.cause] += piece.length
        return {cause: sums[cause] for cause in _CAUSES if sums[cause]}

    def longest(self, most: int) -> list[tuple[int | None, Cause, int]]:
        """The steps and causes that took longest: step, cause, milliseconds."""
        sums: Counter[tuple[int | None, Cause]] = Counter()
        for piece in self.pieces:
            sums[piece.step, piece.cause] += piece.length
        ranked = sorted(sums.items(), key=lambda one: (-one[1], one[0][0] or 0, _RANK[one[0][1]]))
        return [(step, cause, length) for (step, cause), length in ranked[:most] if length]


def critical(steps: Sequence[Worked], *, end: int, begin: int = 0, loose: Iterable[Spell] = ()) -> Critical:
    """The critical path from `begin` to `end`, which is now for a run that goes on. `loose`: what held the whole run
    up, or was asked about it."""
    around = [_closed(spell, end) for spell in loose]
    walked = [one for one in _walked(steps, end) if one[2] > begin]
    pieces: list[Piece] = []
    reached = begin
    for step, since, until in reversed(walked):
        since = max(since, reached)
        pieces += _pieces(None, reached, since, around, Cause.OVERHEAD)
        spells = [*around, *(_closed(spell, end) for spell in step.spells)]
        pieces += _pieces(step.id, since, until, spells, Cause.OVERHEAD)
        reached = max(reached, until)
    pieces += _pieces(None, reached, end, around, Cause.OVERHEAD)
    return Critical(
        begin=begin, end=end, pieces=tuple(pieces), steps=tuple(step.id for step, _, _ in reversed(walked))
    )


def _closed(spell: Spell, end: int) -> Spell:
    return spell if spell.end is not None else Spell(cause=spell.cause, begin=spell.begin, end=end)


def _walked(steps: Sequence[Worked], end: int) -> Iterator[tuple[Worked, int, int]]:
    """The chain, last step first: each with the part of it that nothing later on the chain covers."""
    known = _Known(steps, end)
    step, until = known.last(), end
    seen: set[int] = set()
    while step is not None and step.id not in seen:  # clocks that disagree could lead in a circle
        seen.add(step.id)
        since = min(step.begin, until)
        yield step, since, min(until, known.end_of(step))
        step, until = known.before(step), since


class _Known:
    """The steps in the two orders in which the chain is walked."""

    def __init__(self, steps: Sequence[Worked], end: int) -> None:
        self._end = end
        needed = [one for one in steps if one.needed]
        self._by_number = sorted(needed, key=lambda one: one.number)
        self._numbers = [one.number for one in self._by_number]
        self._latest = list(_running_latest(self._by_number, self.end_of))
        self._by_end = sorted(
            (one for one in needed if one.end is not None),
            key=lambda one: (one.end or 0, one.begin == one.end, -one.begin, one.number),
        )
        self._ends = [self.end_of(one) for one in self._by_end]
        self._by_id = {one.id: one for one in needed}

    def end_of(self, step: Worked) -> int:
        return self._end if step.end is None else min(step.end, self._end)

    def last(self) -> Worked | None:
        """What ended last; of those that still go on, what has gone on longest."""
        going = [one for one in self._by_number if one.end is None]
        if going:
            return min(going, key=lambda one: (one.begin, one.number))
        return self._latest[-1] if self._latest else None

    def before(self, step: Worked) -> Worked | None:
        """What this step had to wait for."""
        if step.parent is None:
            place = bisect_right(self._numbers, step.number - 1)
            return self._latest[place - 1] if place else None
        plan = self._by_id.get(step.parent)
        freed = self._freed(step)
        if plan is None or freed is None:
            return freed or plan
        return freed if self.end_of(freed) > self.end_of(plan) else plan

    def _freed(self, step: Worked) -> Worked | None:
        """The task that ended last before this one began: it took its place."""
        for place in range(bisect_right(self._ends, step.begin + SAME_MOMENT_MS) - 1, -1, -1):
            one, end = self._by_end[place], self._ends[place]
            if one.id == step.parent:
                return None  # nothing ended between the plan and this task
            if one.parent is not None and one.begin < step.begin and _ended_by(one, end, step.begin):
                return one
        return None


def _ended_by(step: Worked, end: int, moment: int) -> bool:
    """Whether it may have ended when the other began: not when they mostly went side by side."""
    return 2 * (end - moment) <= end - step.begin


def _running_latest(steps: Iterable[Worked], end_of: Callable[[Worked], int]) -> Iterator[Worked]:
    """For each place the step that ended last up to there; of equal ends the later step."""
    latest: Worked | None = None
    for one in steps:
        if latest is None or end_of(one) >= end_of(latest):
            latest = one
        yield latest


def _pieces(step: int | None, begin: int, end: int, spells: Iterable[Spell], rest: Cause) -> Iterator[Piece]:
    """That stretch of time cut where its cause changes."""
    if end <= begin:
        return
    changes = []
    for spell in spells:
        since, until = max(begin, spell.begin), min(end, end if spell.end is None else spell.end)
        if since < until:
            changes += [(since, _RANK[spell.cause], 1), (until, _RANK[spell.cause], -1)]
    changes.sort()
    counts = [0] * len(_CAUSES)
    since, cause, place = begin, rest, 0
    while place < len(changes):
        moment = changes[place][0]
        while place < len(changes) and changes[place][0] == moment:
            counts[changes[place][1]] += changes[place][2]
            place += 1
        found = next((one for one, number in zip(_CAUSES, counts, strict=True) if number), rest)
        if found is not cause and moment > since:
            yield Piece(begin=since, end=moment, cause=cause, step=step)
            since = moment
        cause = found
    if since < end:
        yield Piece(begin=since, end=end, cause=cause, step=step)


def drawn(path: Critical, most: int = MOST_DRAWN) -> Sequence[Piece]:
    """The pieces as a bar shows them: neighbours of one cause as one, and never more than `most`."""
    joined = list(_joined(path.pieces))
    if len(joined) <= most or not path.length:
        return joined
    return list(_joined(_sampled(joined, path, most)))


def _joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
    last: Piece | None = None
    for piece in pieces:
        if last is not None and last.cause is piece.cause:
            last = Piece(begin=last.begin, end=piece.end, cause=last.cause, step=None)
            continue
        if last is not None:
            yield last
        last = piece
    if last is not None:
        yield last


def _sampled(pieces: Sequence[Piece], path: Critical, most: int) -> Iterator[Piece]:
    """Equal parts of the time, each with the cause that most of it went to."""
    place = 0
    for part in range(most):
        begin = path.begin + path.length * part // most
        end = path.begin + path.length * (part + 1) // most
        shares: Counter[Cause] = Counter()
        while place < len(pieces) and pieces[place].begin < end:
            shares[pieces[place].cause] += min(end, pieces[place].end) - max(begin, pieces[place].begin)
            if pieces[place].end > end:
                break
            place += 1
        if end > begin:
            yield Piece(begin=begin, end=end, cause=shares.most_common(1)[0][0], step=None)


def spent(step: Worked, *, end: int, loose: Iterable[Spell] = ()) -> dict[Cause, int]:
    """What one step's own time went to, whether it is on a chain or not: milliseconds by cause."""
    spells = [_closed(spell, end) for spell in (*loose, *step.spells)]
    sums: Counter[Cause] = Counter()
    for piece in _pieces(step.id, step.begin, end if step.end is None else step.end, spells, Cause.OVERHEAD):
        sums[piece.cause] += piece.length
    return dict(sums)


WAITS = (Cause.HELD, Cause.PEOPLE, Cause.GUARDS, Cause.BACK_OFF)


def latency(sums: Mapping[Cause, int]) -> int:
    """Of such sums the milliseconds that the step itself took: nobody's wait, and no time between tries."""
    return sum(length for cause, length in sums.items() if cause not in WAITS)
