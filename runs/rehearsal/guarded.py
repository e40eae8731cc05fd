"""Drafts of what the guards go by that look for loops and injected arguments: the same guards over the record. Pure.

Each value is tried anew: a run is fed to the guards once for each limit. What is built in holds beside people's limits,
unless one that warns or observes replaces it (`runs.limits.applying.standing`), on either side of the comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from runs.guards.findings import Guard, Limits
from runs.guards.watch import judged
from runs.limits import fixed
from runs.limits.applying import standing
from runs.limits.kinds import LimitKind
from runs.limits.rows import Row
from runs.recorded.toolsets import Toolsets
from runs.recorded.trace import Trace
from runs.rehearsal.crossings import Crossing, holds
from runs.rehearsal.drafts import Draft
from runs.rehearsal.history import PastFinding, PastRun
from runs.rehearsal.streams import Both, Side

NEVER = 10**9
GUARDED = frozenset({LimitKind.REPEATS, LimitKind.IDLE_TURNS, LimitKind.TAINTED_CALLS})


def guarded(run: PastRun, draft: Draft) -> Both:
    """What the guards would have said on both sides."""
    built_in = [row for row in fixed.built_in() if row.kind is draft.kind]
    both = Both()
    for side, rows in (
        (both.before, [held.row for held in draft.held if held.before]),
        (both.after, [held.row for held in draft.held if held.after]),
    ):
        _look(run, side, [*rows, *built_in])
    return both


def _look(run: PastRun, side: Side, rows: list[Row]) -> None:
    for row in rows:
        found = _crossing(run, row, rows)
        if found is not None:
            side.add(found)


def _crossing(run: PastRun, row: Row, rows: list[Row]) -> Crossing | None:
    """The first finding that it stands for; of injected arguments the one that is too many."""
    spared = row.value if row.kind is LimitKind.TAINTED_CALLS else 0
    for finding in run.watched(row.kind, row.value) if run.watched else ():
        if not _stands(run, finding, row, rows):
            continue
        if spared:
            spared -= 1
            continue
        at = run.calls[finding.position].begun if finding.position < len(run.calls) else finding.at
        return Crossing(
            row=row,
            position=finding.position,
            step=finding.step,
            at=at,
            value=finding.value,
            says=finding.says,
        )
    return None


def _stands(run: PastRun, finding: PastFinding, row: Row, rows: Iterable[Row]) -> bool:
    here = run.where(run.calls[finding.call])
    near = [one for one in rows if one.covers(here) and holds(one, finding.at)]
    return any(one is row for one in standing(near))


def of_trace(trace: Trace, toolsets: Toolsets) -> Callable[[LimitKind, int], Iterator[PastFinding]]:
    """What the guards say of a recorded run, at any value: `guard_report`'s own code."""
    places = {number: n for n, number in enumerate(_calls(trace))}

    def watched(kind: LimitKind, value: int) -> Iterator[PastFinding]:
        guard = Guard.TAINT if kind is LimitKind.TAINTED_CALLS else Guard.LOOP
        count = 0
        for one in judged(trace, toolsets, limits_of(kind, value)):
            if one.guard is not guard or one.step not in places:
                continue
            count += 1
            call = places[one.step]
            yield PastFinding(
                call=call,
                position=call if guard is Guard.TAINT else call + 1,
                step=one.step,
                value=count if one.value is None else one.value,
                says=one.says,
            )

    return watched


def _calls(trace: Trace) -> Iterator[int]:
    return (number for number, item in enumerate(trace.items) if item.kind != "message")


def limits_of(kind: LimitKind, value: int) -> Limits:
    """The guards' limits when only that one counts."""
    return Limits(
        turns=NEVER,
        context=NEVER,
        failures=NEVER,
        repeats=value if kind is LimitKind.REPEATS else NEVER,
        stale=value if kind is LimitKind.IDLE_TURNS else NEVER,
    )
