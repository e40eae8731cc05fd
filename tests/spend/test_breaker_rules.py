"""The share of failures and the share of slow calls, as breakers read them from the calls of their window."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db.models import F
from pytest_django import Settings

from runs.engine.claimed import Claimed
from runs.engine.outcomes import Blocked
from runs.engine.spend import permits
from runs.engine.spend.wanted import Result, Wanted
from runs.errors import ErrorClass
from runs.models import Breaker, Call, CallState
from tests.spend.conftest import MODEL, asking, at_work, tool, tried, used
from tests.spend.outages import passes

pytestmark = pytest.mark.django_db(transaction=True)
WINDOW, SLOW_MS = 20, 50
CUT = Result(state=CallState.CUT, error="a person stopped it", certain=False, latency_ms=3)
DOWN = Result(state=CallState.FAILED, error="503", error_class=ErrorClass.RECOVERABLE, latency_ms=3)
GOOD = used()
LATE = replace(GOOD, latency_ms=SLOW_MS + 1)
AT_MOST = replace(GOOD, latency_ms=SLOW_MS)
OPENED = f"2 of 4 calls failed within {WINDOW} s (limit 50 %)"
SLOWED = f"2 of 4 calls took longer than 0.05 s within {WINDOW} s (limit 50 %)"


@pytest.fixture(autouse=True)
def _shares_alone(settings: Settings) -> None:
    """No row of failures is long enough; four calls are enough for a share."""
    settings.RUNS_BREAKERS = {
        "consecutive": 100,
        "ratio": 50,
        "slow_ratio": 50,
        "slow_ms": SLOW_MS,
        "least": 4,
        "window": WINDOW,
        "open_seconds": 30,
    }


def came_to(claimed: Claimed, *results: Result, model: str = MODEL) -> None:
    """Calls of one model, each by another agent, so that only the model's breaker has enough of them."""
    for result in results:
        wanted = asking(f"{Call.objects.count()}", name=f"agent {Call.objects.count()}", model=model)
        _ended(claimed, wanted, result)


def _ended(claimed: Claimed, wanted: Wanted, result: Result) -> None:
    permits.record(claimed, permits.permit(claimed, wanted), result)


def why() -> list[tuple[str, str]]:
    return list(Breaker.objects.filter(state="open").order_by("pk").values_list("name", "why"))


def older(seconds: float, first: int) -> None:
    """The first calls ended so much earlier."""
    numbers = Call.objects.order_by("pk").values_list("pk", flat=True)[:first]
    Call.objects.filter(pk__in=list(numbers)).update(
        finished_at=F("finished_at") - timedelta(seconds=seconds)
    )


def test_half_of_enough_calls_failed_and_fewer_or_not_enough_do_not_open_it() -> None:
    claimed = at_work()
    came_to(claimed, DOWN, DOWN, GOOD)  # two of three, and three are not enough
    assert why() == []
    came_to(claimed, GOOD, GOOD, DOWN)  # three of six
    assert why() == [(MODEL, f"3 of 6 calls failed within {WINDOW} s (limit 50 %)")]
    assert isinstance(tried(claimed, asking("next", name="another")), Blocked)


def test_a_smaller_share_leaves_it_closed() -> None:
    came_to(at_work(), GOOD, GOOD, GOOD, DOWN, GOOD, DOWN)
    assert why() == []


def test_calls_that_ended_before_the_window_count_no_more() -> None:
    claimed = at_work()
    came_to(claimed, GOOD, DOWN, GOOD)
    older(WINDOW + 1, 3)
    came_to(claimed, DOWN)  # two of four, and three of them are long over
    assert why() == []
    came_to(claimed, GOOD, GOOD, DOWN)
    assert why() == [(MODEL, OPENED)]


def test_calls_of_other_models_tools_and_those_that_were_cut_or_wrong_are_not_its() -> None:
    claimed = at_work()
    came_to(claimed, GOOD, GOOD, GOOD)
    came_to(claimed, DOWN, DOWN, DOWN, model=f"{MODEL}er")
    came_to(claimed, DOWN, DOWN, DOWN, model=MODEL[:-1])
    for n in range(3):
        _ended(claimed, tool(f"t{n}", name=MODEL), DOWN)
    came_to(claimed, CUT, CUT, CUT)
    came_to(claimed, *[replace(DOWN, error_class=ErrorClass.DATA)] * 3)
    came_to(claimed, DOWN)  # one of seven: answers that are wrong were answers
    assert why() == []


def test_what_a_models_provider_fails_at_is_none_of_its_agents() -> None:
    claimed = at_work()
    for n in range(4):
        _ended(claimed, asking(f"k{n}", model=f"simulated/{n}"), DOWN)
    assert why() == []


def test_a_probe_of_an_agent_that_its_provider_failed_at_says_nothing_about_it() -> None:
    claimed = at_work()
    for n in range(4):
        _ended(claimed, asking(f"k{n}"), replace(DOWN, error_class=ErrorClass.DATA))
    assert why() == [("writer", f"4 of 4 calls failed within {WINDOW} s (limit 50 %)")]
    passes(31)
    _ended(claimed, asking("probe"), DOWN)
    breaker = Breaker.objects.get()
    assert (breaker.state, breaker.opens, breaker.probe) == ("half_open", 1, None)
    _ended(claimed, asking("again"), GOOD)
    breaker.refresh_from_db()
    assert (breaker.state, breaker.opens) == ("closed", 0)


def test_a_slow_provider_is_none_of_its_agents_fault() -> None:
    claimed = at_work()
    for n in range(4):  # one agent, by one model after the other
        _ended(claimed, asking(f"k{n}", model=f"simulated/{n}"), LATE)
    assert why() == []


def test_a_slow_probe_of_an_agent_that_was_answered_well_closes_its_breaker() -> None:
    claimed = at_work()
    for n in range(4):
        _ended(claimed, asking(f"k{n}"), replace(DOWN, error_class=ErrorClass.DATA))
    passes(31)
    _ended(claimed, asking("probe", model="simulated/another"), LATE)
    assert Breaker.objects.get(kind="agent").state == "closed"


def test_calls_that_people_cut_do_not_make_its_share_of_failures_smaller() -> None:
    came_to(at_work(), GOOD, DOWN, GOOD, CUT, CUT, CUT, CUT, DOWN)
    assert why() == [(MODEL, OPENED)]


def test_calls_that_take_too_long_open_it_though_each_was_answered_well() -> None:
    claimed = at_work()
    came_to(claimed, LATE, AT_MOST, AT_MOST)
    assert why() == []
    came_to(claimed, LATE)
    assert why() == [(MODEL, SLOWED)]


def test_a_tool_that_takes_too_long_has_its_own() -> None:
    claimed = at_work()
    for n in range(4):
        _ended(claimed, tool(f"t{n}"), replace(GOOD, usage=None, cost_micros=None, latency_ms=SLOW_MS + n))
    assert why() == [("cashbox.pay", f"3 of 4 calls took longer than 0.05 s within {WINDOW} s (limit 50 %)")]


def test_a_probe_that_is_answered_well_and_too_late_opens_it_again() -> None:
    claimed = at_work()
    came_to(claimed, LATE, LATE, GOOD, LATE)
    passes(31)
    came_to(claimed, LATE)
    breaker = Breaker.objects.get()
    assert (breaker.state, breaker.why, breaker.opens) == ("open", "its probe failed or was slow", 2)
    passes(61)
    came_to(claimed, GOOD)
    breaker.refresh_from_db()
    assert (breaker.state, breaker.opens) == ("closed", 0)


def test_after_a_good_probe_the_failures_before_it_open_it_again_only_with_a_new_one() -> None:
    """What the window still holds is not forgotten: a provider that goes on failing is closed off at once."""
    claimed = at_work()
    came_to(claimed, GOOD, DOWN, GOOD, DOWN)
    passes(31)
    came_to(claimed, GOOD, GOOD)
    assert why() == []
    came_to(claimed, DOWN)
    assert why() == []  # three of seven
    came_to(claimed, DOWN)
    assert why() == [(MODEL, f"4 of 8 calls failed within {WINDOW} s (limit 50 %)")]


TRY_MS = 70  # of an agent's try together; one call of 40 ms is neither slow nor a slow try
PART = replace(GOOD, latency_ms=40)


@pytest.fixture
def counted(settings: Settings) -> None:
    settings.RUNS_BREAKERS = settings.RUNS_BREAKERS | {"try_slow_ms": TRY_MS}


def tries(count: int, *results: Result, model: str = MODEL) -> None:
    """Tries of one agent, each by another run, with these calls."""
    for _ in range(count):
        claimed = at_work()
        for n, result in enumerate(results):
            _ended(claimed, asking(f"{claimed.run.pk} {n}", model=model), result)


@pytest.mark.usefixtures("counted")
def test_an_agent_whose_tries_take_too_long_together_is_not_asked_for_a_while() -> None:
    tries(2, PART)
    tries(1, PART, PART)
    assert why() == []
    tries(1, PART, PART)
    assert why() == [
        ("writer", f"2 of 4 tries took longer than 0.07 s, by its calls within {WINDOW} s (limit 50 %)")
    ]


def test_without_a_threshold_of_their_own_no_try_of_an_agent_is_slow() -> None:
    tries(5, PART, PART, PART)
    assert why() == []


@pytest.mark.usefixtures("counted")
def test_what_is_held_against_its_model_counts_nothing_towards_an_agents_try() -> None:
    """A slow or failing model leaves its agent free to go on by another."""
    for n in range(5):
        tries(1, LATE, LATE, PART, model=f"simulated/{n}")
        tries(1, replace(DOWN, latency_ms=45), PART, model=f"simulated/other {n}")
    assert why() == []


@pytest.mark.usefixtures("counted")
def test_a_try_counts_with_all_its_calls_as_long_as_one_of_them_is_in_the_window() -> None:
    under_way = [at_work() for _ in range(4)]
    for claimed in under_way:
        _ended(claimed, asking(f"{claimed.run.pk} early"), PART)
    Call.objects.update(finished_at=F("finished_at") - timedelta(seconds=WINDOW + 1))
    for claimed in under_way:
        _ended(claimed, asking(f"{claimed.run.pk} late"), PART)
    assert [name for name, _ in why()] == ["writer"]
    Breaker.objects.all().delete()
    Call.objects.update(finished_at=F("finished_at") - timedelta(seconds=WINDOW + 1))
    tries(1, PART, PART)
    assert why() == [], "those of before are over"


@pytest.mark.usefixtures("counted")
def test_a_probe_of_a_try_that_was_slow_before_is_judged_by_itself_and_opens_nothing_again() -> None:
    tries(3, PART, PART)
    slow = at_work()
    for n in range(2):
        _ended(slow, asking(f"{n}"), PART)
    assert [name for name, _ in why()] == ["writer"]
    passes(31)
    _ended(slow, asking("probe"), PART)
    assert Breaker.objects.get(kind="agent").state == "closed"
    _ended(slow, asking("after"), PART)
    assert Breaker.objects.get(kind="agent").state == "closed", "it became slow once"
