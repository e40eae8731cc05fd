"""What a change of limits allows that was not allowed before. Pure; it decides who must agree, nothing else.

A change increases what agents may do when, at some place and some time from now on, what would have been stopped goes
through, what would have been warned of passes silently, or what would have been counted is not counted. That is exactly
the case when some limit of before is not matched by one of after, for a part of the time for which it held: one that
covers everything it covered, at least as strict in value and in mode. So raising a value, loosening a mode, ending a
limit or ending it earlier, narrowing its scope and prolonging a raise do; setting another limit and lowering never do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from runs.limits.kinds import TABLE, LimitKind, LimitScope, Mode, Window
from runs.limits.rows import Row, moment_words
from runs.limits.units import shown

# The value up to which one admin may allow alone; None: any value, and none at all.
Alone = Mapping[tuple[LimitKind, Window], int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Increase:
    """Limit `row` is not matched from `since` to `until` (None: without end): `to` holds in its place there, None for
    nothing."""

    row: Row
    since: datetime
    until: datetime | None
    to: int | None
    later: bool = False  # whether it begins only after the change

    @property
    def says(self) -> str:
        """One clause: what goes from what to what, and for how long."""
        allowed = "no limit" if self.to is None else shown(TABLE[self.row.kind].unit, self.to)
        verb = {Mode.ENFORCE: "", Mode.WARN: " before anybody is warned", Mode.OBSERVE: " before it is noted"}
        begins = f", from {moment_words(self.since)} on" if self.later else ""
        ends = f", until {moment_words(self.until)}" if self.until else ""
        return f"{self.row.what}{verb[self.row.mode]}: from {self.row.amount} to {allowed}{begins}{ends}"

    def above(self, alone: Alone) -> bool:
        """Whether one admin may not allow it alone. Only what was enforced counts."""
        if self.row.mode is not Mode.ENFORCE:
            return False
        most = alone.get((self.row.kind, self.row.window), TABLE[self.row.kind].alone.get(self.row.window))
        return most is not None and (self.to is None or self.to > most)


def increases(
    before: Sequence[Row], after: Sequence[Row], *, at: datetime, beside: Iterable[Row] = ()
) -> tuple[Increase, ...]:
    """What `after` in the place of `before` allows more, from `at` on. `beside`: limits that hold with either.

    Empty when the change only lowers, or changes nothing.
    """
    rivals = (*after, *beside)
    return tuple(found for row in before for found in _unmatched(row, rivals, at))


def _unmatched(row: Row, rivals: Iterable[Row], at: datetime) -> list[Increase]:
    begin = max(row.since, at)
    if row.until is not None and row.until <= begin:
        return []
    near = [one for one in rivals if _reaches(one, row)]
    found: list[Increase] = []
    for since, until in _pieces(begin, row.until, near):
        here = [one for one in near if one.holds(since) and one.mode.strength >= row.mode.strength]
        to = min((one.value for one in here), default=None)
        if to is not None and to <= row.value:
            continue
        if found and found[-1].until == since and found[-1].to == to:
            since = found.pop().since
        found.append(Increase(row=row, since=since, until=until, to=to, later=since > at))
    return found


def _pieces(
    begin: datetime, end: datetime | None, rows: Iterable[Row]
) -> list[tuple[datetime, datetime | None]]:
    """The time from begin to end, cut wherever a row begins or ends."""
    moments = {moment for row in rows for moment in (row.since, row.until) if moment is not None}
    inside = [one for one in sorted(moments) if begin < one and (end is None or one < end)]
    cuts: list[datetime | None] = [*inside, end]
    return list(zip([begin, *inside], cuts, strict=True))


def _reaches(one: Row, row: Row) -> bool:
    """Whether `one` counts the same and covers every place that `row` covers."""
    if (one.kind, one.window) != (row.kind, row.window):
        return False
    if one.within and one.within != row.within:
        in_workflow = row.scope if row.scope_kind is LimitScope.WORKFLOW else ""
        if one.within != in_workflow:
            return False
    if one.scope_kind is LimitScope.ORGANISATION:
        return True
    if one.scope_kind is LimitScope.PROVIDER and row.scope_kind is LimitScope.MODEL:
        return bool(one.scope) and row.scope.startswith(f"{one.scope}/")
    return (one.scope_kind, one.scope) == (row.scope_kind, row.scope)
