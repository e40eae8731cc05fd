"""A few runs by hand: where each would have been stopped, what that saves and loses, to the unit."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runs.limits.rows import Row
from runs.limits.units import Unit
from runs.rehearsal.comparing import NOT_ASKED, Difference
from runs.rehearsal.drafts import draft
from runs.rehearsal.history import How, PastRefusal, PastRetry, PastRun, PastStep
from runs.rehearsal.rehearsing import rehearsed
from runs.rehearsal.spread import Spread
from runs.rehearsal.totals import NO_MORE, NO_SUCCESS, Totals
from tests.rehearsal.histories import asked, at, called, row, run, thought


def tried(
    new: Row, *runs: PastRun, old: tuple[Row, ...] = (), beside: tuple[Row, ...] = ()
) -> dict[str, Difference]:
    found, _ = rehearsed(draft(new, old=old, known=beside), runs)
    return {one.run.key: one for one in found}


def totals(new: Row | None, *runs: PastRun, old: tuple[Row, ...] = (), known: tuple[Row, ...] = ()) -> Totals:
    return rehearsed(draft(new, old=old, known=known), runs)[1]


# Three turns with a look between them; a question after the second; a fourth turn that costs more.
LONG = run(
    1,
    thought(0, 100),
    called(3),
    thought(5, 110, step=2),
    thought(8, 120, step=3),
    called(11, step=3),
    thought(13, 400, step=4, tokens_in=4000, tokens_out=500),
    questions=(asked(6, 7, number=1), asked(12, 20, number=2, took=timedelta(minutes=3))),
)
SHORT = run(2, thought(1, 50), thought(4, 60), how=How.FAILED)


def test_a_cap_of_turns_stops_before_the_turn_too_many_and_saves_what_came_after() -> None:
    one = tried(row("turns/run", 2), LONG, SHORT)["run 1"]
    assert one.stopped
    assert (one.stopped.step, one.stopped.position, one.stopped.value, one.stopped.at) == (3, 3, 3, at(8))
    assert (one.saved.calls, one.saved.cost) == (3, 120 + 400)
    assert (one.saved.tokens_in, one.saved.tokens_out) == (1000 + 4000, 100 + 500)
    assert one.lost is True
    assert one.why == "Stopped at step 3: turns a run 3 of 2 (the organisation)."


def test_the_totals_add_up_to_the_unit() -> None:
    found = totals(row("turns/run", 2), LONG, SHORT)
    assert (found.runs, found.differ, found.stopped, found.successes, found.successes_lost) == (2, 1, 1, 1, 1)
    assert (found.spent.cost, found.spent.calls) == (100 + 110 + 120 + 400 + 50 + 60, 8)
    assert (found.saved.cost, found.saved.tokens) == (520, 5600)
    assert (found.extra_escalations, found.answered, len(found.hours)) == (1, 2, 1)
    assert found.per_operator_hour == Fraction(1, 1)
    assert found.handled == 180_000
    assert found.decisions_differ == 1


def test_a_decision_that_came_after_the_stop_would_not_have_been_asked() -> None:
    one = tried(row("turns/run", 2), LONG)["run 1"]
    assert [(other.question.number, other.how) for other in one.decisions] == [(2, NOT_ASKED)]


@pytest.mark.parametrize(
    ("kind", "value", "position", "figure"),
    [
        ("turns/run", 3, 5, 4),
        ("model_calls/run", 1, 2, 2),
        ("tool_calls/run", 0, 1, 1),
        ("tool_calls/run", 1, 4, 2),
        ("cost/run", 329, 3, 330),
        ("cost/run", 330, 5, 730),
        ("tokens/run", 3299, 3, 3300),
        ("tokens/run", 3300, 5, 7800),
        ("context_tokens", 3999, 5, 4000),
    ],
)
def test_each_kind_stops_at_the_call_that_crosses_it(
    kind: str, value: int, position: int, figure: int
) -> None:
    stopped = tried(row(kind, value), LONG)["run 1"].stopped
    assert stopped
    assert (stopped.position, stopped.value) == (position, figure)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("turns/run", 4),
        ("tool_calls/run", 2),
        ("cost/run", 730),
        ("tokens/run", 7800),
        ("context_tokens", 4000),
    ],
)
def test_what_is_exactly_reached_is_not_crossed(kind: str, value: int) -> None:
    assert tried(row(kind, value), LONG) == {}


def test_a_model_call_that_is_sent_again_is_a_call_and_no_other_turn() -> None:
    again = run(3, thought(0), thought(3, first=False), thought(6))
    assert tried(row("turns/run", 2), again) == {}
    assert tried(row("model_calls/run", 2), again)["run 3"].stopped.position == 2  # type: ignore[union-attr]


def test_wall_time_stands_still_while_the_run_is_held() -> None:
    held = run(1, thought(0), thought(40), held=((at(10), at(25)),))  # 60 s, of which it was held for 15
    one = tried(row("wall_time/run", 30_000), held)["run 1"].stopped
    assert one
    assert (one.at, one.value, one.position) == (at(45), 45_000, 2)
    assert tried(row("wall_time/run", 45_000), held) == {}


def test_a_steps_latency_leaves_out_what_it_waited_for_people() -> None:
    step = PastStep(
        number=2, agent="clerk", begun=at(10), ended=at(40), waits=((at(12), at(22)), (at(20), at(24)))
    )
    slow = run(1, thought(0), thought(30), steps=(step,))
    one = tried(row("step_latency", 10_000), slow)["run 1"].stopped
    assert one
    assert (one.step, one.at, one.value, one.position) == (2, at(32), 18_000, 2)
    assert tried(row("step_latency", 18_000), slow) == {}


def test_the_retry_too_many_is_where_it_stops() -> None:
    retries = (PastRetry(step=1, at=at(4)), PastRetry(step=2, at=at(9)))
    tries = run(1, thought(0), thought(5), thought(10, 30), retries=retries)
    one = tried(row("retries/run", 1), tries)["run 1"]
    assert one.stopped
    assert (one.stopped.step, one.stopped.value, one.saved.cost) == (2, 2, 30)


def test_a_plan_too_wide_or_too_deep_stops_where_it_was_made() -> None:
    plan = PastStep(number=3, begun=at(5), ended=at(9), tasks=12, depth=2)
    wide = run(1, thought(0), thought(10, 70), steps=(PastStep(number=1, begun=at(0), ended=at(4)), plan))
    assert tried(row("fan_out_width", 11), wide)["run 1"].saved.cost == 70
    assert tried(row("fan_out_depth", 1), wide)["run 1"].stopped.value == 2  # type: ignore[union-attr]
    assert tried(row("fan_out_width", 12), wide) == {}


def test_only_calls_of_its_own_scope_count() -> None:
    mixed = run(
        1,
        thought(0, agent="judge", model="local/big"),
        thought(3),
        thought(6, model="openai/large"),
        called(9, "pay"),
        thought(12),
    )
    stops = {
        "agent:clerk": 4,
        "provider:openai": 4,
        "team:care": 3 - 1,
        "workflow:refunds": 2,
    }
    for scope, position in stops.items():
        stopped = tried(row("model_calls/run", 2, scope), mixed)["run 1"].stopped
        assert stopped, scope
        assert stopped.position == position, scope
    for scope in ("team:other", "workflow:other", "run:2", "model:openai/large", "agent:judge"):
        assert tried(row("model_calls/run", 2, scope), mixed) == {}, scope
    assert tried(row("tool_calls/run", 0, "tool:pay"), mixed)["run 1"].stopped.position == 3  # type: ignore[union-attr]


def test_only_what_the_draft_adds_to_what_held_then_counts() -> None:
    held = row("turns/run", 3, id=7)
    assert tried(row("turns/run", 3, "workflow:refunds"), LONG, beside=(held,)) == {}
    one = tried(row("turns/run", 2), LONG, beside=(held,))["run 1"]
    assert one.saved.cost == 120, "the fourth turn would not have been made then either"
    assert one.lost is False, "it would have been stopped then too"
    assert one.cards == 0, "its card comes earlier, not in addition"


def test_what_held_at_another_time_does_not_count() -> None:
    over = row("turns/run", 1, id=7, until=at(-1))
    later = row("turns/run", 1, id=8, since=at(100))
    assert tried(row("turns/run", 2), LONG, beside=(over, later))["run 1"].saved.cost == 520


def test_ending_or_raising_a_limit_frees_and_says_that_more_is_not_known() -> None:
    old = row("turns/run", 2, id=7)
    found, sums = rehearsed(draft(None, old=(old,), line=7), [LONG])
    assert found[0].freed
    assert (found[0].freed.position, found[0].stopped, found[0].saved.calls) == (3, None, 0)
    assert (sums.freed, sums.extra_escalations, sums.untold[NO_MORE]) == (1, -1, 1)
    raised = tried(row("turns/run", 3), LONG, old=(old,))["run 1"]
    assert (raised.freed is not None, raised.cards) == (True, 0)


def test_a_call_that_was_refused_then_is_not_on_record_and_its_run_is_freed_all_the_same() -> None:
    parked = run(1, thought(0), thought(3), refusals=(PastRefusal(limit=7, step=1, at=at(6)),), how=How.ENDED)
    old = row("turns/run", 2, id=7)
    assert tried(row("turns/run", 5), parked, old=(old,))["run 1"].freed
    assert tried(row("turns/run", 2), parked, old=(old,)) == {}
    assert tried(row("turns/run", 1), parked, old=(old,))["run 1"].saved.cost == 100
    assert tried(row("turns/run", 2, "team:other"), parked, beside=(old,)) == {}


def test_a_draft_that_warns_stops_nothing() -> None:
    found, sums = rehearsed(draft(row("turns/run", 2, mode="warn")), [LONG, SHORT])
    assert [one.why for one in found] == ["Warned at step 3: turns a run 3 of 2 (the organisation)."]
    assert (sums.warned, sums.stopped, sums.saved.calls, sums.extra_escalations) == (1, 0, 0, 0)


def test_a_warning_that_a_stop_before_it_would_have_prevented_is_none() -> None:
    assert tried(row("turns/run", 3, mode="warn"), LONG, beside=(row("turns/run", 2, id=4),)) == {}


def test_whether_a_success_is_lost_is_not_guessed() -> None:
    going = run(1, *LONG.calls, how=How.UNDER_WAY)
    found, sums = rehearsed(draft(row("turns/run", 2)), [going])
    assert found[0].lost is None
    assert (sums.successes_lost, sums.success_unknown, sums.untold[NO_SUCCESS]) == (0, 1, 1)


def test_what_has_no_price_counts_for_nothing_and_is_said() -> None:
    unpriced = run(1, thought(0, None), thought(3, 90), thought(6, 20))
    found, sums = rehearsed(draft(row("cost/run", 100)), [unpriced])
    assert found[0].stopped
    assert (found[0].stopped.position, found[0].stopped.value) == (2, 110)
    assert sum(sums.untold.values()) == 1


def test_a_draft_for_one_workflow_counts_that_workflows_runs_alone() -> None:
    other = run(3, thought(0, 900), thought(3, 900), workflow="letters", questions=(asked(1, 2, by="Ines"),))
    found = totals(row("turns/run", 2, "workflow:refunds"), LONG, SHORT, other)
    assert (found.runs, found.beside, found.successes, found.stopped) == (2, 1, 1, 1)
    assert found.spent.cost == 100 + 110 + 120 + 400 + 50 + 60
    assert (found.answered, len(found.hours)) == (2, 2)  # operators are at work for others as well
    assert len(found.spread.figures) == 2


@pytest.mark.parametrize(
    ("scope", "covered"),
    [
        ("team:care", 2),
        ("team:post", 0),
        ("run:2", 1),
        ("agent:clerk", 2),
        ("agent:nobody", 0),
        ("model:openai/small", 2),
    ],
)
def test_a_run_counts_where_the_scope_covers_something_of_it(scope: str, covered: int) -> None:
    found = totals(row("model_calls/run", 2, scope), LONG, SHORT)
    assert (found.runs, found.beside) == (covered, 2 - covered)


@pytest.mark.parametrize(
    ("kind", "figures"),
    [
        ("turns/run", [4, 2]),
        ("tool_calls/run", [2, 0]),
        ("cost/run", [730, 110]),
        ("tokens/run", [7800, 2200]),
        ("context_tokens", [4000, 1000]),
        ("wall_time/run", [60_000, 60_000]),
        ("retries/run", [0, 0]),
        ("cost/day", []),
        ("requests/minute", []),
    ],
)
def test_what_runs_came_to_is_told_of_what_counts_within_a_run(kind: str, figures: list[int]) -> None:
    assert list(totals(row(kind, 10**6), LONG, SHORT).spread.figures) == figures


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=200), st.integers(1, 10**7))
def test_the_figures_of_a_spread_are_those_of_its_runs(figures: list[int], value: int) -> None:
    spread = Spread()
    for figure in figures:
        spread.add(figure)
    told = spread.as_json(Unit.COUNT, value)
    for share in (50, 90, 99):
        mark = told[f"p{share}"]
        assert 100 * sum(one <= mark for one in figures) >= share * len(figures)
        assert 100 * sum(one < mark for one in figures) < share * len(figures)
    assert (told["most"], told["runs"], told["above"]) == (
        max(figures),
        len(figures),
        sum(one > value for one in figures),
    )
    bars = told["bars"]
    assert sum(bar["runs"] for bar in bars) == len(figures)
    assert sum(bar["crossed"] for bar in bars) <= 1
    assert sum(bar["runs"] for bar in bars if bar["over"]) <= told["above"]
    edges = [bar["up_to"] for bar in bars[:-1]]
    assert edges == sorted(edges)
    assert edges[-1] >= max(value, told["p99"])
    for least, bar in zip([-1, *edges], bars, strict=True):
        assert bar["runs"] == sum(least < one <= (bar["up_to"] or max(figures)) for one in figures)


def test_a_spread_of_nothing_is_not_drawn() -> None:
    assert Spread().as_json(Unit.COUNT, 5) == {}
