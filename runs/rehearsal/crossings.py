"""Where one run would first have crossed a limit that counts within it. Pure.

A limit is asked before a call is sent, with what was used until then; the call that would cross it is not sent. As the
estimate of a call stands what it really used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from runs.guards.caps import crosses, over
from runs.limits.kinds import LimitKind, LimitScope, Window
from runs.limits.rows import Row, Where
from runs.rehearsal.history import PastCall, PastRun, PastStep, Spans

NO_MOMENTS = "The moments of its calls are not those of the work."
NO_PRICE = "Some of its model calls have no price on record: they count for nothing."
NO_USAGE = "Some of its model calls have no usage on record: they count for nothing."
NO_CONTEXT = "How long the history was is not on record for some of its model calls."
NO_RETRIES = "When it retried is not on record."
NO_PLANS = "Its plans are not on record."
NO_TEXTS = "What it said and called is not on record."


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A limit that would have been crossed: at which step, before which call (counted from 0), when, with what figure.

    `says` is a sentence where a guard found it, not a number.
    """

    row: Row
    position: int
    step: int
    at: datetime | None
    value: int
    says: str = ""

    @property
    def order(self) -> tuple[int, float, tuple[int, int, int]]:
        """The first comes first; at the same place the strictest."""
        return (self.position, self.at.timestamp() if self.at else 0.0, self.row.strictness)


def asks(row: Row, call: PastCall) -> int | None:
    """What a call asks of a limit before it is sent, as permits do; None when it is none of its business, or was not
    recorded. A call that is sent again is no other turn. Tools have rates only where a limit names them."""
    kind = row.kind
    if call.kind == "tool":
        if kind in (LimitKind.REQUESTS, LimitKind.CONCURRENCY):
            return 1 if row.scope_kind is LimitScope.TOOL else None
        return 1 if kind is LimitKind.TOOL_CALLS else None
    match kind:
        case LimitKind.TURNS:
            return 1 if call.first else None
        case LimitKind.MODEL_CALLS | LimitKind.REQUESTS | LimitKind.CONCURRENCY:
            return 1
        case LimitKind.TOKENS:
            return call.tokens
        case LimitKind.COST:
            return call.cost
    return None


WITHIN_A_RUN = frozenset(
    {LimitKind.TURNS, LimitKind.MODEL_CALLS, LimitKind.TOOL_CALLS, LimitKind.TOKENS, LimitKind.COST}
)


def crossing(run: PastRun, row: Row) -> Crossing | None:
    """Where the run would first have crossed it, at a moment when it held; None where it would not, or nobody knows."""
    if not _may_cover(run, row):
        return None
    match row.kind:
        case LimitKind.CONTEXT_TOKENS:
            return _context(run, row)
        case LimitKind.WALL_TIME:
            return _wall_time(run, row)
        case LimitKind.STEP_LATENCY:
            return _step_latency(run, row)
        case LimitKind.RETRIES:
            return _retries(run, row)
        case LimitKind.FAN_OUT_WIDTH:
            return _plans(run, row, lambda step: step.tasks)
        case LimitKind.FAN_OUT_DEPTH:
            return _plans(run, row, lambda step: step.depth if step.tasks else 0)
        case kind if kind in WITHIN_A_RUN and row.window is Window.RUN:
            return _sum(run, row)
    return None


def _may_cover(run: PastRun, row: Row) -> bool:
    """Whether its scope may cover a call of the run; those of agents, tools and models are asked call by call."""
    place = {"team": run.team, "workflow": run.workflow, "run": str(run.number or "")}
    name = place.get(row.scope_kind.value)
    return (name is None or name == row.scope) and (not row.within or row.within == run.workflow)


def concerns(run: PastRun, row: Row) -> bool:
    """Whether anything of the run is the limit's business: a limit of one workflow says nothing of others' runs."""
    if not _may_cover(run, row):
        return False
    if any(True for _ in covered(run, row)) or _wide(row):
        return True
    return any(row.covers(_where(run, step)) for step in run.steps)


def reached(run: PastRun, row: Row) -> int | None:
    """The figure that the run came to, of what the limit counts within a run; None where it counts something else, or
    nothing of that is on record."""
    match row.kind:
        case LimitKind.CONTEXT_TOKENS:
            return _most(call.context for _, call in covered(run, row))
        case LimitKind.WALL_TIME:
            end = run.ended or run.seen_until
            if run.begun is None or end is None or not run.timed:
                return None
            return milliseconds(clock(run.begun, end, run.held))
        case LimitKind.STEP_LATENCY:
            return _most(_took(run, step) for step in run.steps if row.covers(_where(run, step)))
        case LimitKind.RETRIES:
            return None if run.retries is None else len(run.retries)
        case LimitKind.FAN_OUT_WIDTH:
            return _most(step.tasks for step in run.steps)
        case LimitKind.FAN_OUT_DEPTH:
            return _most(step.depth if step.tasks else 0 for step in run.steps)
        case kind if kind in WITHIN_A_RUN and row.window is Window.RUN:
            return sum(asked for _, call in covered(run, row) if (asked := asks(row, call)) is not None)
    return None


def _took(run: PastRun, step: PastStep) -> int | None:
    end = step.ended or run.seen_until
    if step.begun is None or end is None or not run.timed:
        return None
    return milliseconds(clock(step.begun, end, step.waits))


def _most(figures: Iterable[int | None]) -> int | None:
    return max((one for one in figures if one is not None), default=None)


def holds(row: Row, at: datetime | None) -> bool:
    """Whether it held then; without a moment, what holds without an end counts as having held."""
    return row.until is None if at is None else row.holds(at)


def _wide(row: Row) -> bool:
    return row.scope_kind.value in ("organisation", "team", "workflow", "run")


def covered(run: PastRun, row: Row) -> Iterator[tuple[int, PastCall]]:
    wide = _wide(row)
    for position, call in enumerate(run.calls):
        if wide or row.covers(run.where(call)):
            yield position, call


def _sum(run: PastRun, row: Row) -> Crossing | None:
    used = 0
    for position, call in covered(run, row):
        asked = asks(row, call)
        if asked is None:
            continue
        if crosses(used, asked, row.value) and holds(row, call.begun):
            return Crossing(row=row, position=position, step=call.step, at=call.begun, value=used + asked)
        used += asked
    return None


def _context(run: PastRun, row: Row) -> Crossing | None:
    for position, call in covered(run, row):
        if call.context is not None and over(call.context, row.value) and holds(row, call.begun):
            return Crossing(row=row, position=position, step=call.step, at=call.begun, value=call.context)
    return None


def _wall_time(run: PastRun, row: Row) -> Crossing | None:
    end = run.ended or run.seen_until
    if run.begun is None or end is None or not run.timed:
        return None
    over = runs_out(run.begun, row.value, run.held)
    if end <= over or not holds(row, over):
        return None
    took = milliseconds(clock(run.begun, end, run.held))
    position = run.position_at(over)
    return Crossing(row=row, position=position, step=_step_at(run, over), at=over, value=took)


def runs_out(begun: datetime, value: int, still: Spans) -> datetime:
    """When a clock has run for `value` milliseconds that stands still at times."""
    over, counted = begun + timedelta(milliseconds=value), begun
    for since, until in sorted(still):
        if since >= over:
            break
        if until > counted:
            over += until - max(since, counted)
            counted = until
    return over


def clock(begun: datetime, end: datetime, still: Spans) -> timedelta:
    """How long such a clock has run."""
    ran, counted = end - begun, begun
    for since, until in sorted(still):
        since, until = max(since, counted), min(until, end)
        if until > since:
            ran -= until - since
            counted = until
    return ran


def _step_at(run: PastRun, moment: datetime) -> int:
    begun = [step for step in run.steps if step.begun is not None and step.begun <= moment]
    if begun:
        return max(begun, key=lambda step: (step.begun or moment, step.number)).number
    before = [call.step for call in run.calls if call.begun is not None and call.begun <= moment]
    return before[-1] if before else 0


def _step_latency(run: PastRun, row: Row) -> Crossing | None:
    found = []
    for step in run.steps:
        end = step.ended or run.seen_until
        if step.begun is None or end is None or not run.timed or not row.covers(_where(run, step)):
            continue
        over = runs_out(step.begun, row.value, step.waits)
        if end > over and holds(row, over):
            took = milliseconds(clock(step.begun, end, step.waits))
            position = run.position_at(over)
            found.append(Crossing(row=row, position=position, step=step.number, at=over, value=took))
    return min(found, key=lambda one: one.order, default=None)


def _where(run: PastRun, step: PastStep) -> Where:
    return Where(team=run.team, workflow=run.workflow, agent=step.agent, run=run.number)


def _retries(run: PastRun, row: Row) -> Crossing | None:
    for number, retry in enumerate(run.retries or (), start=1):
        if over(number, row.value) and holds(row, retry.at):
            position = run.position_at(retry.at) if retry.position is None else retry.position
            return Crossing(row=row, position=position, step=retry.step, at=retry.at, value=number)
    return None


def _plans(run: PastRun, row: Row, figure: Callable[[PastStep], int]) -> Crossing | None:
    """A plan is refused when it is made: when its step ends."""
    for step in run.steps:
        made = step.ended or step.begun
        if over(figure(step), row.value) and holds(row, made):
            position = _after(run, step.number) if made is None else run.position_at(made)
            return Crossing(row=row, position=position, step=step.number, at=made, value=figure(step))
    return None


def _after(run: PastRun, step: int) -> int:
    return max((n for n, call in enumerate(run.calls, start=1) if call.step <= step), default=0)


def milliseconds(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


_WATCHED = (LimitKind.REPEATS, LimitKind.IDLE_TURNS, LimitKind.TAINTED_CALLS)
_NEEDS: Mapping[LimitKind, Callable[[PastRun], str]] = {
    LimitKind.WALL_TIME: lambda run: "" if run.timed and run.begun else NO_MOMENTS,
    LimitKind.STEP_LATENCY: lambda run: "" if run.timed and run.steps else NO_MOMENTS,
    LimitKind.RETRIES: lambda run: NO_RETRIES if run.retries is None else "",
    LimitKind.FAN_OUT_WIDTH: lambda run: "" if run.steps else NO_PLANS,
    LimitKind.FAN_OUT_DEPTH: lambda run: "" if run.steps else NO_PLANS,
    LimitKind.CONTEXT_TOKENS: lambda run: _missing(run, lambda call: call.context is None, NO_CONTEXT),
    LimitKind.TOKENS: lambda run: _missing(run, lambda call: call.tokens is None, NO_USAGE),
    LimitKind.COST: lambda run: _missing(run, lambda call: call.cost is None, NO_PRICE),
}


def _missing(run: PastRun, lacks: Callable[[PastCall], bool], why: str) -> str:
    return why if any(call.kind == "model" and lacks(call) for call in run.calls) else ""


def untold(run: PastRun, kind: LimitKind, window: Window) -> str:
    """What the record does not hold of what that limit counts; empty when it holds all of it."""
    over_time = window in (Window.MINUTE, Window.HOUR, Window.DAY, Window.MONTH)
    if (over_time or kind is LimitKind.CONCURRENCY) and not (run.timed and run.begun):
        return NO_MOMENTS
    if kind in _WATCHED and run.watched is None:
        return NO_TEXTS
    return _NEEDS[kind](run) if kind in _NEEDS else ""
