"""What a run holds in advance makes calls cheap; it lets nothing pass, and refuses nothing, that would be otherwise."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F

from runs.engine.outcomes import Blocked, Park
from runs.engine.spend import budgets, permits
from runs.engine.spend.estimates import Estimate
from runs.models import Account, Call, Chunk, Limit, Purse, Run
from tests.spend.audit import drifts
from tests.spend.conftest import account, asking, at_work, held, limit, now, tool, tried, used

pytestmark = pytest.mark.django_db(transaction=True)
COST = Estimate(asking()).of("cost")
PLENTY = COST * 100_000


def _writes() -> int:
    """How often accounts were written, by PostgreSQL's own count."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'runs_account'")
        row = cursor.fetchone()
    return int(row[0])


def ended(made: Limit) -> None:
    made.valid_until, made.ended_at, made.ended_by = made.valid_from, made.valid_from, "Ines"
    made.save()


def test_a_call_that_fits_into_the_purse_writes_no_account() -> None:
    claimed = at_work()
    limit("cost/day", PLENTY)
    limit("cost/run", PLENTY)
    limit("turns/run", 1000)
    limit("concurrency", 1000)
    permits.record(claimed, permits.permit(claimed, asking("a")), used(cost=5))
    before = _writes()
    permits.record(claimed, permits.permit(claimed, asking("b")), used(cost=7))
    assert _writes() == before
    assert held(account("cost/day").pk) == (12, 0)
    assert held(Account.objects.get(kind="turns").pk) == (2, 0)
    assert drifts() == []


def test_a_limit_that_is_lowered_holds_for_the_next_call_whatever_the_purse_has() -> None:
    claimed = at_work()
    made = limit("model_calls/run", 1000)
    permits.permit(claimed, asking("a"))
    assert Chunk.objects.get().held > 2
    ended(made)
    limit("model_calls/run", 2)
    assert isinstance(tried(claimed, asking("b")), Call)
    assert isinstance(tried(claimed, asking("c")), Park)


def test_what_people_added_for_a_time_is_not_held_beyond_it() -> None:
    claimed = at_work()
    limit("model_calls/run", 1)
    permits.permit(claimed, asking("a"))
    own = Account.objects.get(kind="model_calls")
    more = own.top_ups.create(
        amount=5, made_by="Ines", reason="a long letter", until=now() + timedelta(hours=1)
    )
    assert isinstance(tried(claimed, asking("b")), Call)
    own.top_ups.filter(pk=more.pk).update(until=now())
    assert isinstance(tried(claimed, asking("c")), Park)


def test_places_that_others_keep_for_their_next_call_come_back_before_anybody_waits() -> None:
    first, second = at_work(), at_work()
    made = limit("concurrency", 1000)
    under_way = permits.permit(first, asking("a"))
    assert Chunk.objects.get(run_id=first.run.pk).held > 0
    ended(made)
    limit("concurrency", 2)
    assert isinstance(tried(second, asking("b")), Call)
    assert isinstance(tried(second, asking("c")), Blocked)
    permits.record(first, under_way, used())
    assert isinstance(tried(second, asking("c")), Call)
    assert drifts() == []


def test_what_was_held_in_a_period_that_is_over_counts_there_and_not_in_the_next() -> None:
    claimed = at_work()
    limit("cost/hour", PLENTY)
    permits.record(claimed, permits.permit(claimed, asking("a")), used(cost=5))
    old = account("cost/hour")
    hour = timedelta(hours=1)
    Account.objects.filter(pk=old.pk).update(begins=old.begins - hour)
    Call.objects.update(permitted_at=F("permitted_at") - hour)
    purse = Purse.objects.get()
    Purse.objects.update(ends=[old.begins], until=old.begins)
    permits.record(claimed, permits.permit(claimed, asking("b")), used(cost=7))
    new = Account.objects.exclude(pk=old.pk).get()
    assert (held(old.pk)[0], held(new.pk)[0]) == (5, 7)
    assert Purse.objects.get().keys == ["", *purse.keys]
    Run.objects.filter(pk=claimed.run.pk).update(state="ready", lease_until=None, lease_owner="")
    assert budgets.give_back() == 1
    assert list(Account.objects.order_by("pk").values_list("spent", "reserved")) == [(5, 0), (7, 0)]


def test_a_tool_and_a_model_share_the_purse_of_their_run() -> None:
    claimed = at_work()
    limit("model_calls/run", 100)
    limit("tool_calls/run", 100)
    for key in "ab":
        permits.permit(claimed, asking(key))
        permits.permit(claimed, tool(key))
    assert Purse.objects.count() == 1
    assert {held(one.pk)[0] for one in Account.objects.all()} == {2}


def test_purses_of_runs_that_nobody_performs_are_given_back_some_at_a_time() -> None:
    claims = [at_work() for _ in range(3)]
    limit("model_calls/run", 100)
    for claimed in claims:
        permits.permit(claimed, asking())
    Run.objects.update(state="ready", lease_until=None, lease_owner="")
    assert budgets.give_back(limit=2) == 2
    assert budgets.give_back(limit=2) == 1
    assert not Purse.objects.exists()
    assert {(one.spent, one.reserved) for one in Account.objects.all()} == {(1, 0)}
