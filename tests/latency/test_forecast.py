"""When a limit will be crossed: the turn and the moment, exactly, of uses made by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from runs.limits.forecast import Breach, Use, forecast, passing

BEGIN = datetime(2026, 11, 21, 14, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def uses(*amounts: int, apart: float = 10) -> list[Use]:
    return [Use(at=at(apart * place), amount=amount) for place, amount in enumerate(amounts)]


def test_nine_of_twelve_turns_ten_seconds_apart_leave_three_and_cross_with_the_fourth() -> None:
    turns = uses(*[1] * 9)
    assert forecast(used=9, cap=12, uses=turns, now=at(83)) == Breach(turns=4, at=at(120))


def test_money_burns_at_the_mean_of_the_last_uses() -> None:
    spent = uses(30_000, 50_000, 40_000)  # 40,000 a turn
    assert forecast(used=400_000, cap=500_000, uses=spent, now=at(20)) == Breach(turns=3, at=at(50))


def test_a_use_that_just_fits_does_not_cross() -> None:
    assert forecast(used=8, cap=10, uses=uses(2, 2), now=at(10)) == Breach(turns=2, at=at(30))


def test_a_limit_that_is_reached_is_crossed_by_the_next_use() -> None:
    assert forecast(used=12, cap=12, uses=uses(1, 1), now=at(15)) == Breach(turns=1, at=at(20))


def test_what_is_late_is_expected_now_and_not_in_the_past() -> None:
    assert forecast(used=12, cap=12, uses=uses(1, 1), now=at(500)) == Breach(turns=1, at=at(500))


def test_what_is_crossed_already_was_crossed_now() -> None:
    assert forecast(used=13, cap=12, uses=[], now=at(5)) == Breach(turns=0, at=at(5))


def test_one_use_tells_a_turn_and_no_time_unless_its_beginning_is_known() -> None:
    assert forecast(used=1, cap=3, uses=uses(1), now=at(1)) == Breach(turns=3, at=None)
    known = forecast(used=1, cap=3, uses=uses(1), now=at(0), since=at(-5))
    assert known == Breach(turns=3, at=at(15))


def test_nothing_used_never_crosses() -> None:
    assert forecast(used=0, cap=3, uses=[], now=at(0)) is None
    assert forecast(used=0, cap=3, uses=uses(0, 0), now=at(0)) is None


def test_what_lies_beyond_ten_years_is_not_foretold() -> None:
    assert forecast(used=1, cap=10**15, uses=uses(1, 1), now=at(0)) is None
    assert passing(used=0, cap=10**15, now=at(0)) is None


def test_time_itself_runs_out_when_it_has() -> None:
    assert passing(used=40_000, cap=60_000, now=at(0)) == at(20)
    assert passing(used=61_000, cap=60_000, now=at(0)) == at(0)


@given(
    st.lists(st.integers(1, 1_000), min_size=2, max_size=20),
    st.integers(0, 5_000),
    st.integers(0, 5_000),
    st.integers(1, 600),
)
def test_the_turn_foretold_is_the_first_that_does_not_fit(
    amounts: list[int], used: int, left: int, apart: int
) -> None:
    cap = used + left
    told = forecast(used=used, cap=cap, uses=uses(*amounts, apart=apart), now=at(0))
    assert told is not None
    assert told.at is not None
    mean_times = sum(amounts)  # `turns` uses of the mean amount, times their number
    assert used * len(amounts) + told.turns * mean_times > cap * len(amounts)
    assert used * len(amounts) + (told.turns - 1) * mean_times <= cap * len(amounts)
    assert told.at >= at(0)
