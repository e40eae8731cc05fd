"""Breakers open by what calls come to, let one probe pass, keep who is blocked, and obey people."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from django.db import connection
from pytest_django import Settings

from runs.engine import breakers
from runs.engine.claimed import Claimed
from runs.engine.outcomes import Blocked
from runs.engine.spend import permits
from runs.engine.spend.wanted import Result, Wanted
from runs.engine.worker.runtime import Runtime
from runs.errors import ErrorClass
from runs.guards.breaking import BreakerRule, Ended, open_for, opens
from runs.models import Breaker, BreakerChange, BreakerState, Call, CallState, Run, Wait
from tests.runs.conftest import advanced, start
from tests.spend.conftest import MODEL, asking, at_work, tool, tried, used

pytestmark = pytest.mark.django_db(transaction=True)
DOWN = Result(state=CallState.FAILED, error="503", error_class=ErrorClass.RECOVERABLE, latency_ms=3)


def fails(claimed: Claimed, key: str, wanted: Wanted | None = None, result: Result = DOWN) -> None:
    permits.record(claimed, permits.permit(claimed, wanted or asking(key)), result)


def opened(claimed: Claimed) -> Breaker:
    for n in range(5):
        fails(claimed, f"down {n}", asking(f"down {n}", name=f"agent {n}"))
    return Breaker.objects.get(kind="model", name=MODEL)


def due(breaker: Breaker) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE runs_breaker SET retry_at = clock_timestamp() WHERE id = %s", [breaker.pk])


def test_the_three_rules_say_why_with_their_figure() -> None:
    rule = BreakerRule(consecutive=3, ratio=50, slow_ratio=50, slow_ms=1000, least=4)
    down, good, slow = Ended(failed=True), Ended(failed=False), Ended(failed=False, latency_ms=1001)
    assert opens(rule, [down, down, down]) == "3 failures in a row (limit 3)"
    assert opens(rule, [down, down, good]) == ""
    assert opens(rule, [good, down, good, down]) == "2 of 4 calls failed within 60 s (limit 50 %)"
    assert opens(rule, [good, down, good, good]) == ""
    assert (
        opens(rule, [slow, good, slow, good]) == "2 of 4 calls took longer than 1 s within 60 s (limit 50 %)"
    )
    assert [open_for(rule, n) for n in (1, 2, 3, 99)] == [30, 60, 120, 900]


def test_five_failures_in_a_row_open_it_and_a_good_one_between_does_not() -> None:
    claimed = at_work()
    for n in range(4):
        fails(claimed, f"a{n}", asking(f"a{n}", name=f"one {n}"))
    permits.record(claimed, permits.permit(claimed, asking("good", name="good")), used())
    for n in range(4):
        fails(claimed, f"b{n}", asking(f"b{n}", name=f"two {n}"))
    assert not Breaker.objects.exists()
    fails(claimed, "last", asking("last", name="last"))
    breaker = Breaker.objects.get()
    assert (breaker.state, breaker.why) == ("open", "5 failures in a row (limit 5)")
    stood = tried(claimed, asking("next", name="other"))
    assert isinstance(stood, Blocked)
    assert "5 failures in a row" in stood.refusal.says


def test_a_wrong_answer_is_its_agents_fault_and_no_models() -> None:
    claimed = at_work()
    wrong = replace(DOWN, error_class=ErrorClass.DATA)
    for n in range(5):
        fails(claimed, f"k{n}", result=wrong)
    assert list(Breaker.objects.values_list("kind", "name")) == [("agent", "writer")]
    assert isinstance(tried(claimed, asking("x", name="other")), Call)


def test_a_tool_has_its_own() -> None:
    claimed = at_work()
    for n in range(5):
        fails(claimed, f"t{n}", tool(f"t{n}"))
    assert isinstance(tried(claimed, tool("x")), Blocked)
    assert isinstance(tried(claimed, tool("x", name="other")), Call)


def test_of_many_at_once_one_probe_passes_and_a_good_one_closes_it() -> None:
    claimed = at_work()
    breaker = opened(claimed)
    due(breaker)
    claims = [at_work() for _ in range(8)]

    def go(one: Claimed) -> object:
        try:
            return tried(one, asking("probe", name="p"))
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(go, claims))
    (probe,) = [(one, claims[n]) for n, one in enumerate(found) if isinstance(one, Call)]
    breaker.refresh_from_db()
    assert (breaker.state, breaker.probe) == (BreakerState.HALF_OPEN, probe[0].pk)
    permits.record(probe[1], probe[0], used())
    breaker.refresh_from_db()
    assert (breaker.state, breaker.opens) == (BreakerState.CLOSED, 0)
    assert isinstance(tried(claimed, asking("after", name="q")), Call)


def test_a_bad_probe_opens_it_for_twice_as_long() -> None:
    claimed = at_work()
    breaker = opened(claimed)
    due(breaker)
    fails(claimed, "probe", asking("probe", name="p"))
    breaker.refresh_from_db()
    assert breaker.state == BreakerState.OPEN
    assert breaker.retry_at is not None
    assert breaker.opened_at is not None
    assert round((breaker.retry_at - breaker.opened_at).total_seconds()) == 60


def test_a_probe_that_is_lost_with_its_worker_does_not_block_for_ever() -> None:
    claimed = at_work()
    breaker = opened(claimed)
    due(breaker)
    permits.permit(claimed, asking("probe", name="p"))
    assert isinstance(tried(claimed, asking("x", name="p")), Blocked)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE runs_breaker SET probe_until = clock_timestamp()")
    assert isinstance(tried(claimed, asking("x", name="p")), Call)


def test_a_person_can_hold_it_open_or_closed_and_let_it_decide_again() -> None:
    claimed = at_work()
    breakers.force("model", MODEL, "open", by="Ines", why="it invents")
    assert isinstance(tried(claimed, asking("a")), Blocked)
    breakers.force("model", MODEL, "closed", by="Ines", why="checked")
    opened(claimed)
    assert isinstance(tried(claimed, asking("b", name="b")), Call)
    breakers.force("model", MODEL, "", by="Ines", why="as it was")
    assert isinstance(tried(claimed, asking("c", name="c")), Blocked)
    assert BreakerChange.objects.filter(by="Ines").count() == 3


def test_a_provider_that_says_when_to_come_again_is_obeyed_by_everybody() -> None:
    claimed = at_work()
    call = permits.permit(claimed, asking("a"))
    permits.record(claimed, call, DOWN)
    breakers.asked_to_wait(MODEL, 7.0, call)
    stood = tried(at_work(), asking("b", name="b"))
    assert isinstance(stood, Blocked)
    assert "asks to wait 7 s" in stood.refusal.says


def test_runs_that_are_blocked_wait_without_a_worker_and_go_on_by_themselves(
    runtime: Runtime, settings: Settings
) -> None:
    runs = [start("writing", text=f"order {n}") for n in range(4)]
    breakers.force("model", "simulated/writer", "open", by="Ines", why="provider down")
    for run in runs:
        assert advanced(run, runtime, times=1).state == "sleeping"
    assert Wait.objects.filter(guard="breaker").count() == 4
    assert not Call.objects.exists()
    breakers.force("model", "simulated/writer", "", by="Ines", why="it is back")
    assert {advanced(run, runtime).state for run in runs} == {"done"}
    assert set(Run.objects.values_list("retries", flat=True)) == {0}
    assert not Wait.objects.exists()
