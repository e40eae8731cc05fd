"""One run with a draft and without it: what differs. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from runs.limits.kinds import TABLE, Mode, Window
from runs.limits.rows import Row
from runs.limits.units import Unit, shown
from runs.rehearsal.crossings import Crossing, crossing
from runs.rehearsal.drafts import Draft
from runs.rehearsal.guarded import GUARDED, guarded
from runs.rehearsal.history import How, PastCall, PastQuestion, PastRun
from runs.rehearsal.streams import Both, Side, over_runs

AT_ONCE = timedelta(seconds=1)  # a card is asked for with the refusal
NOT_ASKED, ASKED_BESIDE = "would not have been asked", "would have stood beside another card"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What calls used. Money in millionths of a US dollar."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            calls=self.calls + other.calls,
            tokens_in=self.tokens_in + other.tokens_in,
            tokens_out=self.tokens_out + other.tokens_out,
            cost=self.cost + other.cost,
        )

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherDecision:
    """A person's answer that would now differ, and how."""

    question: PastQuestion
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A run that differs. `stopped`: where the draft would have stopped it, earlier than what held then; `freed`: where
    what held then stopped it, and the draft would not; `not_made`: its calls from there to where it was stopped then,
    or to its end. `lost`: whether a success would have been; None: nobody knows.
    `cards`: how many more cards people would have had for it. `waiting` counts calls, `waited` is in milliseconds;
    both are the difference, `longest` is that of the draft.
    """

    run: PastRun
    stopped: Crossing | None = None
    freed: Crossing | None = None
    not_made: tuple[PastCall, ...] = ()
    warned: Crossing | None = None
    noted: Crossing | None = None
    lost: bool | None = False
    cards: int = 0
    decisions: tuple[OtherDecision, ...] = ()
    waiting: int = 0
    waited: int = 0
    longest: int = 0

    @property
    def saved(self) -> Spent:
        return spent(self.not_made)

    @property
    def figure(self) -> Crossing | None:
        return self.stopped or self.freed or self.warned or self.noted

    @property
    def why(self) -> str:
        """One sentence: what would have happened, and by which figure."""
        if self.stopped is not None:
            return f"Stopped at {self._place(self.stopped)}: {figures(self.stopped)}."
        if self.freed is not None:
            return f"Not stopped at {self._place(self.freed)}: {figures(self.freed)}."
        if self.waiting > 0:
            return f"{self.waiting} more calls wait, the longest for {shown(Unit.DURATION, self.longest)}."
        if self.waiting < 0 or self.waited < 0:
            return f"Calls wait {shown(Unit.DURATION, max(0, -self.waited))} less in all."
        if self.waited > 0:
            return f"Calls wait {shown(Unit.DURATION, self.waited)} longer in all."
        one = self.warned or self.noted
        verb = "Warned" if self.warned else "Noted"
        return f"{verb} at {self._place(one)}: {figures(one)}." if one else ""

    def _place(self, one: Crossing) -> str:
        """The step by its number and, where that is on record, by the name of its place in the workflow."""
        nodes = [step.node for step in self.run.steps if step.number == one.step]
        nodes += [call.node for call in self.run.calls if call.step == one.step]
        node = next(filter(None, nodes), "")
        return f"step {one.step}, {node}" if node else f"step {one.step}"


def figures(one: Crossing) -> str:
    """Which figure crosses which limit, of whom."""
    if one.says:
        return one.says.rstrip(".")
    unit = TABLE[one.row.kind].unit
    return f"{one.row.what} {shown(unit, one.value)} of {one.row.amount} ({one.row.scope_words})"


def compared(run: PastRun, draft: Draft, both: Both | None = None) -> Difference | None:
    """What the draft does to the run; None when nothing. `both` is what the streams found of it."""
    if both is None:
        both = guarded(run, draft) if draft.kind in GUARDED else _within(run, draft)
    before, after = both.before.first, both.after.first
    stop, was = after.get(Mode.ENFORCE), before.get(Mode.ENFORCE) or _refused(run, draft)
    stopped = stop if stop and (was is None or _place(stop) < _place(was)) else None
    freed = was if was and (stop is None or _place(was) < _place(stop)) else None
    waits = _waits(both)
    warned = None if stopped else _newly(both, Mode.WARN)
    noted = None if stopped else _newly(both, Mode.OBSERVE)
    if not (stopped or freed or warned or noted or any(waits)):
        return None
    return Difference(
        run=run,
        stopped=stopped,
        freed=freed,
        warned=warned,
        noted=noted,
        not_made=run.calls[stopped.position : was.position if was else None] if stopped else (),
        lost=_lost(run, stopped, was),
        cards=(stop is not None) - (was is not None),
        decisions=_decisions(run, stopped, was) if stopped else _top_ups(run, freed),
        waiting=waits[0],
        waited=waits[1],
        longest=both.after.waited.longest,
    )


def _place(one: Crossing) -> tuple[int, float]:
    return one.order[:2]


def _within(run: PastRun, draft: Draft) -> Both:
    both = Both()
    if over_runs(draft):
        return both
    for held in draft.held:
        found = crossing(run, held.row)
        if found is not None:
            for side in both.sides(held):
                side.add(found)
    return both


def _refused(run: PastRun, draft: Draft) -> Crossing | None:
    """Where the draft's own limit did stop the run, when it does not hold there any more: the call that it refused is
    not on record, so no count can find it."""
    by_id = {row.id: row for row in draft.old}
    for refusal in run.refusals:
        row = by_id.get(refusal.limit)
        if row is None or _as_strict(draft, row):
            continue
        position = run.position_at(refusal.at)
        return Crossing(row=row, position=position, step=refusal.step, at=refusal.at, value=row.value + 1)
    return None


def _as_strict(draft: Draft, row: Row) -> bool:
    new = draft.new
    return new is not None and new.mode is Mode.ENFORCE and new.value <= row.value


def _newly(both: Both, mode: Mode) -> Crossing | None:
    """The draft's first crossing of that mode, where there was none, or only a later one."""
    found, known = _reached(both.after, mode), _reached(both.before, mode)
    if found is None or (known is not None and _place(known) <= _place(found)):
        return None
    return found


def _reached(side: Side, mode: Mode) -> Crossing | None:
    """The first crossing of that mode, unless the run would have been stopped before it."""
    found, stop = side.first.get(mode), side.first.get(Mode.ENFORCE)
    return None if found and stop and _place(stop) <= _place(found) else found


def _waits(both: Both) -> tuple[int, int]:
    before, after = both.before.waited, both.after.waited
    return after.calls - before.calls, after.total - before.total


def spent(calls: Iterable[PastCall]) -> Spent:
    """What calls used, as far as it was recorded."""
    kept = tuple(calls)
    return Spent(
        calls=len(kept),
        tokens_in=sum(call.tokens_in or 0 for call in kept),
        tokens_out=sum(call.tokens_out or 0 for call in kept),
        cost=sum(call.cost or 0 for call in kept),
    )


def _lost(run: PastRun, stopped: Crossing | None, was: Crossing | None) -> bool | None:
    if stopped is None or was is not None:
        return False
    return None if run.how in (How.UNKNOWN, How.UNDER_WAY) else run.how is How.SUCCEEDED


def _decisions(run: PastRun, stopped: Crossing, was: Crossing | None) -> tuple[OtherDecision, ...]:
    """Answers to what was asked after the run would have stood still, or was open at that moment."""
    moment, until = _moment(run, stopped), _moment(run, was) if was else None
    if moment is None:
        return ()
    return tuple(differing(run.questions, moment, until))


def _top_ups(run: PastRun, freed: Crossing | None) -> tuple[OtherDecision, ...]:
    """The answer to the card of a limit that would not have stopped the run there."""
    if freed is None or freed.at is None:
        return ()
    near = [one for one in run.questions if one.capped and abs(one.asked - freed.at) <= AT_ONCE]
    return tuple(OtherDecision(question=one, how=NOT_ASKED) for one in near[:1] if one.answered)


def differing(
    questions: Iterable[PastQuestion], moment: datetime, until: datetime | None
) -> Iterable[OtherDecision]:
    """Answers to what was asked from a moment on, or was open then; until another, where there is one."""
    for one in questions:
        if one.answered is None or (until is not None and one.asked >= until):
            continue
        if one.asked >= moment:
            yield OtherDecision(question=one, how=NOT_ASKED)
        elif one.answered >= moment:
            yield OtherDecision(question=one, how=ASKED_BESIDE)


def _moment(run: PastRun, one: Crossing) -> datetime | None:
    if one.at is not None:
        return one.at
    return run.calls[one.position].begun if one.position < len(run.calls) else None


def as_json(one: Difference) -> dict[str, Any]:
    """One line for one run."""
    run = one.run
    line: dict[str, Any] = {"run": run.key, "number": run.number, "workflow": run.workflow, "team": run.team}
    for name in ("stopped", "freed", "warned", "noted"):
        found = getattr(one, name)
        if found is not None:
            line[name] = _crossing_json(found)
    if one.stopped:
        line["saved"] = spent_json(one.saved)
        line["success_lost"] = one.lost
    if one.waiting or one.waited:
        line["waits"] = {"calls": one.waiting, "ms": one.waited, "longest_ms": one.longest}
    if one.decisions:
        line["decisions_differ"] = [decision_json(other) for other in one.decisions]
    return line | {"says": one.why}


def _crossing_json(one: Crossing) -> dict[str, Any]:
    row = one.row
    guard = (
        row.kind.value if row.window in (Window.NONE, Window.RUN) else f"{row.kind.value}/{row.window.value}"
    )
    return {
        "step": one.step,
        "call": one.position,
        "at": one.at.isoformat() if one.at else None,
        "guard": guard,
        "scope": row.scope_words,
        "limit": row.id,
        "value": one.value,
        "cap": row.value,
        "mode": row.mode.value,
    }


def decision_json(one: OtherDecision) -> dict[str, Any]:
    """A decision that differs, as a line has it."""
    question = one.question
    return {"question": question.number, "decision": question.verb, "by": question.by, "how": one.how}


def spent_json(spent: Spent) -> dict[str, int]:
    return {
        "calls": spent.calls,
        "cost_micros": spent.cost,
        "tokens_in": spent.tokens_in,
        "tokens_out": spent.tokens_out,
    }
