"""Which limit applies: all that cover hold, the strictest enforced one decides, the most specific is named."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from runs.limits import fixed
from runs.limits.applying import Book, applies
from runs.limits.kinds import LimitKind, LimitScope, Mode, Window
from runs.limits.rows import Row, Where
from tests.limits.made import KINDS, hours, moments, places, row, rows

TURNS = (LimitKind.TURNS, Window.RUN)
REFUNDS = Where(team="care", workflow="refunds", agent="clerk", model="openai/small", run=7)
NOON = hours(12)


def decides(*limits: Row, to: Where = REFUNDS, at: datetime = NOON) -> tuple[int | None, str]:
    applied = applies(limits, to=to, at=at)[TURNS]
    return applied.value, applied.why.scope_words if applied.why else ""


def test_a_narrow_limit_does_not_loosen_a_wide_one() -> None:
    assert decides(row(20), row(30, "workflow:refunds")) == (20, "the organisation")


def test_a_narrow_limit_tightens_a_wide_one() -> None:
    assert decides(row(20), row(12, "workflow:refunds")) == (12, "workflow refunds")


def test_of_equal_ones_the_most_specific_is_named_and_of_those_the_oldest() -> None:
    assert decides(row(20), row(20, "workflow:refunds"), row(20, "team:care")) == (20, "workflow refunds")
    assert decides(row(20, "agent:clerk"), row(20, "run:7"), row(20, "workflow:refunds")) == (20, "run 7")
    old, young = row(20, id=3), row(20, id=9)
    assert applies([young, old], to=REFUNDS, at=NOON)[TURNS].why == old


def test_warned_and_observed_limits_never_decide_and_are_told_apart() -> None:
    limits = [row(20), row(5, mode="warn"), row(2, "workflow:refunds", mode="observe")]
    applied = applies(limits, to=REFUNDS, at=NOON)[TURNS]
    assert applied.value == 20
    assert [one.value for one in applied.warning] == [5]
    assert [one.value for one in applied.observing] == [2]
    assert applies(limits[1:], to=REFUNDS, at=NOON)[TURNS].value is None


def test_a_limit_holds_from_its_first_moment_to_before_its_last() -> None:
    limit = row(5, since=hours(1), until=hours(2))
    held = [TURNS in applies([limit], to=REFUNDS, at=hours(at)) for at in (0.99, 1, 1.99, 2)]
    assert held == [False, True, True, False]


def test_a_providers_limit_covers_its_models_and_no_name_that_only_begins_like_it() -> None:
    limit = row(5, "provider:openai")
    there = [
        bool(applies([limit], to=Where(model=one), at=NOON))
        for one in ("openai/x", "openai-eu/x", "openai", "")
    ]
    assert there == [True, False, False, False]


def test_what_is_not_known_of_a_place_no_limit_of_that_scope_binds() -> None:
    assert applies([row(5, "agent:clerk")], to=Where(workflow="refunds"), at=NOON) == {}


def test_a_definitions_row_counts_in_its_own_workflow_only() -> None:
    limit = row(5, "agent:clerk", within="refunds")
    assert limit.covers(REFUNDS)
    assert not limit.covers(Where(workflow="invoices", agent="clerk"))


def test_caps_are_given_from_wide_to_narrow() -> None:
    limits = [row(3, "run:7"), row(9), row(5, "team:care"), row(4, "workflow:refunds"), row(2, "team:money")]
    caps = Book(limits).caps(*TURNS, to=REFUNDS, at=NOON)
    assert [one.value for one in caps] == [9, 5, 4, 3]


@given(st.lists(rows(), max_size=8), rows(), places(), moments)
def test_adding_a_limit_never_loosens(limits: list[Row], more: Row, to: Where, at: datetime) -> None:
    before, after = applies(limits, to=to, at=at), applies([*limits, more], to=to, at=at)
    for what, applied in before.items():
        for mode in Mode:
            assert least(after[what], mode) <= least(applied, mode)


def least(applied: object, mode: Mode) -> float:
    held = {Mode.ENFORCE: "holding", Mode.WARN: "warning", Mode.OBSERVE: "observing"}[mode]
    return min((one.value for one in getattr(applied, held)), default=float("inf"))


@given(st.lists(rows(), max_size=8, unique_by=lambda one: one.id), places(), moments, st.randoms())
def test_the_order_of_limits_does_not_matter(
    limits: list[Row], to: Where, at: datetime, chance: object
) -> None:
    shuffled = list(limits)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert applies(shuffled, to=to, at=at) == applies(limits, to=to, at=at)
    assert list(applies(shuffled, to=to, at=at)) == list(applies(limits, to=to, at=at))


@given(st.lists(rows(), max_size=8), places(), moments)
def test_what_is_reported_is_exactly_what_covers(limits: list[Row], to: Where, at: datetime) -> None:
    applied = applies(limits, to=to, at=at)
    told = [one for each in applied.values() for one in (*each.holding, *each.warning, *each.observing)]
    assert sorted(map(repr, told)) == sorted(repr(one) for one in limits if one.covers(to) and one.holds(at))
    for what, each in applied.items():
        assert all((one.kind, one.window) == what for one in (*each.holding, *each.warning, *each.observing))
        if each.holding:
            assert each.value == min(one.value for one in each.holding)
            same = [one for one in each.holding if one.value == each.value]
            assert each.why is not None
            assert each.why.scope_kind.specific == max(one.scope_kind.specific for one in same)


@given(st.lists(rows(), max_size=8, unique_by=lambda one: one.id), places(), moments)
def test_the_book_says_the_same_as_the_list(limits: list[Row], to: Where, at: datetime) -> None:
    book = Book(limits)
    assert book.applies(to=to, at=at) == applies(limits, to=to, at=at)
    for what in KINDS:
        applied = applies(limits, to=to, at=at).get(what)
        assert book.bound(*what, to=to, at=at) == (applied.why if applied else None)
        assert set(book.caps(*what, to=to, at=at)) == set(applied.holding if applied else ())


def test_asking_a_large_book_looks_only_at_what_covers_the_place() -> None:
    limits = [row(n, f"run:{n}") for n in range(1, 2000)]
    book = Book(limits)
    assert len(book.covering(REFUNDS)) == 1
    assert book.bound(*TURNS, to=REFUNDS, at=NOON) == limits[6]


def test_every_scope_has_a_place_between_wide_and_narrow() -> None:
    assert [scope.value for scope in LimitScope] == [
        *("organisation", "team", "workflow", "provider", "model", "agent", "tool", "run")
    ]


def test_what_is_built_in_holds_until_people_rather_want_to_be_told() -> None:
    (built_in,) = (one for one in fixed.built_in() if one.kind is LimitKind.REPEATS)
    what = (LimitKind.REPEATS, Window.NONE)

    def bound(*people: Row, to: Where = REFUNDS) -> int | None:
        row = Book(people).bound(*what, to=to, at=NOON, fixed=fixed.built_in())
        applied = applies((*people, built_in), to=to, at=NOON)[what]
        assert applied.value == (row.value if row else None)
        return applied.value

    def repeats(value: int, scope: str = "", mode: str = "enforce") -> Row:
        return replace(row(value, scope, mode=mode), kind=what[0], window=what[1])

    assert bound() == 3
    assert (bound(repeats(2)), bound(repeats(9))) == (2, 3)
    warned = repeats(5, "agent:clerk", mode="warn")
    assert bound(warned) is None
    assert bound(warned, to=Where(workflow="refunds", agent="other")) == 3
    assert bound(warned, repeats(9, "agent:clerk")) == 9
