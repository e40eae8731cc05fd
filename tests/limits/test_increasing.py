"""What a change allows more: exactly when somewhere, sometime, something passes that did not before."""

from __future__ import annotations

from datetime import datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from runs.limits.increasing import increases
from runs.limits.kinds import KEYS, TABLE, LimitKind, LimitScope, Mode, Window
from runs.limits.replacing import replaced
from runs.limits.rows import Row, Where
from tests.limits.made import KINDS, hours, row, rows

NOW = hours(1)


def says(before: list[Row], after: list[Row], beside: tuple[Row, ...] = ()) -> list[str]:
    return [one.says for one in increases(before, after, at=NOW, beside=beside)]


def test_what_raises_loosens_ends_or_narrows_allows_more() -> None:
    assert says([row(10)], [row(20)]) == ["turns a run: from 10 to 20"]
    assert says([row(10)], [row(10, mode="warn")]) == ["turns a run: from 10 to no limit"]
    assert says([row(10)], []) == ["turns a run: from 10 to no limit"]
    assert says([row(10)], [row(10, until=hours(9))]) == [
        "turns a run: from 10 to no limit, from 1 Jan 2026 09:00:00 UTC on"
    ]
    assert says([row(10)], [row(10, since=hours(2))]) == [
        "turns a run: from 10 to no limit, until 1 Jan 2026 02:00:00 UTC"
    ]
    assert says([row(10)], [row(10, "workflow:refunds")]) == ["turns a run: from 10 to no limit"]
    assert says([row(10, mode="warn")], [row(10, mode="observe")]) == [
        "turns a run before anybody is warned: from 10 to no limit"
    ]


def test_what_lowers_tightens_prolongs_or_widens_allows_nothing_more() -> None:
    assert says([], [row(10)]) == []
    assert says([row(10)], [row(9)]) == []
    assert says([row(10, mode="observe")], [row(10)]) == []
    assert says([row(10, until=hours(9))], [row(10)]) == []
    assert says([row(10, "workflow:refunds")], [row(10)]) == []
    assert says([row(10, "model:openai/small")], [row(10, "provider:openai")]) == []


def test_prolonging_a_raise_allows_more() -> None:
    before = [row(20, until=hours(4)), row(10, since=hours(4))]
    longer = [row(20, until=hours(8)), row(10, since=hours(8))]
    (found,) = increases(before, longer, at=NOW)
    assert (found.since, found.until, found.to) == (hours(4), hours(8), 20)
    assert says(longer, before) == []


def test_what_is_past_does_not_count() -> None:
    assert says([row(10, until=hours(1))], []) == []
    (found,) = increases([row(10, until=hours(3))], [], at=NOW)
    assert (found.since, found.until) == (NOW, hours(3))


def test_another_limit_that_holds_all_the_same_is_seen() -> None:
    assert says([row(10, "workflow:refunds")], [], beside=(row(10),)) == []
    assert says([row(10, "workflow:refunds")], [], beside=(row(15),)) == ["turns a run: from 10 to 15"]
    assert says([row(10, "workflow:refunds")], [], beside=(row(5, mode="warn"),)) == [
        "turns a run: from 10 to no limit"
    ]


def test_a_second_admin_is_asked_above_the_amount_and_for_what_was_enforced_only() -> None:
    alone = {(LimitKind.TURNS, Window.RUN): 50}

    def above(before: Row, *after: Row) -> bool:
        return any(one.above(alone) for one in increases([before], list(after), at=NOW))

    assert not above(row(10), row(50))
    assert above(row(10), row(51))
    assert above(row(10))
    assert not above(row(10, mode="warn"))
    assert not above(row(99), row(60))
    assert not any(
        one.above({(LimitKind.TURNS, Window.RUN): None}) for one in increases([row(10)], [], at=NOW)
    )


def test_without_a_setting_the_tables_amount_counts() -> None:
    most = TABLE[LimitKind.TURNS].alone[Window.RUN]
    (found,) = increases([row(10)], [row(most + 1)], at=NOW)
    assert found.above({})
    assert all(TABLE[kind].alone[window] > 0 for kind, window in KEYS.values())


def strictest(
    limits: list[Row], to: Where, at: datetime, what: tuple[LimitKind, Window], mode: Mode
) -> float:
    held = [one for one in limits if (one.kind, one.window) == what and one.mode.strength >= mode.strength]
    return min((one.value for one in held if one.covers(to) and one.holds(at)), default=float("inf"))


# Every place that a limit of these tests can tell from another, each with and without every name.
PLACES = [
    Where(team=team, workflow=workflow, agent=agent, model=model, tool="pay", run=run)
    for team in ("care", "elsewhere")
    for workflow in ("refunds", "elsewhere")
    for agent in ("clerk", "elsewhere")
    for model in ("openai/small", "openai/large", "elsewhere")
    for run in (1, 99)
]
MOMENTS = [hours(half / 2) for half in range(2, 28)]


def only(limit: Row) -> Where:
    """A place that this limit covers, and of the others as few as can be."""
    names = {"team": "elsewhere", "workflow": "elsewhere", "agent": "elsewhere", "tool": "elsewhere"}
    if limit.scope_kind.value in names:
        names[limit.scope_kind.value] = limit.scope
    model = {LimitScope.MODEL: limit.scope, LimitScope.PROVIDER: f"{limit.scope}/elsewhere"}
    run = int(limit.scope) if limit.scope_kind is LimitScope.RUN else 99
    return Where(**names, model=model.get(limit.scope_kind, "elsewhere"), run=run)


def allows_more(before: list[Row], after: list[Row], limits_of: list[Row]) -> bool:
    """The same, asked at every place and moment that could differ."""
    places = [*PLACES, *(only(one) for one in limits_of)]
    return any(
        strictest(before, to, at, what, mode) < strictest(after, to, at, what, mode)
        for what in KINDS
        for mode in Mode
        for at in MOMENTS
        for to in places
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(rows(), max_size=3), st.lists(rows(), max_size=3), st.lists(rows(), max_size=2))
def test_it_says_exactly_what_trying_every_place_and_moment_says(
    before: list[Row], after: list[Row], beside: list[Row]
) -> None:
    found = increases(before, after, at=NOW, beside=beside)
    every = [*before, *after, *beside]
    assert bool(found) == allows_more([*before, *beside], [*after, *beside], every)


@settings(max_examples=100, deadline=None)
@given(st.lists(rows(), max_size=4), st.lists(rows(), max_size=3))
def test_setting_more_limits_and_changing_nothing_never_allow_more(
    before: list[Row], more: list[Row]
) -> None:
    assert increases(before, [*before, *more], at=NOW) == ()
    assert increases(before, before, at=NOW) == ()


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(2, 20), st.booleans())
def test_a_change_lays_itself_over_what_was_planned(
    first: int, second: int, value: int, length: int, back: bool
) -> None:
    planned = [row(first, id=1, until=hours(8)), row(second, id=2, since=hours(8))]
    new = row(value, since=hours(3), until=hours(3 + length))
    plan = replaced(planned, new, at=NOW, then_as_before=back)

    def course(limits: list[Row], at: datetime) -> list[int]:
        return [one.value for one in limits if one.holds(at)]

    for half in range(2, 60):
        at = hours(half / 2)
        inside = new.since <= at < hours(3 + length)
        if inside:
            assert course(list(plan.after), at) == [value]
        elif at < new.since or back:
            assert course(list(plan.after), at) == course(planned, at)
        else:
            assert course(list(plan.after), at) == []
    kept = {one.id for one in plan.kept}
    assert kept | set(plan.ended) == {1, 2}
    assert kept & set(plan.ended) == set()
    for one in plan.kept:
        old = planned[one.id - 1]
        assert (one.since, one.value) == (old.since, old.value)
        assert one.until is not None or old.until is None


def test_ending_ends_everything_that_was_planned() -> None:
    plan = replaced([row(5, id=1, until=hours(8)), row(9, id=2, since=hours(8))], None, at=NOW)
    assert (plan.kept, plan.ended, plan.made) == ((), (1, 2), ())
