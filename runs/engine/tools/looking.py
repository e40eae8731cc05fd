"""Looking whether an effect happened that nobody recorded the end of: the tool's own `look`, as a call that only reads.

It is permitted and recorded like any other call and never replayed, for what it sees changes. It begins while the gate
is held, and a stop ends the waiting for it: what it would have said is thrown away. What follows from it is decided in
`doubted`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from pydantic import BaseModel

from runs.canonical import tame, told
from runs.definitions import NotKnown, Tool
from runs.engine import gate, holds
from runs.engine.away import away
from runs.engine.claimed import Claimed
from runs.engine.outcomes import Refused
from runs.engine.record import announce_run, event, lock_run
from runs.engine.spend import permits
from runs.engine.spend.wanted import Result, Wanted
from runs.engine.tools.actions import fit_to_keep
from runs.errors import ErrorClass, classify
from runs.models import Call, CallKind, CallState, ControlKind, Question, Run
from runs.signals import effect_looked_at
from runs.verdicts import Failure, TryAgain, judge

LOOK_SECONDS = 30.0  # the longest a look may take, whatever the run's deadline leaves
STOP_SECONDS = 0.25  # between two looks at the controls, while it is waited for
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

    Raises Refused when a control or a lost fence forbids it, or a stop ends it; then nothing is known of it.
    """
    if not tool.looks:
        return NotSure()
    began = time.monotonic()
    looked, said = _begun(claimed, tool, arguments, call)
    connection.close()  # it may take as long as the other side takes
    try:
        saw = _saw(tool, _within(min(LOOK_SECONDS, claimed.left()), said, claimed))
    except Refused as stopped:
        cut = Result(state=CallState.CUT, error=stopped.why, latency_ms=_since(began))
        permits.record(claimed, looked, cut)
        raise
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


def _begun(claimed: Claimed, tool: Tool, arguments: BaseModel, call: Call) -> tuple[Call, Future[object]]:
    """Permit it and begin it while the gate is held by the session, for as long as a request may take to leave."""
    hold = int(settings.RUNS_GATE_HOLD_MS) / 1000
    with gate.held_by_session():
        until = time.monotonic() + hold
        looked = permits.permit(claimed, _wanted(tool, call))
        if time.monotonic() < until and gate.is_held():
            said = _asked(tool, arguments, call.key)
            wait([said], max(0.0, until - time.monotonic()))
            return looked, said
    why = "the gate was not held for long enough; aborted before it looked"
    permits.record(claimed, looked, Result(state=CallState.REFUSED, error=why))
    raise Refused(why)


def _saw(tool: Tool, seen: object) -> Saw:
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


def _asked(tool: Tool, arguments: BaseModel, key: str) -> Future[object]:
    """What a look will say or raise."""
    said: Future[object] = Future()

    def answer() -> None:
        try:
            said.set_result(tool.look(arguments, key) if tool.look else tool.find(key) if tool.find else None)
        except BaseException as error:
            said.set_exception(error)
        finally:
            connection.close()

    threading.Thread(target=answer, name="look", daemon=True).start()
    return said


def _within(seconds: float, said: Future[object], claimed: Claimed) -> object:
    """What a look says in this time. One that says nothing, or that is stopped, is left to itself: it only reads.

    Raises TimeoutError, Refused when a stop covers the run meanwhile, or what the look raised.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            return said.result(max(0.0, min(STOP_SECONDS, until - time.monotonic())))
        except TimeoutError as error:
            if said.done():  # just now, or it raised this itself
                return said.result()
            if time.monotonic() >= until:
                raise TimeoutError(f"it did not answer within {seconds:.1f} s") from error
        _go_on_unless_stopped(claimed)


def _go_on_unless_stopped(claimed: Claimed) -> None:
    first = next(iter(holds.covering(run_id=claimed.run.pk, workflow=claimed.run.workflow)), None)
    connection.close()
    if first is not None and first.kind == ControlKind.STOP:
        raise Refused(f"stop of {first.scope_name} by {first.engaged_by}")


def _record(claimed: Claimed, looked: Call, saw: Saw, began: float) -> None:
    latency = _since(began)
    if isinstance(saw, NotSure) and saw.error is not None:
        result = Result(
            state=CallState.FAILED, error=saw.seen, error_class=classify(saw.error), latency_ms=latency
        )
    else:
        result = Result(state=CallState.DONE, response=words(saw), latency_ms=latency)
    permits.record(claimed, looked, result)


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


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
