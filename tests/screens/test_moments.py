"""Times and amounts are written in one way, wherever they stand."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from runs import moments
from runs.limits.units import Unit, about, read, shown
from runs.templatetags import console

NOW = datetime(2026, 11, 21, 23, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        (datetime(2026, 11, 21, 23, 16, 4, tzinfo=UTC), "23:16:04"),
        (datetime(2026, 11, 22, 0, 16, 5, tzinfo=UTC), "22 Nov 00:16:05"),
        (datetime(2025, 1, 3, 10, tzinfo=UTC), "3 Jan 2025 10:00:00"),
    ],
)
def test_a_moment_is_told_to_the_second_and_as_far_as_it_takes_from_now(moment: datetime, said: str) -> None:
    assert moments.told(moment, NOW) == said
    assert moments.in_full(moment).endswith(f"{moment:%H:%M:%S} UTC")
    assert str(moment.year) in moments.in_full(moment)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (4, "4 s"),
        (59, "59 s"),
        (61, "1 min 01"),
        (599, "9 min 59"),
        (600, "10 min"),
        (3599, "59 min"),
        (3900, "1 h 05"),
    ],
)
def test_what_counts_down_in_a_list_has_no_seconds_above_ten_minutes(seconds: int, said: str) -> None:
    assert moments.left(seconds) == said


@pytest.mark.parametrize(
    ("micros", "said"),
    [(591_112, "$0.591"), (40_000_000, "$40.00"), (1_234_567, "$1.23"), (1512, "$0.00151"), (0, "$0.00")],
)
def test_what_was_spent_has_the_digits_that_matter_and_a_limit_all_of_them(micros: int, said: str) -> None:
    assert about(Unit.MONEY, micros) == said
    assert read(Unit.MONEY, shown(Unit.MONEY, micros)) == micros


def test_a_time_that_was_used_is_written_as_times_are_everywhere() -> None:
    assert about(Unit.DURATION, 544_321) == moments.span(544.321) == "9 min 04"


def test_what_a_record_holds_of_a_moment_is_shown_as_every_moment() -> None:
    shown = console.written("2025-01-03T10:00:00.905307+00:00")
    assert "3 Jan 2025 10:00:00<" in shown
    assert console.written("T-shirts 2025") == console.outside("T-shirts 2025")
    assert "3 Jan 10:00:00<" in console.dated(datetime(2025, 1, 3, 10, tzinfo=UTC))


def test_a_title_shows_what_is_hidden_and_nothing_runs_backwards_in_it() -> None:
    assert console.in_title("pay \u202eanna") == "pay [RLO]anna"
