"""Nothing is sent without a reservation that fits under every cap above it (law L5)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from runs.engine.claimed import Claimed
from runs.engine.outcomes import Blocked, Park
from runs.engine.spend import budgets, estimates, permits
from runs.engine.spend.wanted import Result
from runs.models import Account, Call, CallState, Chunk, Event, Run, TopUp
from tests.spend.conftest import (
    MODEL,
    account,
    asking,
    at_work,
    empty_accounts,
    held,
    keep_leases,
    limit,
    tool,
    tried,
    used,
)

pytestmark = pytest.mark.django_db(transaction=True)

SIXTY_FOUR = 64
NEED = estimates.Estimate(asking()).of("tokens")
COST = estimates.Estimate(asking()).of("cost")
LEVELS = ["", "team:care", "workflow:plain", "provider:simulated", f"model:{MODEL}", "agent:writer"]


def _all_at_once(claims: list[Claimed], key: str) -> list[Call | Blocked | Park]:
    def go(claimed: Claimed) -> Call | Blocked | Park:
        try:
            return tried(claimed, asking(key))
        finally:
            connection.close()

    with ThreadPoolExecutor(SIXTY_FOUR) as threads:
        return list(threads.map(go, claims))


def test_of_64_at_once_exactly_those_pass_that_fit_at_every_level_alone_and_nested() -> None:
    claims = [at_work() for _ in range(SIXTY_FOUR)]
    keep_leases()
    team = claims[0].workflow.team
    for fit, scope in enumerate(LEVELS, start=3):
        scope = f"team:{team}" if scope.startswith("team") else scope
        limit("cost/day", COST * fit + COST // 2, scope)
        passed = _all_at_once(claims, f"alone {scope}")
        assert sum(isinstance(one, Call) for one in passed) == fit, scope
        assert all(isinstance(one, (Call, Park)) for one in passed)
        assert held(account("cost/day", scope).pk) == (0, COST * fit)
        empty_accounts()
    for fit, scope in enumerate(LEVELS, start=5):
        limit(
            "tokens/month",
            NEED * (fit if scope == "" else fit + 4),
            scope.replace("team:care", f"team:{team}"),
        )
    passed = _all_at_once(claims, "nested")
    assert sum(isinstance(one, Call) for one in passed) == 5
    assert {one.asking.action["scope_kind"] for one in passed if isinstance(one, Park)} == {"organisation"}


def test_within_one_run_exactly_those_pass_that_fit() -> None:
    claimed = at_work()
    limit("model_calls/run", 7)
    limit("cost/run", COST * 5)
    passed = _all_at_once([claimed] * SIXTY_FOUR, "k")
    assert sum(isinstance(one, Call) for one in passed) == 5
    (counted, paid) = (Account.objects.get(kind=kind) for kind in ("model_calls", "cost"))
    assert (held(counted.pk)[0], held(paid.pk)[1]) == (5, COST * 5)


def test_a_refused_permit_leaves_nothing_behind() -> None:
    claimed = at_work()
    limit("cost/day", COST * 2)
    limit("tokens/run", NEED)
    assert isinstance(tried(claimed, asking("a")), Call)
    before = (
        Call.objects.count(),
        list(Account.objects.order_by("id").values()),
        list(Chunk.objects.values()),
    )
    assert isinstance(tried(claimed, asking("b")), Park)
    after = (
        Call.objects.count(),
        list(Account.objects.order_by("id").values()),
        list(Chunk.objects.values()),
    )
    assert after == before


def test_a_call_is_booked_with_what_it_used_and_the_rest_is_free_again() -> None:
    claimed = at_work()
    limit("cost/day", COST * 10)
    limit("cost/run", COST * 10)
    limit("tokens/run", NEED * 10)
    call = permits.permit(claimed, asking())
    permits.record(claimed, call, used(tokens_in=4, tokens_out=10, cost=111))
    assert held(account("cost/day").pk) == (111, 0)
    assert held(account("cost/run", "run:").pk) == (111, 0)
    assert held(account("tokens/run", "run:").pk) == (14, 0)
    assert Call.objects.get(pk=call.pk).reserved is None


def test_three_times_the_estimate_is_booked_in_full_and_the_next_call_parks() -> None:
    claimed = at_work()
    limit("cost/day", COST * 2)
    limit("cost/run", COST * 2)
    permits.record(claimed, permits.permit(claimed, asking()), used(cost=COST * 3))
    assert held(account("cost/day").pk) == (COST * 3, 0)
    assert held(account("cost/run", "run:").pk) == (COST * 3, 0)
    stood = tried(claimed, asking("next"))
    assert isinstance(stood, Park)
    assert stood.asking.action["used"] == COST * 3


def test_what_nobody_knows_stays_reserved_until_it_is_reconciled() -> None:
    claimed = at_work()
    limit("cost/day", COST * 3)
    call = permits.permit(claimed, asking())
    permits.record(claimed, call, Result(state=CallState.FAILED, error="timeout", certain=False))
    assert held(account("cost/day").pk) == (0, COST)
    assert budgets.reconcile(call.pk, call.run_id, used={"cost": 77})
    assert held(account("cost/day").pk) == (77, 0)
    assert not budgets.reconcile(call.pk, call.run_id, used={"cost": 77})
    assert Run.objects.get(pk=call.run_id).cost_micros == 77


def test_a_call_whose_worker_died_stays_reserved_and_can_be_taken_for_used() -> None:
    claimed = at_work()
    limit("cost/day", COST * 3)
    call = permits.permit(claimed, asking())
    assert not budgets.reconcile(call.pk, call.run_id, used=None)  # it is under way
    Run.objects.filter(pk=call.run_id).update(fence=claimed.fence + 1)
    assert budgets.reconcile(call.pk, call.run_id, used=None)
    assert held(account("cost/day").pk) == (COST, 0)


def test_usage_that_comes_after_another_claim_is_booked_once() -> None:
    claimed = at_work()
    limit("cost/day", COST * 3)
    call = permits.permit(claimed, asking())
    Run.objects.filter(pk=call.run_id).update(fence=claimed.fence + 1)
    for _ in range(2):
        permits.record(claimed, call, used(cost=500))
    assert held(account("cost/day").pk) == (500, 0)


def test_a_limit_set_in_the_middle_of_its_period_counts_what_was_spent_and_what_is_under_way() -> None:
    claimed = at_work()
    permits.record(claimed, permits.permit(claimed, asking("done")), used(cost=1234))
    under_way = permits.permit(claimed, asking("under way"))
    limit("cost/month", 10**9)
    limit("cost/run", 10**9)
    permits.permit(claimed, asking("third"))
    assert held(account("cost/month").pk) == (1234, COST)
    permits.record(claimed, under_way, used(cost=55))
    assert held(account("cost/month").pk) == (1289, COST)
    assert held(account("cost/run", "run:").pk)[0] >= 1234


def test_chunks_are_given_back_when_nobody_performs_the_run() -> None:
    claimed = at_work()
    limit("cost/day", COST * 100_000)
    call = permits.permit(claimed, asking())
    chunk = Chunk.objects.get()
    assert chunk.held > 0
    permits.record(claimed, call, used(cost=9))
    Run.objects.filter(pk=call.run_id).update(state="ready", lease_until=None, lease_owner="")
    assert budgets.give_back() == 1
    assert not Chunk.objects.exists()
    row = account("cost/day")
    assert (row.spent, row.reserved) == (9, 0)


def test_what_others_hold_and_do_not_use_comes_back_before_anybody_is_refused() -> None:
    rich, poor = at_work(), at_work()
    made = limit("cost/day", COST * 100_000)
    permits.permit(rich, asking())
    held_back = Chunk.objects.get(run_id=rich.run.pk).held
    assert held_back > 0
    with transaction.atomic():
        made.valid_until = made.valid_from
        made.ended_at, made.ended_by = made.valid_from, "Ines"
        made.save()
    limit("cost/day", COST * 2)
    assert isinstance(tried(poor, asking()), Call)
    assert isinstance(tried(poor, asking("again")), Park)


def test_a_lowered_limit_binds_the_very_next_call() -> None:
    claimed = at_work()
    made = limit("model_calls/run", 5)
    permits.permit(claimed, asking("a"))
    Account.objects.get(kind="model_calls")
    made.valid_until, made.ended_at, made.ended_by = made.valid_from, made.valid_from, "Ines"
    made.save()
    limit("model_calls/run", 1)
    assert isinstance(tried(claimed, asking("b")), Park)


def test_a_top_up_lets_through_what_it_covers_and_nothing_more() -> None:
    claimed = at_work()
    limit("tool_calls/run", 1)
    permits.permit(claimed, tool("a"))
    assert isinstance(tried(claimed, tool("b")), Park)
    TopUp.objects.create(account=Account.objects.get(), amount=1, made_by="Ines", reason="once more")
    assert isinstance(tried(claimed, tool("b")), Call)
    assert isinstance(tried(claimed, tool("c")), Park)


def test_a_turn_that_is_sent_again_is_one_turn_and_two_model_calls() -> None:
    claimed = at_work()
    limit("turns/run", 9)
    limit("model_calls/run", 9)
    for _ in range(2):
        permits.record(
            claimed,
            permits.permit(claimed, asking()),
            Result(state=CallState.FAILED, error="503", certain=True),
        )
    assert held(Account.objects.get(kind="turns").pk)[0] == 1
    assert held(Account.objects.get(kind="model_calls").pk)[0] == 2


def test_a_limit_that_only_warns_or_observes_lets_pass_and_is_told_once() -> None:
    claimed = at_work()
    limit("model_calls/run", 1, mode="warn")
    limit("tool_calls/run", 0, mode="observe")
    for key in "abc":
        assert isinstance(tried(claimed, asking(key)), Call)
        assert isinstance(tried(claimed, tool(key)), Call)
    told = Event.objects.filter(kind="guard").order_by("seq").values_list("data__guard", "data__mode")
    assert sorted(told) == [("model_calls", "warn"), ("tool_calls", "observe")]


def test_people_are_told_when_a_budget_is_nearly_used_up() -> None:
    claimed = at_work()
    limit("model_calls/run", 5)
    for key in "abcde":
        permits.permit(claimed, asking(key))
    (told,) = Event.objects.filter(kind="guard").values_list("data", flat=True)
    assert (told["mode"], told["value"], told["cap"]) == ("warn", 4, 5)


def test_the_straight_and_the_long_way_reserve_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = []
    for straight in (True, False):
        with monkeypatch.context() as patched:
            if not straight:
                patched.setattr("runs.engine.spend.calls.permit", lambda *_: None)
                patched.setattr("runs.engine.spend.calls.record", lambda *_: None)
            claimed = at_work()
            limit("cost/day", COST * 100_000)
            limit("cost/run", COST * 10)
            limit("requests/minute", 10)
            limit("concurrency", 10)
            permits.permit(claimed, asking("under way"))
            permits.record(claimed, permits.permit(claimed, asking("done")), used(cost=321))
            rows = Account.objects.order_by("kind", "window").values_list(
                "kind", "window", "spent", "reserved"
            )
            ways.append((list(rows), list(Chunk.objects.values_list("held", "spent"))))
        Call.objects.all().delete()  # an account that is opened would count them
        empty_accounts()
    assert ways[0] == ways[1]
