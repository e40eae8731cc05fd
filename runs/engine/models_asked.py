"""One model call: replayed when it is on record, else permitted, sent, cut or recorded. No judging of its content."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from typing import Any

from django.db import connection

from runs import bodies
from runs.agents import door, prices
from runs.agents.door import Message, ModelReply, ModelRequest, ToolCall, Usage, reply_data, request_data
from runs.canonical import plain, told
from runs.engine import breakers
from runs.engine.claimed import Claimed
from runs.engine.found import Found, tell
from runs.engine.outcomes import CutInFlight, Refused
from runs.engine.spend import permits
from runs.engine.spend.wanted import Result, Wanted
from runs.engine.tools.gateway import in_time
from runs.engine.worker.flights import Flight
from runs.errors import DataError, Unpriced, classify
from runs.models import Body, Call, CallKind, CallState

CALL_SECONDS = 120.0  # the longest a single model call may take, whatever the run's deadline leaves


def ask(
    claimed: Claimed, flight: Flight, request: ModelRequest, seen: Counter[str]
) -> tuple[ModelReply, Call]:
    """The reply to one request, from the record or from the provider.

    Raises what the provider raised (recorded as a failed call), CutInFlight, or Refused. A model without a price
    is refused before anything is sent, and so is a call that the run's deadline leaves no time: nothing is reserved.
    """
    _priced(claimed, request.model)
    body = bodies.of(request_data(request))
    key = _key(body, seen)
    known = permits.recorded(claimed, key)
    if known and known.state == CallState.DONE and known.response:
        return _reply(bodies.load(known.response)), known
    in_time(claimed)
    call = permits.permit(claimed, _wanted(request, key, body))
    _still_in_time(claimed, call)
    return _send(claimed, flight, request, call)


def _priced(claimed: Claimed, model: str) -> None:
    """Raise Unpriced for a model without a price; the run is told."""
    try:
        prices.price(model)
    except Unpriced as error:
        tell(claimed, Found(guard="price", scope=f"model {model}", says=error.message))
        raise


def _still_in_time(claimed: Claimed, call: Call) -> None:
    """The permit itself may have taken what was left; then the call goes unsent, and gives back what it reserved."""
    try:
        in_time(claimed)
    except Refused as over:
        permits.record(claimed, call, Result(state=CallState.REFUSED, error=over.why))
        raise


def next_key(request: ModelRequest, seen: Counter[str]) -> str:
    """The key under which this request would be asked now."""
    return _key(bodies.of(request_data(request)), Counter(seen))


def _key(request: Body, seen: Counter[str]) -> str:
    """Stable over retries: the same request, for the n-th time in this attempt. The deadline is not part of it."""
    mark = request.digest[:40]
    seen[mark] += 1
    return f"model-{mark}-{seen[mark]}"


def _wanted(request: ModelRequest, key: str, body: Body) -> Wanted:
    return Wanted(
        kind=CallKind.MODEL,
        name=request.agent,
        key=key,
        stored=[body],
        simulated=request.model.startswith("simulated/"),
        model=request.model,
        prompt_version=request.prompt_version,
        parameters=dict(request.parameters),
    )


def _send(claimed: Claimed, flight: Flight, request: ModelRequest, call: Call) -> tuple[ModelReply, Call]:
    connection.close()  # a call may take minutes; no connection waits with it
    began = time.monotonic()
    seconds = min(request.seconds_left, claimed.left(), CALL_SECONDS)
    try:
        reply = flight.wait(lambda: door.ask(replace(request, seconds_left=seconds)), seconds)
    except CutInFlight as cut:
        permits.record(
            claimed, call, Result(state=CallState.CUT, error=cut.why, latency_ms=_since(began), certain=False)
        )
        raise
    except BaseException as error:
        _record_failure(claimed, call, error, began, used=door.usage_of(error))
        raise
    try:
        response = plain(reply_data(door.checked(reply)))
    except DataError as error:
        _record_failure(claimed, call, error, began, used=door.usage_of(reply))
        raise
    reply = _reply(response)  # as a replay will see it
    used = _counted(call, reply.usage)
    result = Result(
        state=CallState.DONE,
        response=response,
        usage=used,
        cost_micros=prices.cost_micros(request.model, used) if used else None,
        model_returned=reply.model,
        latency_ms=_since(began),
        certain=used is not None,
    )
    return reply, permits.record(claimed, call, result)


def _record_failure(
    claimed: Claimed, call: Call, error: BaseException, began: float, *, used: Usage | None = None
) -> None:
    """A useless reply was used all the same: what it cost is booked."""
    used = _counted(call, used) if used else None
    result = Result(
        state=CallState.FAILED,
        error=told(error),
        error_class=classify(error),
        usage=used,
        cost_micros=prices.cost_micros(call.model, used) if used else None,
        latency_ms=_since(began),
        certain=used is not None or bool(getattr(error, "unbilled", False)),
    )
    said = permits.record(claimed, call, result)
    asked = getattr(error, "retry_after", None)
    if isinstance(asked, (int, float)) and not claimed.workflow.recorded:
        breakers.asked_to_wait(call.model, float(asked), said)


def _counted(call: Call, usage: Usage) -> Usage | None:
    """What a reply used; None where its provider counted nothing and an account has reserved for it: that stays
    reserved until somebody says what it was. Without such an account our estimate is all there will ever be.
    """
    silent = usage.estimated or not (usage.tokens_in or usage.tokens_out)
    return None if silent and call.metered else usage


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


def _reply(data: dict[str, Any]) -> ModelReply:
    return ModelReply(
        model=data["model"],
        text=data["text"],
        tool_calls=tuple(ToolCall(**call) for call in data["tool_calls"]),
        output=data["output"],
        usage=Usage(**data["usage"]),
    )


def message(role: str, text: str, **more: Any) -> Message:
    return Message(role=role, text=text, **more)
