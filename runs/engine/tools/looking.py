"""Looking whether an effect happened that nobody recorded the end of: the tool's own `look`, as a call that only reads.

It is permitted and recorded like any other call and never replayed, for what it sees changes. What follows from it is
decided in `doubted`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from pydantic import BaseModel

from runs.canonical import tame, told
from runs.definitions import NotKnown, Tool
from runs.engine import permits
from runs.engine.away import away
from runs.engine.claimed import Claimed
from runs.engine.record import announce_run, event, lock_run
from runs.engine.tools.actions import fit_to_keep
from runs.engine.wanted import Result, Wanted
from runs.errors import ErrorClass, classify
from runs.models import Call, CallKind, CallState, Question, Run
from runs.signals import effect_looked_at
from runs.verdicts import Failure, TryAgain, judge

LOOK_SECONDS = 30.0  # the longest a look may take, whatever the run's deadline leaves
LONGEST_SEEN = 500  # characters of a sentence on a card
HAPPENED, DID_NOT, NOT_SURE = "it happened", "it did not happen", "not sure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """It happened, and this is what `perform` would have answered."""

    answer: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DidNot:
    """It surely did not happen and will not any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSure:
    """Nobody can say. `seen` is what there was to see; `error` why the look itself failed, if it did."""

    seen: str = ""
    error: BaseException | None = None


Saw = Happened | DidNot | NotSure


def look(
    claimed: Claimed, tool: Tool, arguments: BaseModel, call: Call, *, asked_by: Question | None = None
) -> Saw:
    """What the tool says of one sending of its effect. `asked_by` is the question whose answer was to look again.

    Raises Refused when a control or a lost fence forbids it; then nothing was looked at.
    """
    if not tool.looks:
        return NotSure()
    began = time.monotonic()
    looked = permits.permit(claimed, _wanted(tool, call))
    connection.close()  # it may take as long as the other side takes
    try:
        saw = _saw(tool, arguments, call.key, min(LOOK_SECONDS, claimed.left()))
    except Exception as error:
        if away(error):
            raise  # our own database: whoever claims next looks again
        saw = NotSure(seen=f"looking failed: {told(error)}"[:LONGEST_SEEN], error=error)
    _record(claimed, looked, saw, began)
    _tell(claimed, call, saw, asked_by)
    return saw


def worth_retrying(claimed: Claimed, saw: NotSure) -> bool:
    """Whether a look failed for a passing reason and the node's policy has a plain retry left for it."""
    if saw.error is None or classify(saw.error) != ErrorClass.RECOVERABLE:
        return False
    tries = claimed.step.attempts.filter(error_class=ErrorClass.RECOVERABLE).count()
    failure = Failure(error_class=ErrorClass.RECOVERABLE, message=saw.seen)
    retries = Run.objects.values_list("retries", flat=True).get(pk=claimed.run.pk)
    left = claimed.workflow.retry_budget - retries
    verdict = judge(claimed.node.errors, failure, tries=tries, budget_left=left, jitter=0.0)
    return isinstance(verdict, TryAgain) and verdict.by is None


def _wanted(tool: Tool, call: Call) -> Wanted:
    key = f"{call.key}-look-"
    times = Call.objects.filter(step_id=call.step_id, kind=CallKind.LOOK, key__startswith=key).count()
    return Wanted(
        kind=CallKind.LOOK,
        name=tool.name,
        key=f"{key}{times + 1}",
        request={"looks_for": call.key, "sent": call.send},
        egress=tool.egress,
    )


def _saw(tool: Tool, arguments: BaseModel, key: str, seconds: float) -> Saw:
    def look() -> object:
        return tool.look(arguments, key) if tool.look else tool.find(key) if tool.find else None

    seen = _within(seconds, look)
    match seen:
        case None:
            return DidNot()
        case NotKnown():
            return NotSure(seen=str(tame(seen.seen))[:LONGEST_SEEN])
        case Mapping():
            return Happened(answer=fit_to_keep(seen))
        case _:
            return NotSure(
                seen=f"{tool.name} looked and returned a {type(seen).__name__}, which says nothing"
            )


def _within(seconds: float, look: Callable[[], object]) -> object:
    """What a look says in this time. One that says nothing is left to itself: it only reads.

    Raises TimeoutError, or what the look raised.
    """
    said: Future[object] = Future()

    def answer() -> None:
        try:
            said.set_result(look())
        except BaseException as error:
            said.set_exception(error)
        finally:
            connection.close()

    threading.Thread(target=answer, name="look", daemon=True).start()
    try:
        return said.result(seconds)
    except TimeoutError as error:
        if said.done():
            raise
        raise TimeoutError(f"it did not answer within {seconds:.1f} s") from error


def _record(claimed: Claimed, looked: Call, saw: Saw, began: float) -> None:
    latency = round((time.monotonic() - began) * 1000)
    if isinstance(saw, NotSure) and saw.error is not None:
        result = Result(
            state=CallState.FAILED, error=saw.seen, error_class=classify(saw.error), latency_ms=latency
        )
    else:
        result = Result(state=CallState.DONE, response=words(saw), latency_ms=latency)
    permits.record(claimed, looked, result)


def words(saw: Saw) -> dict[str, Any]:
    """What was seen, as data for the call, the event and the journal."""
    match saw:
        case Happened(answer=answer):
            return {"saw": HAPPENED, "answer": dict(answer)}
        case DidNot():
            return {"saw": DID_NOT}
        case NotSure(seen=seen):
            return {"saw": NOT_SURE, "seen": seen}


@transaction.atomic
def _tell(claimed: Claimed, call: Call, saw: Saw, asked_by: Question | None) -> None:
    """The event, and for whoever asked to look again the entry of the journal, last."""
    run = lock_run(claimed.run.pk)
    if run is None:
        return
    said = words(saw)
    event(run, "looked", step=claimed.step, call=call.pk, saw=said["saw"], seen=said.get("seen", ""))
    run.save(update_fields=["event_seq"])
    announce_run(run)
    if asked_by is not None:
        effect_looked_at.send(sender=Question, question=asked_by, saw=said)
