"""The straight way of a call: its permit and its record, one SQL function each, committed by itself. Decides nothing
that is not plain, and never says why: then `permits` does it at length.

The functions are in runs/migrations/0036_lent.py. Both use the session of the caller: whoever hands an effect
over holds the gate with it, and a second session would wait behind a stop that waits for the first.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.db import connection
from psycopg.types.json import Jsonb

from runs import bodies
from runs.canonical import plain
from runs.engine.claimed import Claimed
from runs.engine.record import tell_run
from runs.engine.spend import lent
from runs.engine.spend.caps import PLACES, Asks
from runs.engine.spend.lent import Drawn
from runs.engine.spend.wanted import Result, Wanted
from runs.models import Call, CallState

_PERMIT = f"SELECT * FROM runs_permit({', '.join(['%s'] * 21)}, {PLACES})"
_RECORD = f"SELECT * FROM runs_record({', '.join(['%s'] * 17)})"


_SPENDS = frozenset({"cost", "tokens"})


def unsent(claimed: Claimed, wanted: Wanted) -> Call:
    """The row of a call as it would be permitted; neither it nor its request is stored yet."""
    return Call(
        run_id=claimed.run.pk,
        step_id=claimed.step.pk,
        attempt_id=claimed.attempt.pk,
        kind=wanted.kind,
        name=wanted.name,
        key=wanted.key,
        fence=claimed.fence,
        request=wanted.body,
        effect=wanted.effect,
        egress=wanted.egress,
        digest=wanted.digest,
        question_id=wanted.question_id,
        simulated=wanted.simulated,
        model=wanted.model,
        prompt_version=wanted.prompt_version,
        parameters=plain(wanted.parameters or {}),
    )


def permit(claimed: Claimed, wanted: Wanted, asks: Asks) -> tuple[Call, list[Any]] | None:
    """Allow one sending, and what guards noted beside it; None when something is in the way, or may be.

    Raises DatabaseError with what a guard refuses (`guarded`).
    """
    call = unsent(claimed, wanted)
    request = call.request
    row = _row(
        _PERMIT,
        [
            *(call.run_id, call.fence, claimed.worker, call.step_id, call.attempt_id),
            *(str(call.kind), call.name, call.key, request.digest, request.content, request.size),
            *(str(call.effect), call.egress, call.digest, call.question_id, call.simulated, call.model),
            *(call.prompt_version, Jsonb(call.parameters), asks.edition, asks.team, *asks.values),
        ],
    )
    if row is None:
        return None
    call.pk, call.send, call.permitted_at, reserved, told, call.drawn, said = row
    call.reserved = read_json(reserved)
    call._state.adding = False
    call.drew = drew(claimed, call, asks, read_json(said))
    return call, read_json(told) or []


def drew(claimed: Claimed, call: Call, asks: Asks, said: Any) -> Drawn | None:
    """What a permitted call took of its run's purse; remembers what the permit `said` of the purse."""
    call.metered = asks.place is not None and not _SPENDS.isdisjoint(asks.place.kinds)
    if said and asks.place is not None:
        lent.keep(claimed.run.pk, claimed.fence, said, asks.place.keys, epoch=asks.place.epoch)
        return Drawn(edition=said["edition"], kinds=said["kinds"], amounts=call.drawn) if call.drawn else None
    return asks.drawn


def overran(call: Call, result: Result) -> bool:
    """Whether it used more than it had taken of its run's purse, as far as anybody knows."""
    drew: Drawn | None = call.drew
    if drew is None:
        return call.drawn is not None
    return drew.overrun(cost=result.cost_micros or 0, tokens=result.tokens)


def record(claimed: Claimed, call: Call, result: Result) -> Call | None:
    """Record how a permitted call ended, and book what it used; None when the fence has moved on, or somebody has said
    already how it ended."""
    response = bodies.of(result.response) if result.state == CallState.DONE else None
    body = (response.digest, response.content, response.size) if response else (None, None, None)
    used = (result.usage.tokens_in, result.usage.tokens_out) if result.usage else (None, None)
    call.error, call.error_class = plain(result.error), result.error_class or ""
    call.model_returned = plain(result.model_returned)[:120]
    row = _row(
        _RECORD,
        [
            *(
                call.run_id,
                claimed.fence,
                call.pk,
                str(result.state),
                *body,
                call.error,
                str(call.error_class),
            ),
            *(
                *used,
                result.cost_micros,
                call.model_returned,
                result.latency_ms,
                result.handed_at,
                result.certain,
                overran(call, result),
            ),
        ],
    )
    if row is None:
        return None
    claimed.run.event_seq, call.finished_at, reserved, call.probing = row
    call.reserved = read_json(reserved)
    call.state, call.response, call.cost_micros = result.state, response, result.cost_micros
    call.tokens_in, call.tokens_out = used
    call.latency_ms, call.handed_at = result.latency_ms, result.handed_at or call.handed_at
    if call.drew is not None:
        cost = result.cost_micros or 0
        lent.ended(claimed.run.pk, claimed.fence, call.drew, cost=cost, tokens=result.tokens)
    tell_run(claimed.run)
    return call


def read_json(value: Any) -> Any:
    """Django's connections give jsonb as text."""
    return json.loads(value) if isinstance(value, str) else value


def _row(sql: str, values: Sequence[Any]) -> tuple[Any, ...] | None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        found: tuple[Any, ...] | None = cursor.fetchone()
    return found
