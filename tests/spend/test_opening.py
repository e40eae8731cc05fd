"""An account is opened late in a busy month: exact whatever goes on meanwhile, and a stop does not wait for it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction

from escalations import controls
from runs.engine import gate
from runs.engine.claimed import Claimed
from runs.engine.outcomes import Refused
from runs.engine.spend import opening, permits
from runs.engine.spend.wanted import Result
from runs.models import Account, Breaker, Call, CallState
from tests import factories, patience
from tests.spend.audit import drifts
from tests.spend.conftest import MODEL, account, asking, at_work, keep_leases, limit, tried, used

pytestmark = pytest.mark.django_db(transaction=True)
KINDS = ("cost/month", "cost/hour", "tokens/day", "tokens/minute", "requests/minute", "concurrency")
LOST = Result(state=CallState.FAILED, error="timeout", certain=False)
HELD_UP = 70_999  # a lock of these tests, for which adding up waits here


def work(count: int) -> list[Claimed]:
    for kind, name in (("model", MODEL), ("agent", "writer")):
        Breaker.objects.create(
            kind=kind, name=name, forced="closed"
        )  # calls fail here, and that is not the matter
    claims = [at_work() for _ in range(count)]
    keep_leases()
    return claims


def before(monkeypatch: pytest.MonkeyPatch, acts: dict[str, Callable[[], Any]]) -> None:
    """What others do just before a statement of an opening, each in a thread of its own."""
    real = opening._row

    def row(sql: str, values: Any) -> Any:
        act = acts.pop(sql, None)
        if act is not None:
            elsewhere(act)
        return real(sql, values)

    monkeypatch.setattr(opening, "_row", row)


def elsewhere(act: Callable[[], Any]) -> None:
    def go() -> None:
        try:
            act()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(go).result(patience.SECONDS)


@pytest.mark.parametrize("what", KINDS)
@pytest.mark.parametrize("seed", range(2))
def test_an_account_is_exact_whatever_ends_or_begins_while_it_is_opened(
    what: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice, claims = random.Random(seed), work(3)
    limit("tokens/hour", 10**9, "workflow:plain")  # so that calls have reserved something, and are uncertain
    flying: list[tuple[Claimed, Call]] = []

    def permit(count: int) -> None:
        for _ in range(count):
            claimed = dice.choice(claims)
            flying.append((claimed, permits.permit(claimed, asking(f"k{dice.random()}"))))

    def end(count: int) -> None:
        for _ in range(min(count, len(flying))):
            claimed, call = flying.pop(dice.randrange(len(flying)))
            permits.record(claimed, call, dice.choice([used(tokens_in=7, tokens_out=11, cost=13), LOST]))

    def book_uncertain() -> None:
        with connection.cursor() as cursor:
            for call in Call.objects.filter(state="failed", reserved__isnull=False)[:2]:
                cursor.execute("SELECT runs_settle(%s, 17)", [call.pk])

    def meanwhile() -> None:
        permit(3)
        end(3)
        book_uncertain()

    permit(12)
    end(6)
    # No limit asks for it, so that calls are permitted meanwhile as well; those that need it wait for it.
    before(monkeypatch, {opening._UPTO: meanwhile, opening._FOUND: meanwhile, opening._OPEN: meanwhile})
    kind, _, window = what.partition("/")
    made = opening.open_account(kind, window, "organisation", "")
    assert made == account(what).pk
    assert opening.open_account(kind, window, "organisation", "") is None
    assert "\n".join(drifts()) == ""
    limit(what, 10**9)  # whoever permits now asks for it
    meanwhile()
    end(len(flying))
    book_uncertain()
    assert "\n".join(drifts()) == ""


def test_many_that_need_it_at_once_add_it_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    claims, sums = work(6), []
    before(monkeypatch, {})
    real = opening._row

    def row(sql: str, values: Any) -> Any:
        if sql is opening._FOUND:
            sums.append(1)
            time.sleep(0.3)
        return real(sql, values)

    monkeypatch.setattr(opening, "_row", row)
    limit("cost/month", 10**9)

    def go(claimed: Claimed) -> Any:
        try:
            return tried(claimed, asking("k"))
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as threads:
        assert all(isinstance(one, Call) for one in threads.map(go, claims))
    assert len(sums) == 1
    assert "\n".join(drifts()) == ""


def test_a_stop_is_in_force_at_once_while_an_account_is_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight permits need the account; what they hold while they wait for it is nothing."""
    admin, claims = factories.person("ines", "admin"), work(8)
    slow = (
        f"SELECT found.spent, found.again FROM pg_advisory_xact_lock_shared({HELD_UP}),"
        " runs_open_found(%s, %s, %s, %s, %s, %s) found"
    )
    monkeypatch.setattr(opening, "_FOUND", slow)
    permits.permit(claims[0], asking("before"))
    limit("cost/month", 10**9)
    stood: list[Any] = []

    def go(claimed: Claimed) -> None:
        try:
            stood.append(tried(claimed, asking("k")))
        except Refused as refused:
            stood.append(refused)
        finally:
            connection.close()

    threads = [threading.Thread(target=go, args=[one]) for one in claims]
    with held_up():
        for thread in threads:
            thread.start()
        patience.until(somebody_adds_up)
        patience.ends(closes_the_gate)
        assert not stood, "somebody did not wait for the account"
        patience.ends(lambda: controls.engage(actor=admin, kind="stop", scope_kind="everything"))
    patience.joined(*threads)
    assert [type(one) for one in stood] == [Refused] * 8  # the stop came first
    assert Call.objects.count() == 1


def closes_the_gate() -> None:
    with transaction.atomic():
        gate.exclusive()


@contextmanager
def held_up() -> Iterator[None]:
    """While inside, adding up goes on and on."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [HELD_UP])
        yield
        cursor.execute("SELECT pg_advisory_unlock(%s)", [HELD_UP])


def somebody_adds_up() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE objid = %s AND NOT granted", [HELD_UP])
        return bool(cursor.fetchone() == (1,))


def test_an_opening_that_fails_leaves_no_lock_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(sql: str, values: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(opening, "_row", broken)
    with pytest.raises(ZeroDivisionError):
        opening.open_account("cost", "month", "organisation", "")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s", [opening.OPENING]
        )
        assert cursor.fetchone() == (0,)
    assert gate.GATE != opening.OPENING
    assert not Account.objects.exists()
