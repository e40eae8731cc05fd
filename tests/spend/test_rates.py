"""No 60 seconds ever hold more than a rate allows, nobody holds anything while waiting, and no team starves."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.db.models import F

from runs.engine.claim import claim
from runs.engine.claimed import Claimed
from runs.engine.outcomes import Blocked, Later, Park
from runs.engine.record import now
from runs.engine.settle import settle
from runs.engine.spend import permits
from runs.models import Account, Call, Event, RateEntry, Run, Step, Wait
from tests.runs.conftest import only
from tests.spend.conftest import MODEL, account, asking, at_work, limit, tool, tried, used

pytestmark = pytest.mark.django_db(transaction=True)
# Not to the microsecond: two entries five seconds apart must not meet in the index, which looks row by row.
FIVE_SECONDS_LATER = "UPDATE runs_rateentry SET at = at - interval '5 s' - random() * interval '1 ms'"
MINUTE = timedelta(seconds=60)


def busiest(entries: list[tuple[datetime, int]]) -> int:
    """The most that any 60 seconds hold."""
    begun = (since for since, _ in entries)
    return max(sum(n for at, n in entries if 0 <= (at - since).total_seconds() <= 60) for since in begun)


def entries() -> list[tuple[datetime, int]]:
    return list(RateEntry.objects.order_by("at").values_list("at", "amount"))


def older(seconds: float) -> None:
    """As if everything reserved so far had been reserved so much earlier."""
    RateEntry.objects.update(at=F("at") - timedelta(seconds=seconds))


def later(claimed: Claimed, wanted: object = None) -> Wait:
    """The step waits, as the engine lets it."""
    stood = tried(claimed, wanted or asking())  # type: ignore[arg-type]
    assert isinstance(stood, Blocked)
    settle(claimed, Later(refusal=stood.refusal))
    return Wait.objects.get(step_id=claimed.step.pk)


def test_eight_at_once_never_reserve_more_than_fits_into_any_minute() -> None:
    limit("requests/minute", 10)
    claims = [at_work() for _ in range(8)]
    stop = threading.Event()

    def go(claimed: Claimed) -> int:
        passed = 0
        for turn in range(12):
            passed += isinstance(tried(claimed, asking(f"k{turn}")), Call)
            if turn % 4 == 3:
                with connection.cursor() as cursor:
                    cursor.execute(FIVE_SECONDS_LATER)  # for everybody, at some moment of the others
        connection.close()
        return passed

    with ThreadPoolExecutor(8) as threads:
        passed = sum(threads.map(go, claims))
    stop.set()
    assert passed >= 10
    assert busiest(entries()) <= 10


def test_tokens_are_reserved_before_and_what_was_really_used_counts_after() -> None:
    claimed = at_work()
    limit("tokens/minute", 2500, f"model:{MODEL}")
    first = permits.permit(claimed, asking("a"))
    permits.permit(claimed, asking("b"))
    assert isinstance(tried(claimed, asking("c")), Blocked)
    permits.record(claimed, first, used(tokens_in=10, tokens_out=20, cost=1))
    assert isinstance(tried(claimed, asking("c")), Call)


def test_the_wait_ends_when_enough_of_the_minute_is_over() -> None:
    claimed = at_work()
    limit("requests/minute", 2)
    permits.permit(claimed, asking("a"))
    older(40)
    permits.permit(claimed, asking("b"))
    stood = tried(claimed, asking("c"))
    assert isinstance(stood, Blocked)
    assert stood.refusal.until
    first = entries()[0][0]
    assert stood.refusal.until == first + MINUTE + timedelta(seconds=1)  # seconds count whole
    older(21)
    assert isinstance(tried(claimed, asking("c")), Call)


def test_what_can_never_fit_is_a_persons_and_waits_for_nothing() -> None:
    claimed = at_work()
    limit("tokens/minute", 10)
    assert isinstance(tried(claimed, asking()), Park)


def test_who_waits_holds_nothing_and_is_shown_once() -> None:
    claimed = at_work()
    limit("requests/minute", 1)
    permits.permit(claimed, asking("a"))
    wait = later(claimed)
    run, step = Run.objects.get(pk=claimed.run.pk), Step.objects.get(pk=claimed.step.pk)
    assert (run.state, run.lease_owner, step.state, step.due_at) == ("sleeping", "", "sleeping", wait.until)
    assert run.due_at == wait.until
    assert run.retries == 0
    assert "requests a minute" in wait.says
    assert Event.objects.filter(run=run, kind="waits").count() == 1


def test_a_team_that_had_nothing_goes_before_one_that_had_much() -> None:
    greedy, poor = at_work(), at_work()
    limit("requests/minute", 3)
    for key in "abc":
        permits.permit(greedy, asking(key))
    object.__setattr__(poor, "workflow", _of_team(poor, "other team"))
    later(poor)
    first = RateEntry.objects.earliest("at")
    RateEntry.objects.filter(pk=first.pk).update(amount=F("amount") - 1)  # its time is over
    stood = tried(greedy, asking("d"))  # one place is free, and it is the other team's
    assert isinstance(stood, Blocked)
    assert "2 of 3 are used or reserved, those who wait before it need 1, and this call" in stood.refusal.says
    again = _again(poor)
    object.__setattr__(again, "workflow", _of_team(again, "other team"))
    assert isinstance(tried(again, asking()), Call)


def _of_team(claimed: Claimed, team: str) -> object:
    from dataclasses import replace

    return replace(claimed.workflow, team=team)


def test_whoever_fits_together_with_those_before_it_need_not_wait_for_them_to_come() -> None:
    claims = [at_work() for _ in range(5)]
    limit("requests/minute", 2)
    for key in "ab":
        permits.permit(claims[0], asking(key))
    for claimed in claims[1:]:
        later(claimed)
    older(61)
    again = [_again(one) for one in claims[1:]]
    assert isinstance(tried(again[1], asking()), Call)  # the second of the queue; the first has not come yet
    stood = tried(again[3], asking())
    assert isinstance(stood, Blocked)
    assert stood.refusal.until is not None
    assert (stood.refusal.until - now()).total_seconds() < 60  # it looks again before a whole minute
    assert isinstance(tried(again[0], asking()), Call)


def _again(claimed: Claimed) -> Claimed:
    """The step is looked at again."""
    run = Run.objects.get(pk=claimed.run.pk)
    Step.objects.filter(pk=claimed.step.pk).update(due_at=run.created_at)
    Run.objects.filter(pk=run.pk).update(due_at=run.created_at)
    return only(claim(run.pk, worker="w"))


def test_a_place_in_the_queue_is_lost_by_who_does_not_come() -> None:
    gone, here = at_work(), at_work()
    limit("requests/minute", 1)
    permits.permit(here, asking("a"))
    later(gone)
    older(61)
    assert isinstance(tried(here, asking("b")), Blocked)
    Wait.objects.update(until=F("until") - timedelta(seconds=120))
    assert isinstance(tried(here, asking("b")), Call)


def test_calls_at_once_are_counted_and_end_with_the_call() -> None:
    claimed = at_work()
    limit("concurrency", 2)
    first = permits.permit(claimed, asking("a"))
    permits.permit(claimed, asking("b"))
    assert isinstance(tried(claimed, asking("c")), Blocked)
    permits.record(claimed, first, used())
    assert isinstance(tried(claimed, asking("c")), Call)


def test_calls_of_a_dead_worker_do_not_count_as_under_way() -> None:
    dead, living = at_work(), at_work()
    limit("concurrency", 1)
    permits.permit(dead, asking())
    assert isinstance(tried(living, asking()), Blocked)
    Run.objects.filter(pk=dead.run.pk).update(fence=F("fence") + 1)
    assert isinstance(tried(living, asking()), Call)


def test_a_rate_of_a_tool_counts_its_calls_alone() -> None:
    claimed = at_work()
    limit("requests/minute", 1, "tool:cashbox.pay")
    permits.permit(claimed, asking("a"))
    permits.permit(claimed, tool("a"))
    permits.permit(claimed, tool("b", name="other"))
    assert isinstance(tried(claimed, tool("c")), Blocked)
    assert isinstance(tried(claimed, asking("d")), Call)


def test_a_rate_set_now_counts_the_minute_before() -> None:
    claimed = at_work()
    for key in "abc":
        permits.permit(claimed, asking(key))
    limit("requests/minute", 3)
    assert isinstance(tried(claimed, asking("d")), Blocked)
    assert account("requests/minute")
    assert Account.objects.count() == 1
