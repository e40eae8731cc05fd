"""When a cron expression is due, above all on the two days of a year that have 23 and 25 hours."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta

import pytest

from runs.cron import BadCron, parse
from tests.starts.conftest import utc

BERLIN = "Europe/Berlin"  # 2027-03-28: 02:00 becomes 03:00; 2026-10-25: 03:00 becomes 02:00


def moments(cron: str, zone: str, after: datetime, count: int) -> list[datetime]:
    found, read = [], parse(cron, zone)
    for _ in range(count):
        moment = read.next(after)
        assert moment is not None
        found.append(moment)
        after = moment
    return found


def test_a_stated_time_that_spring_leaves_out_comes_one_hour_later_on_the_clock() -> None:
    assert moments("30 2 * * *", BERLIN, utc(2027, 3, 27, 12), 2) == [
        utc(2027, 3, 28, 1, 30),
        utc(2027, 3, 29, 0, 30),
    ]


def test_a_stated_time_that_autumn_has_twice_comes_once() -> None:
    assert moments("30 2 * * *", BERLIN, utc(2026, 10, 24, 12), 2) == [
        utc(2026, 10, 25, 0, 30),
        utc(2026, 10, 26, 1, 30),
    ]


@pytest.mark.parametrize("day", [utc(2027, 3, 28), utc(2026, 10, 25)])
def test_every_quarter_of_an_hour_stays_that_through_both_changes(day: datetime) -> None:
    found = moments("*/15 * * * *", BERLIN, day - timedelta(minutes=15), 16)
    assert found == [day + timedelta(minutes=15 * step) for step in range(16)]


def test_two_stated_times_that_fall_together_in_spring_are_one_moment() -> None:
    assert moments("30 2,3 * * *", BERLIN, utc(2027, 3, 27, 12), 2) == [
        utc(2027, 3, 28, 1, 30),
        utc(2027, 3, 29, 0, 30),
    ]


def test_days_of_the_month_and_of_the_week_are_either_or() -> None:
    days = [moment.day for moment in moments("0 6 13 * fri", "UTC", utc(2026, 11, 1), 4)]
    assert days == [6, 13, 20, 27]
    assert [one.day for one in moments("0 6 * * mon", "UTC", utc(2026, 11, 1), 2)] == [2, 9]


def test_the_29th_of_february_is_found_over_a_century_without_one() -> None:
    assert parse("0 0 29 2 *").next(utc(2097, 1, 1)) == utc(2104, 2, 29)


def test_the_30th_of_february_never_comes() -> None:
    assert parse("0 0 30 2 *").next(utc(2000, 1, 1)) is None


@pytest.mark.parametrize("zone", [BERLIN, "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia", "UTC"])
@pytest.mark.parametrize("cron", ["17 */2 * * *", "0 0 * * *", "*/40 * 1-9 * mon", "30 23 * * 0-2"])
def test_looking_back_finds_what_looking_ahead_found(zone: str, cron: str) -> None:
    read = parse(cron, zone)
    for start in (utc(2011, 12, 20), utc(2018, 2, 10), utc(2018, 10, 20), utc(2018, 11, 1)):
        found = moments(cron, zone, start, 30)
        assert found == sorted(set(found))
        for before, after in itertools.pairwise(found):
            just_before = after - timedelta(microseconds=1)
            assert read.latest(after=start, upto=just_before) == before
            assert read.latest(after=before, upto=just_before) is None
            assert read.latest(after=before, upto=after) == after
        assert read.between(start, found[-1], most=1000) == 29
        assert read.between(start, found[-1], most=5) == 5


@pytest.mark.parametrize(
    ("cron", "zone", "says"),
    [
        ("* * * *", "UTC", "has 4 fields, not five"),
        ("61 * * * *", "UTC", "'61' is no minute"),
        ("*/0 * * * *", "UTC", "'*/0' is no minute"),
        ("1-5-9 * * * *", "UTC", "'1-5-9' is no minute"),
        ("0 mon * * *", "UTC", "'mon' is no hour"),
        ("0 0 0 * *", "UTC", "'0' is no day of the month"),
        ("0 0 * * 7", "UTC", "'7' is no day of the week"),
        ("0 0 * * *", "Mars/Olympus", "no time zone 'Mars/Olympus'"),
        ("0 0 * * *", "../../etc/passwd", "no time zone"),
        ("0 0 * * *", "", "no time zone"),
    ],
)
def test_what_cannot_be_understood_is_said(cron: str, zone: str, says: str) -> None:
    with pytest.raises(BadCron, match=says.replace("*", r"\*")):
        parse(cron, zone)
