"""A step's error policy over failures that were: `runs.verdicts.judge` asked again at each, beside what followed then.

Pure. A run is followed to the first failure after which the policy says something else than what happened.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from runs.definitions import ErrorPolicy
from runs.errors import ErrorClass
from runs.recorded.trace import Trace
from runs.rehearsal.comparing import NOT_ASKED, OtherDecision, differing
from runs.rehearsal.departures import Departure, What, lost
from runs.rehearsal.history import PastCall, PastRun
from runs.rehearsal.traces import provider_failed
from runs.verdicts import Escalate, Failure, Stop, TryAgain, Verdict, judge

NO_MORE = "What it would have come to where it is tried again, or by another, is not on record."
NO_END = "What followed one of its failures is not on record."
A_TASK = "What the other tasks of its plan would have made of it is not on record."
ONLY_MODELS = "Of its errors only those of its model calls are on record; none of agents' answers."


class Then(enum.StrEnum):
    AGAIN = "again"
    ASKED = "asked"
    ENDED = "ended"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class PastFailure:
    """An attempt that failed. `by` made it, `tries` attempts of its step had failed with its class before, the run had
    `left` retries; `then` followed, by `then_by` where it was tried again. `ask`: nothing more was to be tried.
    `person`: nobody else could mend it. `judged`: the policy was asked what follows. `task`: the step is a task of a
    plan. `position`: how many calls had been made; None: by its moment."""

    step: int
    error_class: ErrorClass
    at: datetime | None = None
    position: int | None = None
    by: str = ""
    tries: int = 0
    left: int = 1
    ask: bool = False
    person: bool = False
    judged: bool = True
    then: Then = Then.UNKNOWN
    then_by: str = ""
    task: bool = False


def departure(run: PastRun, failures: Iterable[PastFailure], policy: ErrorPolicy) -> Departure | None:
    """Where the run would first have gone otherwise; None where it would not. `failures` in their order."""
    kept = list(failures)
    for number, one in enumerate(kept, start=1):
        if not one.judged:
            continue
        failure = Failure(error_class=one.error_class, message="", ask=one.ask, person=one.person)
        verdict = judge(policy, failure, tries=one.tries, budget_left=one.left, jitter=0.0)
        found = _against(run, one, verdict)
        if found is not None:
            return _without_later_cards(found, one, kept[number:])
    return None


def _without_later_cards(found: Departure, one: PastFailure, later: list[PastFailure]) -> Departure:
    """A step that stands still or has ended asks nobody later, as it did then."""
    if one.then is not Then.AGAIN or found.what not in (What.ASKED, What.ENDED):
        return found
    spared = sum(other.then is Then.ASKED and other.step == one.step for other in later)
    return replace(found, cards=found.cards - spared)


def untold(failures: Iterable[PastFailure]) -> str:
    return NO_END if any(one.then is Then.UNKNOWN and one.judged for one in failures) else ""


def _against(run: PastRun, one: PastFailure, verdict: Verdict) -> Departure | None:
    match verdict, one.then:
        case (_, Then.UNKNOWN) | (Escalate(), Then.ASKED) | (Stop(), Then.ENDED):
            return None
        case (TryAgain(by=by), Then.AGAIN):
            wanted = one.by if by is None else by
            if wanted == one.then_by:
                return None
            says = f"tried again by {_who(wanted)} instead of {_who(one.then_by)}"
            return _departs(run, one, What.OTHERWISE, says, untold=NO_MORE)
        case (TryAgain(by=by), Then.ASKED):
            wanted = one.by if by is None else by
            says = f"tried again by {_who(wanted)} where a person was asked"
            return _departs(run, one, What.TRIED, says, cards=-1, decisions=_answer(run, one), untold=NO_MORE)
        case (TryAgain(by=by), Then.ENDED):
            wanted = one.by if by is None else by
            return _departs(
                run, one, What.TRIED, f"tried again by {_who(wanted)} where it ended", untold=NO_MORE
            )
        case (Escalate(), Then.AGAIN):
            return _stands(run, one, What.ASKED, "a person is asked where it was tried again", cards=1)
        case (Escalate(), Then.ENDED):
            says = "a person is asked where it ended"
            return _departs(run, one, What.ASKED, says, cards=1, untold=NO_MORE)
        case (Stop(), Then.AGAIN):
            return _stands(run, one, What.ENDED, "it ends where it was tried again")
        case (Stop(), Then.ASKED):
            return _stands(run, one, What.ENDED, "it ends where a person was asked", cards=-1)
    return None


def _stands(run: PastRun, one: PastFailure, what: What, says: str, *, cards: int = 0) -> Departure:
    """It goes no further there: what came after was not made. Of a plan's task that is the task's alone."""
    position = _position(run, one)
    rest = run.calls[position:]
    if one.task:
        rest = tuple(call for call in rest if call.step == one.step)
    open_then = () if one.task or one.at is None else tuple(differing(run.questions, one.at, None))
    gone = lost(run)
    if one.task and what is What.ENDED and gone:
        gone = None
    return _departs(
        run,
        one,
        what,
        says,
        not_made=rest,
        lost=gone,
        cards=cards,
        decisions=_answer(run, one) if one.task and cards < 0 else open_then,
        untold=A_TASK if one.task else "",
    )


def _departs(
    run: PastRun,
    one: PastFailure,
    what: What,
    says: str,
    *,
    not_made: tuple[PastCall, ...] = (),
    lost: bool | None = False,
    cards: int = 0,
    decisions: tuple[OtherDecision, ...] = (),
    untold: str = "",
) -> Departure:
    time = (
        f"{one.tries + 1}. {one.error_class.value} error" if one.tries else f"{one.error_class.value} error"
    )
    return Departure(
        run=run,
        what=what,
        step=one.step,
        position=_position(run, one),
        at=one.at,
        says=f"Step {one.step}, {time}: {says}.",
        not_made=not_made,
        lost=lost,
        cards=cards,
        decisions=decisions,
        untold=untold,
    )


def _position(run: PastRun, one: PastFailure) -> int:
    return run.position_at(one.at) if one.position is None else one.position


def _answer(run: PastRun, one: PastFailure) -> tuple[OtherDecision, ...]:
    """What a person answered to the question that this failure asked."""
    if one.at is None:
        return ()
    asked = [question for question in run.questions if question.asked >= one.at]
    return tuple(OtherDecision(question=it, how=NOT_ASKED) for it in asked[:1] if it.answered is not None)


def _who(by: str) -> str:
    return by.replace(":", " ", 1) if by else "the step itself"


def of_trace(trace: Trace, agent: str, budget: int) -> list[PastFailure]:
    """The failures of an agent's model calls in a recording, as those of a step: no recording has attempts.

    Each is tried again by the agent's next model call; `budget` is how many retries a run has.
    """
    calls = [item for item in trace.items if item.kind != "message"]
    found: list[PastFailure] = []
    tries = spent = 0
    for place, item in enumerate(calls):
        if item.kind != "model" or item.agent != agent:
            continue
        if not provider_failed(item):
            tries = 0
            continue
        again = any(one.kind == "model" and one.agent == agent for one in calls[place + 1 :])
        found.append(
            PastFailure(
                step=item.index if item.index is not None else trace.items.index(item),
                error_class=ErrorClass.RECOVERABLE,
                position=place + 1,
                tries=tries,
                left=budget - spent,
                then=Then.AGAIN if again else Then.UNKNOWN,
            )
        )
        tries, spent = tries + 1, spent + again
    return found
