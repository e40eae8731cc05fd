"""A worker keeps in mind what is left of a run's purse. Whatever it forgets, mistakes or is told too late: accounts say
what the calls say, and nothing passes that does not fit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest
from django.db import connection, connections
from django.db.models import F

from runs.engine.claimed import Claimed
from runs.engine.outcomes import Blocked, Park
from runs.engine.sent import Sent
from runs.engine.spend import budgets, lent, permits
from runs.engine.spend.estimates import Estimate
from runs.models import Account, Call, CallState, Purse, RateEntry, Run
from tests.spend.audit import drifts
from tests.spend.conftest import account, asking, at_work, held, keep_leases, limit, now, tried, used

pytestmark = pytest.mark.django_db(transaction=True)
COST = Estimate(asking()).of("cost")
PLENTY = COST * 100_000


def _until_refused(claimed: Claimed, name: str = "k") -> int:
    """Call after call, each ended before the next; how many passed."""
    try:
        for n in count():
            call = tried(claimed, asking(f"{name}{n}"))
            if not isinstance(call, Call):
                return n
            permits.record(claimed, call, used(cost=COST))
    finally:
        connections.close_all()
    raise AssertionError


def test_runs_that_hold_some_in_advance_pass_together_exactly_as_often_as_fits() -> None:
    limit("cost/day", COST * 290)  # so plenty at first that some is held in advance
    claims = [at_work() for _ in range(6)]
    keep_leases()
    with ThreadPoolExecutor(6) as threads:
        passed = list(threads.map(_until_refused, claims))
    # Whoever was refused just while another held some comes again: then it fits.
    assert sum(passed) + sum(_until_refused(one, "again") for one in claims) == 290
    assert drifts() == []


def test_a_rate_held_in_advance_by_one_run_comes_back_before_another_waits() -> None:
    limit("requests/minute", 100)
    first, second = at_work(), at_work()
    keep_leases()
    assert isinstance(tried(first, asking()), Call)
    rate = account("requests/minute")
    assert sum(RateEntry.objects.values_list("amount", flat=True)) > 1
    assert _until_refused(second) == 99
    assert sum(RateEntry.objects.filter(account=rate).values_list("amount", flat=True)) == 100
    assert isinstance(tried(first, asking("b")), Blocked)
    assert drifts() == []


def test_what_is_held_of_a_rate_counts_until_a_minute_after_its_last_moment_and_is_not_used_after_it() -> (
    None
):
    limit("requests/minute", 1000)
    claimed = at_work()
    permits.permit(claimed, asking("a"))
    entry, purse = RateEntry.objects.get(), Purse.objects.get()
    assert purse.ends == [entry.at]
    assert purse.until == entry.at
    assert entry.at > now()
    permits.permit(claimed, asking("b"))
    assert RateEntry.objects.get().amount == entry.amount
    _ten_seconds_later()
    permits.permit(claimed, asking("c"))
    assert RateEntry.objects.count() == 2
    assert drifts() == []


def _ten_seconds_later() -> None:
    past = F("at") - timedelta(seconds=10)
    RateEntry.objects.update(at=past)
    entry = RateEntry.objects.get()
    Purse.objects.update(ends=[entry.at], until=entry.at)


def test_tokens_of_a_minute_that_a_slow_call_did_not_use_go_back_to_when_they_were_reserved() -> None:
    limit("tokens/minute", 10_000_000)
    claimed = at_work()
    slow = permits.permit(claimed, asking("slow"))
    permits.permit(claimed, asking("beside"))
    _ten_seconds_later()
    before = RateEntry.objects.get()
    permits.permit(claimed, asking("later"))
    slow.refresh_from_db()
    assert slow.drawn == [None]
    assert slow.reserved[0][1] > 16
    permits.record(claimed, slow, used(tokens_in=6, tokens_out=10))
    old = RateEntry.objects.get(at=before.at)
    assert old.amount == 16 + Call.objects.get(key="beside").reserved[0][1]


def test_a_worker_that_forgets_what_it_was_lent_asks_again_and_nothing_is_counted_twice() -> None:
    claimed = at_work()
    limit("cost/day", PLENTY)
    limit("turns/run", 1000)
    for n in range(5):
        call = permits.permit(claimed, asking(f"k{n}"))
        lent.forget(claimed.run.pk)
        permits.record(claimed, call, used(cost=5))
    assert held(account("cost/day").pk) == (25, 0)
    assert drifts() == []


def test_what_a_dead_workers_call_took_stands_on_that_call_until_somebody_says_what_it_used() -> None:
    claimed = at_work()
    limit("cost/day", PLENTY)
    limit("concurrency", 1000)
    permits.record(claimed, permits.permit(claimed, asking("a")), used(cost=5))
    lost = permits.permit(claimed, asking("b"))
    second = _taken_over(claimed)
    permits.record(second, permits.permit(second, asking("c")), used(cost=7))
    lost.refresh_from_db()
    paid = account("cost/day")
    assert lost.drawn is None
    assert lost.reserved == [[paid.pk, COST]]
    assert held(paid.pk) == (12, COST)
    assert held(account("concurrency").pk) == (0, 0)
    assert drifts() == []
    assert budgets.reconcile(lost.pk, lost.run_id, used={"cost": 9})
    assert held(paid.pk) == (21, 0)


def test_a_reply_that_comes_after_the_purse_was_given_back_is_booked_in_full() -> None:
    claimed = at_work()
    limit("cost/day", PLENTY)
    late = permits.permit(claimed, asking("a"))
    Run.objects.update(lease_until=now() - timedelta(minutes=2))
    assert budgets.give_back() == 1
    assert not Purse.objects.exists()
    permits.record(claimed, late, used(cost=COST * 3))
    assert held(account("cost/day").pk) == (COST * 3, 0)
    assert drifts() == []


def test_a_purse_made_anew_is_not_taken_for_the_one_that_was_lent_before() -> None:
    claimed = at_work()
    limit("model_calls/run", 1000)
    permits.permit(claimed, asking("a"))
    Run.objects.update(lease_until=now() - timedelta(minutes=2))
    assert budgets.give_back() == 1
    Run.objects.update(lease_until=now() + timedelta(minutes=2))
    permits.permit(claimed, asking("b"))
    lent._lent[claimed.run.pk].edition -= 1  # as if it were lent by another process
    permits.permit(claimed, asking("c"))
    assert held(account("model_calls/run", "run:").pk)[0] == 3
    assert drifts() == []


def test_a_limit_that_begins_to_hold_holds_for_what_was_lent_before() -> None:
    claimed = at_work()
    wide = limit("model_calls/run", 1_000_000)
    wide.valid_until = now() + timedelta(seconds=1)
    wide.save()
    limit("model_calls/run", 2, since=wide.valid_until)
    passed = _until_refused(claimed)
    assert isinstance(tried(claimed, asking("more")), Park)
    assert passed >= 2
    assert Call.objects.filter(permitted_at__gt=F("run__created_at")).count() == passed


def test_a_call_that_is_sent_again_is_no_new_turn_whether_anything_was_lent_or_not() -> None:
    claimed = at_work()
    limit("turns/run", 1000)
    permits.record(claimed, permits.permit(claimed, asking("a")), used())
    Call.objects.update(replayable=False)
    again = _taken_over(claimed)
    permits.record(again, permits.permit(again, asking("b")), used())
    permits.permit(again, asking("a"))
    assert held(account("turns/run", "run:").pk)[0] == 2
    assert drifts() == []


def _taken_over(claimed: Claimed) -> Claimed:
    """As another worker has it that has claimed the run after this one."""
    Run.objects.filter(pk=claimed.run.pk).update(fence=claimed.fence + 1)
    return replace(claimed, fence=claimed.fence + 1, sent=Sent())


def test_a_stop_between_two_calls_of_a_lent_purse_lets_neither_pass_nor_costs_anything() -> None:
    claimed = at_work()
    limit("model_calls/run", 1000)
    permits.permit(claimed, asking("a"))
    Run.objects.update(hold="pause")
    with pytest.raises(Exception, match="held"):
        permits.permit(claimed, asking("b"))
    Run.objects.update(hold="")
    permits.permit(claimed, asking("c"))
    assert Call.objects.filter(state=CallState.PERMITTED).count() == 2
    assert drifts() == []
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM runs_call WHERE drawn IS NOT NULL")
        assert cursor.fetchone() == (2,)


def test_what_one_run_holds_of_a_rate_for_the_next_seconds_makes_nobody_forget_what_is_in_the_minute() -> (
    None
):
    limit("requests/minute", 1000)
    first, second = at_work(), at_work()
    permits.permit(first, asking("a"))
    entry = RateEntry.objects.get()
    past = now() - timedelta(seconds=57)
    RateEntry.objects.create(account=entry.account, at=past, amount=999, team="Others")
    assert isinstance(tried(second, asking("b")), Blocked)


def test_what_a_call_used_beyond_what_it_took_stands_on_the_account_at_once() -> None:
    limit("cost/day", COST * 600)
    claimed = at_work()
    call = permits.permit(claimed, asking())
    row = account("cost/day")
    assert row.reserved < COST * 4
    permits.record(claimed, call, used(cost=COST * 50))
    row.refresh_from_db()
    assert row.spent + row.reserved >= COST * 50
    assert held(row.pk) == (COST * 50, 0)
    assert drifts() == []


def test_no_more_purses_are_touched_than_it_takes_to_find_room() -> None:
    limit("cost/day", COST * 2_000)
    claims = [at_work() for _ in range(4)]
    for claimed in claims[:3]:
        permits.record(claimed, permits.permit(claimed, asking()), used(cost=0))
    before = {purse.run_id: purse.edition for purse in Purse.objects.all()}
    Account.objects.update(
        spent=COST * 2_000 - account("cost/day").reserved
    )  # what is held is all that is left
    assert isinstance(tried(claims[3], asking()), Call)
    touched = [one for one in Purse.objects.filter(run_id__in=before) if one.edition != before[one.run_id]]
    assert len(touched) == 1
