"""What follows when an agent's conversation is full, over conversations that were: compact, or ask. Pure.

The decision is `runs.guards.full`; what a summary would have said, and how long it would have been, is on no record.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from runs.guards.full import Full, follows
from runs.limits.kinds import Mode
from runs.rehearsal.comparing import NOT_ASKED, OtherDecision, differing
from runs.rehearsal.departures import Departure, What, lost
from runs.rehearsal.history import PastCall, PastRun

NO_SUMMARY = "Whether a summary would have been short enough, and what it would have cost, is not on record."


@dataclass(frozen=True, slots=True, kw_only=True)
class PastFull:
    """A place where a limit of context tokens was crossed. `more`: there was more than what the agent was given.
    `compacted`, `asked`: what followed then; neither: no limit held. `size` and `cap` in tokens."""

    step: int
    position: int
    at: datetime | None
    size: int
    cap: int
    more: bool = True
    compacted: bool = False
    asked: datetime | None = None


def places(run: PastRun, agent: str, cap: int) -> Iterator[PastFull]:
    """Where a limit of `cap` tokens would have been crossed first in each step, by what its calls were sent with.

    A recording has one conversation an agent: its steps are its items.
    """
    begun: set[int] = set()
    crossed: set[int] = set()
    for position, call in enumerate(run.calls):
        if call.kind != "model" or call.agent != agent:
            continue
        conversation = 0 if run.number is None else call.step
        more = conversation in begun
        begun.add(conversation)
        if call.context is None or call.context <= cap or conversation in crossed:
            continue
        crossed.add(conversation)
        yield PastFull(
            step=call.step, position=position, at=call.begun, size=call.context, cap=cap, more=more
        )


def departure(run: PastRun, full: Iterable[PastFull], *, compacts: bool) -> Departure | None:
    """Where the run would first have gone otherwise; None where it would not."""
    for one in full:
        match follows(Mode.ENFORCE, compacts=compacts, more=one.more):
            case Full.ASK if one.compacted or one.asked is None:
                return _asked(run, one)
            case Full.COMPACT if not one.compacted:
                return _compacted(run, one)
            case _:
                continue
    return None


def _asked(run: PastRun, one: PastFull) -> Departure:
    """It stands still there. Where a summary did not help and a person was asked, it is the same card, earlier."""
    rest = run.calls[one.position :]
    if one.asked is not None:
        rest = tuple(call for call in rest if _before(call, one.asked))
    return Departure(
        run=run,
        what=What.ASKED,
        step=one.step,
        position=one.position,
        at=one.at,
        says=f"{_says(one)}: a person is asked.",
        not_made=rest,
        lost=False if one.asked is not None else lost(run),
        cards=0 if one.asked is not None else 1,
        decisions=tuple(differing(run.questions, one.at, one.asked)) if one.at else (),
    )


def _compacted(run: PastRun, one: PastFull) -> Departure:
    asked = [it for it in run.questions if one.asked is not None and it.asked == one.asked]
    instead = " instead of asking" if one.asked is not None else ""
    return Departure(
        run=run,
        what=What.TRIED,
        step=one.step,
        position=one.position,
        at=one.at,
        says=f"{_says(one)}: it is said again in fewer words{instead}.",
        cards=-1 if one.asked is not None else 0,
        decisions=tuple(OtherDecision(question=it, how=NOT_ASKED) for it in asked if it.answered is not None),
        untold=NO_SUMMARY,
    )


def _before(call: PastCall, moment: datetime) -> bool:
    return call.begun is not None and call.begun < moment


def _says(one: PastFull) -> str:
    return f"Step {one.step}, {one.size:,} tokens of {one.cap:,}"
