"""Breakers of models, tools and agents: opened by what calls came to, closed by a good probe, forced by people.

A good call of a closed breaker writes nothing here; only failures, slow calls and probes are looked at. Calls pass by
`runs_pass` (migration 0021).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from django.conf import settings
from django.db import connection, transaction

from runs.engine.record import now, wake_run
from runs.errors import ErrorClass
from runs.guards.breaking import BreakerRule, Ended, makes_late, open_for, opens, own_ms
from runs.models import Breaker, BreakerChange, BreakerState, Call, CallKind, CallState, Run, RunState, Wait

LAST = 100  # calls that are looked at
_ITS_FAULT = (ErrorClass.RECOVERABLE, ErrorClass.UNFORESEEN, "")
_UNSENT = (CallState.CUT, CallState.REFUSED)  # cut from our side, or not even sent: that says nothing
_ENDED = (CallState.DONE, CallState.FAILED, CallState.UNKNOWN)
_TIMED = ("kind", "state", "error_class", "latency_ms")
# By which index, and of which kind of call.
_LAST = {"model": ("model", "model"), "tool": ("name", "tool"), "agent": ("name", "model")}


def rule() -> BreakerRule:
    """As the settings say."""
    return BreakerRule(**settings.RUNS_BREAKERS)


def ended(call: Call) -> None:
    """Look at a call that has just ended, when it failed, was slow, or was a probe."""
    counts = rule()
    slow = call.latency_ms is not None and call.latency_ms > counts.slow_ms
    failed = call.state in (CallState.FAILED, CallState.UNKNOWN)
    late = counts.try_slow_ms > 0 and _makes_late(call)
    if not (slow or failed or late or call.probing):
        return
    probing = _probing(call.pk)
    for kind, name in _of(call):
        if probing and (kind, name) in probing:
            if call.state in _UNSENT or (kind == "agent" and _providers(call)):
                _unprobed(kind, name, call)
                continue
            _probed(kind, name, call, good=not _counts(kind, call, slow, _is_late(call)))
        elif _counts(kind, call, slow, late):
            _look(kind, name, call)


def blamed(call_id: int) -> None:
    """A reply was refused: that counts against the agent that was asked."""
    call = Call.objects.filter(pk=call_id).first()
    if call is not None and call.name:
        _look("agent", call.name, call)


def asked_to_wait(model: str, seconds: float, call: Call) -> None:
    """The provider said when to come again (Retry-After): nobody asks this model sooner."""
    if seconds > 0:
        _open("model", model, f"its provider asks to wait {seconds:g} s", call, seconds=seconds)


def _of(call: Call) -> Iterable[tuple[str, str]]:
    if call.kind == CallKind.MODEL:
        return (("model", call.model), ("agent", call.name))
    return (("tool", call.name),) if call.kind == CallKind.TOOL else ()


def _counts(kind: str, call: Call, slow: bool, late: bool) -> bool:
    """Whether a call is held against what the breaker stands before. How long one answer takes is the model's: an
    agent is not kept from another one for it, but may be for what its answers in one try took together."""
    if kind == "agent":
        return late or (call.state == CallState.FAILED and not _providers(call))
    return slow or _providers(call)


def _makes_late(call: Call) -> bool:
    """Whether its agent's try has become slow by this call. One query of a model's call."""
    own = _own_ms(call)
    if own is None:
        return False
    earlier = Call.objects.filter(run_id=call.run_id, attempt_id=call.attempt_id, pk__lt=call.pk)
    mine = earlier.filter(kind=CallKind.MODEL, name=call.name)
    return makes_late(rule(), [_own_ms(one) for one in mine.only(*_TIMED)], own)


def _is_late(call: Call) -> bool:
    """Whether a probe alone took as long as a whole try may: what its try took before it was no probe's."""
    return makes_late(rule(), (), _own_ms(call))


def _own_ms(call: Call) -> int | None:
    if call.kind != CallKind.MODEL or call.state not in _ENDED:
        return None
    return own_ms(rule(), call.latency_ms, others=_providers(call))


def _providers(call: Call) -> bool:
    """Whether a failure is that of a model or tool. Of a model it is none of its agents'."""
    if call.state == CallState.UNKNOWN:
        return True
    return call.state == CallState.FAILED and call.error_class in _ITS_FAULT


def _probing(call_id: int) -> set[tuple[str, str]]:
    found = Breaker.objects.filter(probe=call_id, state=BreakerState.HALF_OPEN)
    return set(found.values_list("kind", "name"))


def _look(kind: str, name: str, call: Call | None) -> None:
    """Open the breaker if its last calls say so."""
    why = opens(rule(), _last(kind, name))
    if why:
        _open(kind, name, why, call)


def _last(kind: str, name: str) -> list[Ended]:
    """What the last calls of the window came to, newest first."""
    its = "c.error_class IN ('recoverable', 'unforeseen', '')"
    what = (
        f"NOT c.replayable OR c.state = 'failed' AND NOT {its}"
        if kind == "agent"
        else f"c.state = 'unknown' OR c.state = 'failed' AND {its}"
    )
    by, of = _LAST[kind]
    counts = rule()
    together = kind == "agent" and counts.try_slow_ms > 0  # a try's calls count also from before the window
    # A range in the index's own order, and the window afterwards: by "=" with the window beside it every call that
    # there ever was would be read until enough of the last minute are found.
    sql = f"""
        SELECT {what}, c.state = 'unknown' OR c.state = 'failed' AND {its}, c.latency_ms, c.attempt_id,
            c.finished_at > clock_timestamp() - make_interval(secs => %s) AS inside FROM (
            SELECT * FROM runs_call c WHERE c.{by} >= %s AND c.{by} <= %s AND c.kind = '{of}'
                AND c.state IN ('done', 'failed', 'unknown') ORDER BY c.{by}, c.id DESC LIMIT %s
        ) c WHERE %s OR c.finished_at > clock_timestamp() - make_interval(secs => %s) ORDER BY c.id DESC
    """
    with connection.cursor() as cursor:
        cursor.execute(sql, [counts.window, name, name, LAST, together, counts.window])
        rows = cursor.fetchall()
    if together:
        return [
            Ended(
                failed=bool(failed),
                latency_ms=own_ms(counts, latency, others=bool(others)),
                of_try=attempt,
                inside=inside,
            )
            for failed, others, latency, attempt, inside in rows
        ]
    timed = kind != "agent"
    return [
        Ended(failed=bool(failed), latency_ms=latency if timed else None) for failed, _, latency, _, _ in rows
    ]


def _locked(kind: str, name: str) -> Breaker:
    Breaker.objects.bulk_create([Breaker(kind=kind, name=name)], ignore_conflicts=True)
    return Breaker.objects.select_for_update().get(kind=kind, name=name)


@transaction.atomic
def _open(kind: str, name: str, why: str, call: Call | None, *, seconds: float | None = None) -> None:
    breaker = _locked(kind, name)
    if breaker.state == BreakerState.OPEN and seconds is None:
        return
    moment = now()
    breaker.opens += breaker.state != BreakerState.OPEN
    retry_at = moment + timedelta(seconds=open_for(rule(), breaker.opens) if seconds is None else seconds)
    if breaker.state == BreakerState.OPEN and breaker.retry_at and breaker.retry_at >= retry_at:
        return
    breaker.state, breaker.why, breaker.retry_at = BreakerState.OPEN, why, retry_at
    breaker.opened_at = breaker.changed_at = moment
    breaker.probe = breaker.probe_until = None
    breaker.save()
    _note(breaker, why, call)


@transaction.atomic
def _probed(kind: str, name: str, call: Call, *, good: bool) -> None:
    breaker = _locked(kind, name)
    if breaker.probe != call.pk or breaker.state != BreakerState.HALF_OPEN:
        return
    if not good:
        _open(kind, name, "its probe failed or was slow", call)
        return
    breaker.state, breaker.why, breaker.opens = BreakerState.CLOSED, "", 0
    breaker.probe = breaker.probe_until = breaker.retry_at = breaker.opened_at = None
    breaker.changed_at = now()
    breaker.save()
    _note(breaker, "its probe went well", call)
    let_go(breaker)


@transaction.atomic
def _unprobed(kind: str, name: str, call: Call) -> None:
    """The probe was cut from our side, which says nothing: another may pass at once."""
    breaker = _locked(kind, name)
    if breaker.probe != call.pk or breaker.state != BreakerState.HALF_OPEN:
        return
    breaker.probe, breaker.probe_until = None, now()
    breaker.save()
    let_go(breaker)


def _note(breaker: Breaker, why: str, call: Call | None, *, by: str = "") -> None:
    BreakerChange.objects.create(
        breaker=breaker,
        state=breaker.forced or breaker.state,
        why=why,
        by=by,
        run_id=call.run_id if call else None,
        call_id=call.pk if call else None,
    )


@transaction.atomic
def force(kind: str, name: str, forced: str, *, by: str, why: str) -> Breaker:
    """Hold a breaker open or closed whatever it finds, or let it decide by itself again (empty). A person's act: the
    caller writes it into the journal, in the same transaction."""
    breaker = _locked(kind, name)
    breaker.forced, breaker.forced_by, breaker.forced_why = forced, by, why
    breaker.changed_at = now()
    if forced == "" and breaker.state == BreakerState.CLOSED:
        breaker.opens = 0
    breaker.save()
    _note(breaker, why, None, by=by)
    if forced != "open":
        let_go(breaker)
    return breaker


def let_go(breaker: Breaker) -> None:
    """Wake those that wait for it: they need not wait for their next look."""
    waiting = list(Wait.objects.filter(breaker=breaker).order_by("since").values_list("step_id", "run_id"))
    for step_id, run_id in waiting:
        transaction.on_commit(lambda step_id=step_id, run_id=run_id: _wake(step_id, run_id), robust=True)  # type: ignore[misc]


def _wake(step_id: int, run_id: int) -> None:
    with transaction.atomic():
        run = Run.objects.select_for_update(no_key=True).filter(pk=run_id).first()
        if run is None or run.final:
            return
        moment = now()
        run.steps.filter(pk=step_id, state="sleeping").update(due_at=moment)
        if run.state == RunState.SLEEPING:
            Run.objects.filter(pk=run_id).update(due_at=moment)
            wake_run(run)
