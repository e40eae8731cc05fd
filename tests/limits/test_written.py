"""Limits as people write them: what is shown is read back, what is wrong is one sentence beside its field."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsconsole import second_admin
from opsconsole.environment import Refused
from runs import registry
from runs.limits import fixed, written
from runs.limits.applying import Book
from runs.limits.kinds import KEYS, TABLE, LimitKind, LimitScope, Mode, Window, says
from runs.limits.rows import Where
from runs.limits.units import MOST, Unit, WrongValue, read, shown
from tests.limits.made import START, hours

GOOD = {"what": "cost/month", "scope_kind": "team", "scope": "care", "value": "$40", "mode": "enforce"}


@given(st.sampled_from(list(Unit)), st.integers(0, MOST))
def test_what_is_shown_is_read_back_to_the_unit(unit: Unit, value: int) -> None:
    assert read(unit, shown(unit, value)) == value


@pytest.mark.parametrize(
    ("unit", "text", "value"),
    [
        (Unit.MONEY, "0.05", 50_000),
        (Unit.MONEY, "$6,000.00", 6_000_000_000),
        (Unit.MONEY, "0.000001", 1),
        (Unit.TOKENS, "16k", 16_000),
        (Unit.TOKENS, "2.5M", 2_500_000),
        (Unit.COUNT, " 1,500 ", 1500),
        (Unit.DURATION, "1 h 30 min", 5_400_000),
        (Unit.DURATION, "1h30m", 5_400_000),
        (Unit.DURATION, "500 ms", 500),
        (Unit.DURATION, "1.5 s", 1500),
    ],
)
def test_people_may_write_it_in_several_ways(unit: Unit, text: str, value: int) -> None:
    assert read(unit, text) == value


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        *((unit, text) for unit in Unit for text in ("", "x", "-1", "1e9", "NaN", "١٢", "1,2", "1 2")),
        (Unit.MONEY, "0.0000001"),
        (Unit.MONEY, "€5"),
        (Unit.COUNT, "1.5"),
        (Unit.TOKENS, "0.0001k"),
        (Unit.DURATION, "90"),
        (Unit.DURATION, "1 parsec"),
        (Unit.DURATION, "0.1 ms"),
    ],
)
def test_what_is_no_value_is_refused_with_what_is_one(unit: Unit, text: str) -> None:
    with pytest.raises(WrongValue, match="such as"):
        read(unit, text)


def test_more_than_can_be_kept_is_refused() -> None:
    with pytest.raises(WrongValue, match="at most"):
        read(Unit.COUNT, "9999999999999999")


def test_a_limit_is_read_with_all_its_fields() -> None:
    row = written.new_limit(GOOD | {"until": "2026-03-01T08:00"}, at=START)
    assert (row.kind, row.window, row.scope, row.value) == (LimitKind.COST, Window.MONTH, "care", 40_000_000)
    assert (row.since, row.until, row.mode) == (START, START + timedelta(days=59, hours=8), Mode.ENFORCE)
    again = written.changed(row, written.as_written(row), at=START)
    assert again == row


@pytest.mark.parametrize(
    ("given", "field", "sentence"),
    [
        ({"what": "wings/run"}, "what", "Choose what is limited: turns/run,"),
        ({"scope_kind": "planet"}, "scope_kind", "Choose one of organisation, team, "),
        ({"scope_kind": "tool", "scope": "pay"}, "scope_kind", "Cost a month cannot be limited by tool"),
        ({"scope": ""}, "scope", "Write the name of the team."),
        ({"scope_kind": "run", "scope": "x"}, "scope", "Write the number of the run."),
        ({"value": "much"}, "value", "Write an amount in US dollars"),
        ({"value": "0"}, "value", "Zero would let nothing happen"),
        ({"mode": "maybe"}, "mode", "Choose one of observe, warn, enforce."),
        ({"since": "2025-01-01"}, "since", "That is past"),
        ({"since": "2126-01-01"}, "since", "more than ten years"),
        ({"until": "2025-01-01"}, "until", "It would end before it begins"),
        ({"until": "soon"}, "until", "Write a day and an hour in UTC"),
        ({"until": "0001-01-01T00:00+23:00"}, "until", "Write a day and an hour in UTC"),
    ],
)
def test_each_wrong_field_has_its_sentence(given: dict[str, str], field: str, sentence: str) -> None:
    with pytest.raises(written.Wrong) as wrong:
        written.new_limit(GOOD | given, at=START)
    assert [name for name, _ in wrong.value.errors] == [field]
    assert wrong.value.errors[0][1].startswith(sentence.split("…")[0]) or sentence in wrong.value.errors[0][1]


def test_everything_wrong_at_once_is_said_at_once() -> None:
    with pytest.raises(written.Wrong) as wrong:
        written.new_limit({}, at=START)
    assert [name for name, _ in wrong.value.errors] == ["what", "scope_kind", "mode"]


def test_every_settable_kind_has_scopes_a_unit_and_an_amount_for_one_admin() -> None:
    for name, (kind, window) in KEYS.items():
        one = TABLE[kind]
        assert one.scopes[0] is LimitScope.ORGANISATION
        assert one.alone[window] >= one.least
        assert says(kind, window).startswith(one.words)
        assert name == name.strip()


def test_the_amounts_for_one_admin_are_settable_and_the_rest_keep_theirs() -> None:
    given = "cost/day=$1,250.50, turns/run=7, retries/run=any"
    found = second_admin.above({"OPSCONSOLE_SECOND_ADMIN_ABOVE": given})
    assert found[LimitKind.COST, Window.DAY] == 1_250_500_000
    assert found[LimitKind.TURNS, Window.RUN] == 7
    assert found[LimitKind.RETRIES, Window.RUN] is None
    assert found[LimitKind.COST, Window.MONTH] == TABLE[LimitKind.COST].alone[Window.MONTH]


@pytest.mark.parametrize("given", ["cost=5", "cost/day", "cost/day=much", "5", "wings/run=3"])
def test_an_amount_that_cannot_be_is_refused_at_the_start(given: str) -> None:
    with pytest.raises(Refused, match="OPSCONSOLE_SECOND_ADMIN_ABOVE"):
        second_admin.above({"OPSCONSOLE_SECOND_ADMIN_ABOVE": given})


def test_the_bounds_of_definitions_stand_beside_the_limits_of_people() -> None:
    workflow = registry.newest("dependency_review")
    assert workflow is not None
    rows = fixed.of_workflow(workflow)
    by_what = {(one.kind, one.window, one.scope): one.value for one in rows}
    pattern = workflow.pattern
    assert by_what[LimitKind.WALL_TIME, Window.RUN, workflow.name] == workflow.deadline_seconds * 1000
    assert by_what[LimitKind.RETRIES, Window.RUN, workflow.name] == workflow.retry_budget
    assert by_what[LimitKind.FAN_OUT_WIDTH, Window.NONE, workflow.name] == pattern.most_tasks  # type: ignore[union-attr]
    assert by_what[LimitKind.FAN_OUT_DEPTH, Window.NONE, workflow.name] == pattern.depth  # type: ignore[union-attr]
    assert by_what[LimitKind.STEPS_AT_ONCE, Window.RUN, workflow.name] == pattern.width  # type: ignore[union-attr]
    agents = {agent.name: agent.max_turns for node in workflow.nodes for agent in node.agents}
    turns = {one.scope: one.value for one in rows if one.kind is LimitKind.TURNS}
    assert turns == agents


def test_the_effective_bound_is_the_smaller_of_both_and_says_where_it_stands() -> None:
    workflow = registry.newest("refund_desk")
    assert workflow is not None
    to, what = Where(workflow=workflow.name), (LimitKind.RETRIES, Window.RUN)
    base = {"what": "retries/run", "scope_kind": "organisation", "mode": "enforce"}
    rows = fixed.of_workflow(workflow)
    for value, origin in ((workflow.retry_budget - 1, ""), (workflow.retry_budget + 1, "refund_desk v")):
        limit = written.new_limit(base | {"value": str(value)}, at=START)
        bound = Book([limit]).bound(*what, to=to, at=hours(1), fixed=rows)
        assert bound is not None
        assert bound.value == min(value, workflow.retry_budget)
        assert bound.origin.startswith(origin)
        assert bool(bound.origin) == bool(origin)
