"""Asking for a rehearsal and doing it. Changes no limit and nothing of any run.

A short one is done while whoever asked waits, for at most WAIT_SECONDS; a longer one by the ordinary worker. The row
says what is to be done: a message is only a hint, and the clock finds what nobody has taken up.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from celery import current_app
from django.db import OperationalError, connection, transaction
from django.db.models import Q
from psycopg.errors import QueryCanceled

from escalations import drafted, imports, limits
from escalations.audit.record import Subject, append
from escalations.audit.refused import Given, Named, recorded
from escalations.expected import IllegalMove, Invalid, Refusal
from escalations.limit_lines import about, about_new
from escalations.models import Imported, Rehearsal, RehearsalState, RehearsedRun
from escalations.roles import Act, Actor, account_of, require
from runs.canonical import plain
from runs.engine.record import now
from runs.rehearsal.comparing import as_json
from runs.rehearsal.drafts import Draft
from runs.rehearsal.history import PastRun
from runs.rehearsal.rehearsing import Rehearsal as Rehearsing
from runs.rehearsal.rehearsing import made
from runs.rehearsal.streams import Made
from runs.shown import past

WAIT_SECONDS = 1.0
LEASE_SECONDS = 60.0
RENEW_SECONDS = 5.0
POLL_SECONDS = 0.2
MOST_UNDER_WAY = 3  # of one person
MOST_KEPT = 2000  # runs that differ and are listed; the totals are of all
KEPT = timedelta(days=90)
DAYS = (1, 7, 30, 90, 365)
TASK = "escalations.rehearse"
_FIELDS = ("what", "scope_kind", "scope", "value", "mode", "traces")

T = TypeVar("T")


class _TooLong(Exception):
    """Whoever waits for it has waited long enough."""


def _named(given: Given) -> Named:
    return Act.REHEARSE_LIMIT, _about(given.get("line"), given["given"])


def _about(line: int | None, given: Mapping[str, str]) -> Subject:
    return about_new(given) if line is None else about(line)


@recorded(_named)
def ask(
    *, actor: Actor, given: Mapping[str, str], line: int | None = None, seen: str = "", days: int = 30
) -> Rehearsal:
    """Rehearse a new limit, or another value or mode of one that is there, over the runs of the last days, and over
    imported traces where `given` names some ("traces": "3,5").

    What comes back may still be under way. Raises NotAllowed, NotThere, IllegalMove, Invalid with every wrong field.
    """
    one = _ask(actor, {name: str(given.get(name, "")) for name in _FIELDS}, line, seen, days)
    if not perform(one.pk, seconds=WAIT_SECONDS):
        with contextlib.suppress(Exception):  # the clock finds it
            current_app.send_task(TASK, args=[one.pk], queue="ordinary", retry=False)
    one.refresh_from_db()
    return one


@recorded(_named)
def wait_for(
    *,
    actor: Actor,
    given: Mapping[str, str],
    line: int | None = None,
    seen: str = "",
    days: int = 30,
    seconds: float | None = None,
) -> Rehearsal:
    """The same to its end, however long it takes, or for so many seconds: then others go on with it.

    Raises what `ask` does, and Invalid with a sentence when it cannot be done.
    """
    one = _ask(actor, {name: str(given.get(name, "")) for name in _FIELDS}, line, seen, days)
    until = None if seconds is None else time.monotonic() + seconds
    left = seconds
    while not perform(one.pk, seconds=left):
        if until is not None:
            left = until - time.monotonic()
            if left <= 0:
                break
        time.sleep(POLL_SECONDS)  # a worker has taken it up
    one.refresh_from_db()
    if one.state == RehearsalState.FAILED:
        raise Invalid([("rehearsal", one.why)])
    return one


@transaction.atomic(durable=True)
def _ask(actor: Actor, given: dict[str, str], line: int | None, seen: str, days: int) -> Rehearsal:
    require(actor, Act.REHEARSE_LIMIT)
    if days not in DAYS:
        raise Invalid([("days", f"Choose one of {', '.join(map(str, DAYS))} days.")])
    by = account_of(actor)
    if by is not None and Rehearsal.objects.filter(by=by, due_at__isnull=False).count() >= MOST_UNDER_WAY:
        raise IllegalMove(f"{MOST_UNDER_WAY} rehearsals of yours are under way: wait for one of them.")
    imports.chosen(given["traces"])
    tried = _draft(given, line, seen)
    if tried.new is not None and line is None:
        limits.must_exist(tried.new)
    moment = now()
    Rehearsal.objects.filter(asked_at__lt=moment - KEPT).delete()
    one = Rehearsal.objects.create(
        digest=tried.digest,
        given=plain(given),
        line=line,
        seen=seen,
        says=tried.says[:400],
        since=moment - timedelta(days=days),
        until=moment,
        by=by,
        due_at=moment,
    )
    details = {"rehearsal": one.pk, "draft": tried.digest, "says": one.says}
    span = {"since": one.since.isoformat(), "until": one.until.isoformat()}
    append(actor=actor, act=Act.REHEARSE_LIMIT, subject=_about(line, given), details=details | span)
    return one


def _draft(given: Mapping[str, str], line: int | None, seen: str) -> Draft:
    if line is None:
        return drafted.setting(given)
    return drafted.changing(line, value=given["value"], mode=given["mode"], seen=seen)


def perform(number: int, *, seconds: float | None = None) -> bool:
    """Do it, if nobody else does; whether it is over. With `seconds` it gives up after that time, and leaves it to
    others."""
    lease = _take(number)
    if lease is None:
        return not Rehearsal.objects.filter(pk=number, due_at__isnull=False).exists()
    return _Performance(number, lease, seconds).perform()


def overlooked(most: int = 20) -> list[int]:
    """What nobody does although it is due, the oldest first. One query."""
    return list(
        Rehearsal.objects.filter(due_at__lte=now()).order_by("due_at").values_list("pk", flat=True)[:most]
    )


def _take(number: int) -> datetime | None:
    moment = now()
    lease: datetime = moment + timedelta(seconds=LEASE_SECONDS)
    mine = Rehearsal.objects.filter(pk=number, due_at__lte=moment)
    taken = mine.update(state=RehearsalState.RUNNING, due_at=lease, looked=0)
    return lease if taken else None


class _Performance:
    """One try. Its lease is its fence: whoever has lost it writes nothing."""

    def __init__(self, number: int, lease: datetime, seconds: float | None) -> None:
        self._row = Rehearsal.objects.get(pk=number)
        self._lease = lease
        self._ends = None if seconds is None else time.monotonic() + seconds
        self._renewed = time.monotonic()

    def perform(self) -> bool:
        try:
            with self._in_time():
                self._rehearse()
        except _TooLong:
            self._mine().update(state=RehearsalState.ASKED, due_at=now())
            return False
        except Refusal as why:
            self._fail(why.sentence)
        except Exception as error:
            with contextlib.suppress(
                Exception
            ):  # the database is away: the row stays due, others go on with it
                self._fail(f"It broke off: {type(error).__name__}: {str(error)[:400]}")
            raise
        return True

    def _fail(self, why: str) -> None:
        self._mine().update(state=RehearsalState.FAILED, why=plain(why), due_at=None, finished_at=now())

    @contextlib.contextmanager
    def _in_time(self) -> Iterator[None]:
        """A statement that goes on when the time is over is cancelled. Not by `statement_timeout`: a cursor that is
        kept beyond its transaction is filled while that commits, which no timeout counts."""
        if self._ends is None:
            yield
            return
        connection.ensure_connection()
        late = threading.Timer(max(0.0, self._ends - time.monotonic()), connection.connection.cancel_safe)
        late.start()
        try:
            yield
        except OperationalError as error:
            if isinstance(error.__cause__, QueryCanceled):
                raise _TooLong from error
            raise
        finally:
            late.cancel()
            late.join()  # it cancels nothing that comes after

    def _mine(self) -> Any:
        return Rehearsal.objects.filter(pk=self._row.pk, due_at=self._lease)

    def _rehearse(self) -> None:
        row = self._row
        tried = _draft(row.given, row.line, row.seen)
        rehearsing = Rehearsing(tried)
        if rehearsing.needs_stream:
            rehearsing.feed(self._calls(tried))
        found: list[dict[str, Any]] = []
        self._look(rehearsing, past.runs_between(tried, row.since, row.until, drafted.taken), found)
        totals = rehearsing.totals.as_json()
        totals["imported"] = [
            self._over(one, tried, found) for one in imports.chosen(row.given.get("traces", ""))
        ]
        found.sort(key=lambda told: told.get("success_lost") is not True)
        self._finish(found[:MOST_KEPT], totals)

    def _look(
        self, rehearsing: Rehearsing, runs: Iterable[PastRun], found: list[dict[str, Any]], **beside: str
    ) -> None:
        for run in self._timed(runs):
            one = rehearsing.look(run)
            if one is not None and (one.lost or len(found) < MOST_KEPT):
                found.append(as_json(one) | {"goal": run.goal[:120]} | beside)
            self._row.looked += 1

    def _over(self, one: Imported, tried: Draft, found: list[dict[str, Any]]) -> dict[str, Any]:
        """Imported traces by themselves: no limit of the console held where they ran."""
        rehearsing = Rehearsing(replace(tried, beside=()))
        runs: Iterable[PastRun] = self._timed(imports.histories(one))
        if rehearsing.needs_stream:
            runs = list(runs)
            rehearsing.feed(made(runs))
        self._look(rehearsing, runs, found, imported=one.name)
        return {"name": one.name, "kept": one.runs} | rehearsing.totals.as_json()

    def _calls(self, tried: Draft) -> Iterator[Made]:
        return self._timed(past.calls_until(tried, self._row.since, self._row.until))

    def _timed(self, many: Iterable[T]) -> Iterator[T]:
        """One by one, as long as the time and the lease last."""
        for one in many:
            moment = time.monotonic()
            if self._ends is not None and moment > self._ends:
                raise _TooLong
            if moment - self._renewed > RENEW_SECONDS:
                self._renewed = moment
                self._renew()
            yield one

    def _renew(self) -> None:
        lease: datetime = now() + timedelta(seconds=LEASE_SECONDS)
        if not self._mine().update(due_at=lease, looked=self._row.looked):
            raise _TooLong
        self._lease = lease

    @transaction.atomic
    def _finish(self, found: list[dict[str, Any]], totals: dict[str, Any]) -> None:
        mine = self._mine().select_for_update().filter(~Q(state=RehearsalState.DONE)).first()
        if mine is None:
            return
        RehearsedRun.objects.filter(rehearsal=mine).delete()
        RehearsedRun.objects.bulk_create(
            [RehearsedRun(rehearsal=mine, place=place, told=plain(told)) for place, told in enumerate(found)],
            batch_size=500,
        )
        mine.state, mine.totals, mine.looked = RehearsalState.DONE, totals, self._row.looked
        mine.due_at, mine.finished_at = None, now()
        mine.save()
