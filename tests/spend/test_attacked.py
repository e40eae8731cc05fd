"""Attacks on the guards of a permit that once went through: each of these passed something, lost it, or blocked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from django.db import OperationalError, connection, transaction

from runs import bodies
from runs.engine import breakers
from runs.engine.claimed import Claimed
from runs.engine.outcomes import Blocked, Later, Park
from runs.engine.settle import settle
from runs.engine.spend import budgets, permits
from runs.engine.spend.estimates import Estimate
from runs.engine.spend.wanted import Result
from runs.models import Account, Breaker, Call, CallState, Chunk, Event, Run, Wait
from tests import patience
from tests.spend.conftest import account, asking, at_work, held, limit, tried, used
from tests.spend.test_breakers import due, opened

pytestmark = pytest.mark.django_db(transaction=True)
COST = Estimate(asking()).of("cost")
NEED = Estimate(asking()).of("tokens")
LOST = Result(state=CallState.FAILED, error="timeout", certain=False)
_WAITS = "SELECT count(*) FROM pg_locks WHERE NOT granted"


def aside(act: Callable[[], object]) -> threading.Thread:
    """Do it on a connection of its own; returns once it waits for a lock."""

    def go() -> None:
        try:
            act()
        finally:
            connection.close()

    thread = threading.Thread(target=go)
    thread.start()
    patience.until(_waits, "it waits")
    return thread


def _waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_WAITS)
        row = cursor.fetchone()
    return bool(row and row[0])


def free(sql: str, number: int) -> bool:
    """Whether nobody holds that row."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"{sql} FOR UPDATE NOWAIT", [number])
    except OperationalError:
        return False
    return True


def lock(sql: str, number: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"{sql} FOR UPDATE", [number])


ACCOUNT, PURSE = "SELECT FROM runs_account WHERE id = %s", "SELECT FROM runs_purse WHERE run_id = %s"


def _drawn_from_the_narrow_one() -> tuple[Claimed, Call]:
    """The workflow's budget is wide, so the run holds some in advance; the organisation's is asked at each call."""
    claimed = at_work()
    limit("cost/day", COST * 40)
    limit("cost/day", COST * 100_000, "workflow:plain")
    permits.permit(claimed, asking("before"))
    call = permits.permit(claimed, asking("call"))
    assert call.reserved is not None
    return claimed, call


def test_a_record_that_overruns_takes_accounts_in_the_order_of_the_permits() -> None:
    claimed, call = _drawn_from_the_narrow_one()
    wide, narrow = account("cost/day"), account("cost/day", "workflow:plain")
    with transaction.atomic():
        lock(ACCOUNT, wide.pk)
        thread = aside(lambda: permits.record(claimed, call, used(cost=COST * 3)))
        order = free(ACCOUNT, narrow.pk)
    thread.join()
    assert order
    assert held(wide.pk) == held(narrow.pk) == (COST * 3, COST)


def test_a_record_takes_what_the_run_holds_before_any_account() -> None:
    claimed = at_work()
    limit("cost/day", COST * 100_000)
    limit("tokens/day", NEED * 100_000)
    call = permits.permit(claimed, asking("call"))
    paid, counted = account("cost/day"), account("tokens/day")
    with transaction.atomic():
        lock(PURSE, claimed.run.pk)
        thread = aside(lambda: permits.record(claimed, call, used(cost=COST * 3, tokens_out=5)))
        order = free(ACCOUNT, paid.pk)
    thread.join()
    assert order
    assert (held(paid.pk), held(counted.pk)) == ((COST * 3, 0), (11, 0))


def test_a_permit_takes_accounts_from_wide_to_narrow_whether_it_holds_something_in_advance_or_not() -> None:
    first, second = at_work(), at_work()
    limit("requests/minute", 100)
    made = limit("cost/day", COST * 100_000, "workflow:plain")
    permits.permit(first, asking("opens"))
    wide, narrow = account("requests/minute"), account("cost/day", "workflow:plain")
    assert _narrow_is_free(second, wide.pk, narrow.pk)  # it holds nothing
    assert Chunk.objects.get(run_id=second.run.pk).held > COST
    made.valid_until, made.ended_at, made.ended_by = made.valid_from, made.valid_from, "Ines"
    made.save()
    limit("cost/day", COST * 10, "workflow:plain")
    assert _narrow_is_free(second, wide.pk, narrow.pk)  # it holds what does not count any more


def _narrow_is_free(claimed: Claimed, wide: int, narrow: int) -> bool:
    """While the permit waits for the wide one."""
    with transaction.atomic():
        lock(ACCOUNT, wide)
        thread = aside(lambda: permits.permit(claimed, asking("next")))
        order = free(ACCOUNT, narrow)
    thread.join()
    return order


def test_a_settlement_takes_accounts_in_the_order_of_the_permits() -> None:
    claimed, call = _drawn_from_the_narrow_one()
    permits.record(claimed, call, LOST)
    names = [Account.objects.get(pk=one[0]).scope_kind for one in call.reserved or []]
    assert sorted(names) == ["organisation", "workflow"]
    assert budgets.reconcile(call.pk, call.run_id, used={"cost": 7})
    assert held(account("cost/day").pk) == held(account("cost/day", "workflow:plain").pk) == (7, COST)


def test_a_call_that_did_not_count_any_more_frees_no_place_when_it_comes_late() -> None:
    dead, living = at_work(), at_work()
    limit("concurrency", 1)
    late = permits.permit(dead, asking())
    Run.objects.filter(pk=dead.run.pk).update(fence=dead.fence + 1)
    assert isinstance(tried(living, asking("a")), Call)
    permits.record(dead, late, used())
    assert account("concurrency").reserved == 1
    assert isinstance(tried(living, asking("b")), Blocked)


def test_a_limit_of_runs_set_in_the_middle_counts_the_calls_under_way_in_full() -> None:
    claimed = at_work()
    under_way = permits.permit(claimed, asking("under way"))
    limit("cost/run", 10**9)
    third = permits.permit(claimed, asking("third"))
    permits.record(claimed, under_way, used(cost=55))
    permits.record(claimed, third, used(cost=7))
    assert held(account("cost/run", "run:").pk) == (62, 0)


def test_an_account_that_is_opened_later_is_told_of_what_is_uncertain() -> None:
    claimed = at_work()
    limit("cost/day", COST * 9)
    call = permits.permit(claimed, asking("lost"))
    permits.record(claimed, call, LOST)
    limit("cost/month", 10**9)
    limit("cost/run", 10**9)
    permits.record(claimed, permits.permit(claimed, asking("next")), used(cost=1))
    assert budgets.reconcile(call.pk, call.run_id, used=None)
    for what, scope in (("cost/day", ""), ("cost/month", ""), ("cost/run", "run:")):
        assert held(account(what, scope).pk) == (COST + 1, 0), what


@pytest.mark.parametrize("lost", [True, False], ids=["uncertain", "under way"])
@pytest.mark.parametrize("day", [COST * 9, COST * 100_000], ids=["reserved", "drawn"])
@pytest.mark.parametrize(("later", "scope"), [("cost/month", ""), ("cost/run", "run:")])
def test_what_may_still_be_used_cannot_be_spent_again_under_a_later_limit(
    lost: bool, day: int, later: str, scope: str
) -> None:
    claimed = at_work()
    limit("cost/day", day)
    permits.permit(claimed, asking("first"))
    call = permits.permit(claimed, asking("second"))
    if lost:
        permits.record(claimed, call, LOST)
    limit(later, COST * 5 // 2)
    assert isinstance(tried(claimed, asking("next")), Park)
    assert held(account(later, scope).pk) == (0, COST * 2)
    permits.record(claimed, call, used(cost=7))
    assert held(account(later, scope).pk) == (7, COST)
    assert isinstance(tried(claimed, asking("next")), Call)
    assert held(account(later, scope).pk) == (7, COST * 2)


def test_usage_that_comes_after_nobody_knew_is_booked_once_and_stands_on_the_call() -> None:
    claimed = at_work()
    limit("cost/day", COST * 9)
    call = permits.permit(claimed, asking())
    permits.record(claimed, call, LOST)
    for _ in range(3):
        permits.record(claimed, call, used(cost=500))
    assert held(account("cost/day").pk) == (500, 0)
    assert Call.objects.get(pk=call.pk).cost_micros == 500
    run = Run.objects.get(pk=call.run_id)
    assert (run.cost_micros, run.tokens_out) == (500, 1000)


@pytest.mark.parametrize("state", [CallState.CUT, CallState.REFUSED])
def test_a_probe_that_was_cut_or_never_sent_says_nothing_about_what_it_probed(state: CallState) -> None:
    claimed = at_work()
    breaker = opened(claimed)
    due(breaker)
    probe = permits.permit(claimed, asking("probe", name="p"))
    permits.record(claimed, probe, Result(state=state, error="a stop", certain=False, latency_ms=2))
    breaker.refresh_from_db()
    assert breaker.state != "closed"
    another = permits.permit(claimed, asking("another", name="p"))  # at once: nothing probes any more
    assert isinstance(tried(claimed, asking("third", name="p")), Blocked)
    permits.record(claimed, another, used())
    assert Breaker.objects.get(pk=breaker.pk).state == "closed"


def test_where_the_second_of_two_breakers_refuses_nothing_stays_of_the_first() -> None:
    claimed = at_work()
    breaker = opened(claimed)
    due(breaker)
    breakers.force("agent", "writer", "open", by="Ines", why="it invents")
    before = Breaker.objects.filter(pk=breaker.pk).values().get()
    assert isinstance(tried(claimed, asking("x")), Blocked)
    assert Breaker.objects.filter(pk=breaker.pk).values().get() == before


def test_people_are_warned_by_the_call_that_passes_the_limit_and_by_no_later_one() -> None:
    claimed = at_work()
    limit("cost/day", COST * 4, mode="warn")
    for n in range(5):
        assert not Event.objects.filter(kind="guard").exists(), n
        permits.permit(claimed, asking(f"k{n}"))
    (told,) = Event.objects.filter(kind="guard").values_list("data", flat=True)
    assert (told["guard"], told["mode"]) == ("cost", "warn")


def test_who_waits_for_one_rate_and_then_for_another_keeps_its_place() -> None:
    claimed = at_work()
    limit("requests/minute", 1)
    permits.permit(claimed, asking("a"))
    stood = tried(claimed, asking("b"))
    assert isinstance(stood, Blocked)
    settle(claimed, Later(refusal=stood.refusal))
    first = Wait.objects.get()
    other = Account.objects.create(kind="concurrency", scope_kind="organisation", begins=first.since)
    again = _claimed_again(claimed)
    settle(again, Later(refusal=replace(stood.refusal, guard="concurrency", window="", account=other.pk)))
    second = Wait.objects.get()
    assert second.account_id == other.pk
    assert second.since == first.since


def _claimed_again(claimed: Claimed) -> Claimed:
    from runs.engine.claim import claim
    from tests.runs.conftest import only

    run = Run.objects.get(pk=claimed.run.pk)
    run.steps.update(due_at=run.created_at)
    Run.objects.filter(pk=run.pk).update(due_at=run.created_at)
    return only(claim(run.pk, worker="w"))


def test_a_late_record_stores_its_reply_before_it_takes_an_account() -> None:
    claimed = at_work()
    limit("cost/day", COST * 10)
    call = permits.permit(claimed, asking())
    Run.objects.filter(pk=call.run_id).update(fence=claimed.fence + 1)
    paid = account("cost/day")
    with transaction.atomic():
        bodies.store(used().response)
        thread = aside(lambda: permits.record(claimed, call, used(cost=COST * 3)))
        order = free(ACCOUNT, paid.pk) and free(PURSE, claimed.run.pk)
    thread.join()
    assert order
    assert held(paid.pk) == (COST * 3, 0)
