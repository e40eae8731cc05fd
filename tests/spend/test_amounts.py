"""Whatever calls reserve and use, accounts have exactly that, and no call passes that does not fit."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as rules
from hypothesis import strategies as st

from runs.engine.claimed import Claimed
from runs.engine.spend import budgets, permits
from runs.engine.spend.estimates import Estimate
from runs.engine.spend.wanted import Result, Wanted
from runs.models import Account, Call, CallState, Run
from tests.spend.conftest import account, asking, at_work, empty_accounts, held, limit, tried, used

pytestmark = pytest.mark.django_db(transaction=True)
WHATS = ("tokens/run", "tokens/day", "tokens/month")


@dataclass
class Told:
    """What the accounts should say."""

    cap: int
    spent: int = 0
    open: dict[int, tuple[Claimed, Call, int]] = field(default_factory=dict)
    uncertain: dict[int, int] = field(default_factory=dict)

    @property
    def reserved(self) -> int:
        return sum(need for _, _, need in self.open.values()) + sum(self.uncertain.values())


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["permit", "permit", "record", "lose", "reconcile", "give back"]),
        st.integers(1, 400),
        st.integers(0, 1500),
    ),
    min_size=3,
    max_size=14,
)


@given(cap=st.integers(200, 3000), acts=ACTS)
@rules(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_accounts_say_exactly_what_was_reserved_and_used(cap: int, acts: list[tuple[str, int, int]]) -> None:
    claimed = at_work()
    for what in WHATS:
        limit(what, cap)
    told = Told(cap=cap)
    try:
        for n, (act, size, actual) in enumerate(acts):
            _do(told, claimed, act, asking(f"k{n}", parameters={"max_tokens": size}), actual)
            _compare(told)
    finally:
        Call.objects.all().delete()
        Run.objects.all().delete()
        empty_accounts()


def _do(told: Told, claimed: Claimed, act: str, wanted: Wanted, actual: int) -> None:
    match act:
        case "permit":
            need = Estimate(wanted).of("tokens")
            fits = told.spent + told.reserved + need <= told.cap
            passed = tried(claimed, wanted)
            assert isinstance(passed, Call) == fits
            if isinstance(passed, Call):
                told.open[passed.pk] = (claimed, passed, need)
        case "record" if told.open:
            _, (claimed, call, _) = told.open.popitem()
            permits.record(claimed, call, used(tokens_in=0, tokens_out=actual, cost=0))
            told.spent += actual
        case "lose" if told.open:
            number, (claimed, call, need) = told.open.popitem()
            permits.record(claimed, call, Result(state=CallState.FAILED, error="cut off", certain=False))
            told.uncertain[number] = need
        case "reconcile" if told.uncertain:
            number, need = told.uncertain.popitem()
            assert budgets.reconcile(number, claimed.run.pk, used=None)
            told.spent += need
        case "give back":
            Run.objects.update(state="ready", lease_until=None)
            budgets.give_back()
            Run.objects.update(state="running", lease_until="2100-01-01T00:00:00+00:00")


def _compare(told: Told) -> None:
    for what in WHATS:
        kind, _, window = what.partition("/")
        scope = "run:" if window == "run" else ""
        found = budgets_row(f"{kind}/{window}", scope)
        assert found in (None, (told.spent, told.reserved)), what


def budgets_row(what: str, scope: str) -> tuple[int, int] | None:
    try:
        return held(account(what, scope).pk)
    except Account.DoesNotExist:  # no call has asked yet
        return None
