"""Permits and records of single calls: one short transaction each, none held over a call. No retries here."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import Max

from runs import bodies
from runs.canonical import plain
from runs.engine import breakers, failpoints, gate, holds
from runs.engine.claimed import Claimed
from runs.engine.outcomes import Refused, Unapproved
from runs.engine.questions import action_digest
from runs.engine.record import announce_run, event, lock_run, now
from runs.engine.spend import budgets, calls, guarded
from runs.engine.spend.caps import PLACES, Asks
from runs.engine.spend.wanted import Result, Wanted
from runs.models import (
    Body,
    Breaker,
    Call,
    CallKind,
    CallState,
    Hold,
    Question,
    QuestionState,
    Run,
    Step,
    Verb,
)
from runs.models.step import CALL_MOVES, SETTLED_STEPS

_GUARDED = f"SELECT runs_guarded(%s, %s, %s, %s, %s, {PLACES})"


def recorded(claimed: Claimed, key: str) -> Call | None:
    """The last sending of this call in any attempt of the step, or None."""
    if not claimed.sent.may_have(claimed.step.pk, key):
        return None
    return (
        Call.objects.filter(step_id=claimed.step.pk, key=key, replayable=True)
        .select_related("response")
        .order_by("-send")
        .first()
    )


def permit(claimed: Claimed, wanted: Wanted) -> Call:
    """Allow one sending: controls, fence, approval, key; then breakers, rates, budgets.

    Raises Refused; Blocked when a guard has no room now; Park when only a person can give more; Unapproved, which no
    waiting will mend. Then nothing is recorded or sent.
    """
    failpoints.hit("before_permit")
    first = not claimed.sent.was_sent(claimed.step.pk, wanted.key)
    claimed.sent.uses(wanted.key)
    call, told = guarded.permitted(
        claimed,
        wanted,
        lambda asks: calls.permit(claimed, wanted, asks) or _permit(claimed, wanted, asks),
        first=first,
    )
    if told:
        guarded.tell(claimed, told)
    failpoints.hit("after_permit")
    return call


def _permit(claimed: Claimed, wanted: Wanted, asks: Asks) -> tuple[Call, list[Any]]:
    """The same at length, which says what is in the way."""
    with transaction.atomic():
        gate.shared()
        run = lock_run(claimed.run.pk)
        _check(run, claimed)
        if wanted.question_id is not None:
            _check_approval(claimed, wanted, wanted.question_id)
        return _reserved(claimed, _unwritten(claimed, wanted), asks)


def _reserved(claimed: Claimed, call: Call, asks: Asks) -> tuple[Call, list[Any]]:
    """Ask the guards, then write the row: as `runs_permit` does."""
    before: list[Any] = [call.run_id, asks.team, call.step_id, call.send == 1, asks.edition]
    with connection.cursor() as cursor:
        cursor.execute(_GUARDED, [*before, *asks.values])
        row = cursor.fetchone()
    asked: dict[str, Any] = (calls.read_json(row[0]) if row else None) or {}
    call.reserved = asked.get("taken") or None
    call.drawn = asks.drawn.amounts if asks.drawn else asked.get("drawn")
    if asked.get("at"):  # of the period that it counts in
        call.permitted_at = datetime.fromisoformat(asked["at"])
    call.save(force_insert=True)
    if asked.get("probes"):
        Breaker.objects.filter(pk__in=asked["probes"]).update(probe=call.pk)
    call.drew = calls.drew(claimed, call, asks, asked.get("lent"))
    return call, asked.get("told") or []


def _check(run: Run | None, claimed: Claimed) -> None:
    if run is None or run.fence != claimed.fence or run.lease_owner != claimed.worker:
        raise Refused("another worker holds this run", lost=True)
    if run.lease_until is None or run.lease_until <= now():
        raise Refused("the lease ran out", lost=True)
    _check_step(claimed)
    controls = holds.covering(run_id=run.pk, workflow=run.workflow)
    if controls:
        control = controls[0]
        raise Refused(f"{control.kind} of {control.scope_name} by {control.engaged_by}")
    if run.hold != Hold.NONE:
        raise Refused(f"the run is held ({run.hold})")


def _check_step(claimed: Claimed) -> None:
    """A run may go on without a step that is under way: what others did was enough."""
    if Step.objects.filter(pk=claimed.step.pk, state__in=SETTLED_STEPS).exists():
        raise Refused("this step is not needed any more", lost=True)


def _check_approval(claimed: Claimed, wanted: Wanted, question_id: int) -> None:
    approved = Question.objects.filter(
        pk=question_id,
        step_id=claimed.step.pk,
        call_key=wanted.key,
        state=QuestionState.ANSWERED,
        verb=Verb.APPROVE,
        answer_digest=wanted.digest,
    ).exists()
    if not approved:
        raise Unapproved("no approval covers exactly this action")


def _unwritten(claimed: Claimed, wanted: Wanted) -> Call:
    """The row of the next sending; its request is stored."""
    last = (
        Call.objects.filter(step_id=claimed.step.pk, key=wanted.key).aggregate(last=Max("send"))["last"] or 0
    )
    call = calls.unsent(claimed, wanted)
    call.request, call.send = bodies.keep(wanted.body), last + 1
    return call


def record(claimed: Claimed, call: Call, result: Result) -> Call:
    """Record how a call ended. What it used is always booked; when the fence has moved on, it is not replayed."""
    said = calls.record(claimed, call, result)
    if said is None:
        claimed.sent.unsure()
        said = _record(claimed, call, result)
    elif said.kind == CallKind.TOOL:
        claimed.sent.ended(said, call.request.content)
    if not claimed.workflow.recorded:
        breakers.ended(said)
    return said


def _record(claimed: Claimed, call: Call, result: Result) -> Call:
    with transaction.atomic():
        run = lock_run(claimed.run.pk)
        # Before accounts, as the straight way does: of two equal bodies the second waits for the first.
        response = bodies.store(result.response) if result.state == CallState.DONE else None
        budgets.lock_accounts()
        fresh = Call.objects.select_for_update(no_key=True).get(pk=call.pk)
        if run is None:
            return fresh
        if fresh.cost_micros is None and fresh.tokens_in is None:
            _book(run, fresh, result, overran=calls.overran(call, result))
        if result.state not in CALL_MOVES[fresh.state]:
            run.save()
            fresh.save(update_fields=["reserved", "cost_micros", "tokens_in", "tokens_out"])
            return fresh
        _fill(fresh, result, response)
        late = run.fence != claimed.fence
        if late:
            fresh.replayable = fresh.replayable and fresh.kind == CallKind.TOOL
            event(
                run,
                "voided",
                step=claimed.step,
                call=fresh.pk,
                fence=claimed.fence,
                why="came after another claim",
            )
        fresh.save()
        fresh.probing = Breaker.objects.filter(probe=fresh.pk).exists()
        event(
            run, "call", step=claimed.step, call=fresh.pk, name=fresh.name, state=fresh.state, send=fresh.send
        )
        run.save()
        announce_run(run)
    return fresh


def _fill(call: Call, result: Result, response: Body | None) -> None:
    call.state = result.state
    call.response = response
    call.error = plain(result.error)
    call.error_class = result.error_class or ""
    call.model_returned = plain(result.model_returned)[:120]
    call.latency_ms = result.latency_ms
    call.finished_at = now()
    call.handed_at = result.handed_at or call.handed_at


def _book(run: Run, call: Call, result: Result, *, overran: bool) -> None:
    """Once for each call: what stands on it is what was booked."""
    call.reserved = budgets.book(
        run.pk,
        call.pk,
        cost=result.cost_micros or 0,
        tokens=result.tokens,
        known=result.certain,
        overran=overran,
    )
    call.refresh_from_db(fields=["drawn"])
    call.cost_micros = result.cost_micros
    if result.usage:
        call.tokens_in, call.tokens_out = result.usage.tokens_in, result.usage.tokens_out
        run.tokens_in += result.usage.tokens_in
        run.tokens_out += result.usage.tokens_out
    run.cost_micros += result.cost_micros or 0


def refuse(claimed: Claimed, wanted: Wanted, *, response: Any, why: str) -> Call:
    """Record that a call was denied by a person: never sent, and replayed as denied."""
    claimed.sent.uses(wanted.key)
    claimed.sent.unsure()
    with transaction.atomic():
        run = lock_run(claimed.run.pk)
        if run is None or run.fence != claimed.fence:
            raise Refused("another worker holds this run", lost=True)
        _check_step(claimed)
        call = _unwritten(claimed, wanted)
        call.state = CallState.REFUSED
        call.response = bodies.store(response)
        call.error = plain(why)
        call.finished_at = now()
        call.save(force_insert=True)
        event(run, "call", step=claimed.step, call=call.pk, name=call.name, state=call.state, send=call.send)
        run.save()
        announce_run(run)
    return call


def approved_digest(tool: str, arguments: Any) -> str:
    return action_digest({"tool": tool, "arguments": arguments})
