"""When two things are the same for a loop, and when they only look it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.guards.likeness import arguments, result, worded


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": "Blue Hall", "b": 1}, {"b": 1.0, "a": "  blue   hall. "}),
        ({"a": "x", "nonce": "q1"}, {"a": "x", "nonce": "q2"}),
        ({"a": "x", "request_id": "9f0c11ab22cd33"}, {"a": "x", "request_id": "8e0c11ab22cd44"}),
        ({"a": "x", "timestamp": "2026-01-01T10:00:00Z"}, {"a": "x", "timestamp": "2026-01-01T10:00:09Z"}),
        ({"a": "x", "attempt": 1}, {"a": "x", "attempt": 2}),
        ({"a": "x", "b": None}, {"a": "x"}),
        ({"a": ["x", {"b": "Y"}]}, {"a": ["X ", {"b": "y"}]}),
    ],
)
def test_arguments_that_ask_for_the_same_are_the_same(one: object, other: object) -> None:
    assert arguments(one) == arguments(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"page": 1}, {"page": 2}),
        ({"id": "a1"}, {"id": "a2"}),
        ({"day": "2026-01-01"}, {"day": "2026-01-02"}),
        ({"a": ["x", "y"]}, {"a": ["y", "x"]}),
        ({"a": True}, {"a": 1}),
        ({"request_id": 17, "say": "yes"}, {"request_id": 18, "say": "yes"}),
        ({"timestamp": 4.5}, {"timestamp": 9.0}),
        ({"folder": "."}, {"folder": ".."}),
        ({}, {"a": "x"}),
    ],
)
def test_arguments_that_ask_for_something_else_are_not(one: object, other: object) -> None:
    assert arguments(one) != arguments(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("open at 2026-01-01T10:00:00Z", "open at 2026-01-01T10:00:07Z"),
        ('{"request_id": "r-77", "state": "open"}', '{"request_id": "r-78", "state": "open"}'),
        ("id 0b51f2f0-6f0e-4d3c-9c55-0a1b2c3d4e5f", "id 9d51f2f0-6f0e-4d3c-9c55-0a1b2c3d4e5f"),
        ("done in 12 ms", "done in 9.5 ms"),
        ("Open.\n", "open."),
    ],
)
def test_an_answer_is_the_same_but_for_what_changes_by_itself(one: str, other: str) -> None:
    assert result(one) == result(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("17 %", "34 %"),
        ("row 1200034", "row 1200068"),
        ("seat 12A", "seat 12B"),
        ("", "None"),
        ("2026-01-01", "2026-01-02"),
        ("copying for 00:02:10", "copying for 00:03:40"),
    ],
)
def test_an_answer_that_tells_something_else_is_another(one: str, other: str) -> None:
    assert result(one) != result(other)


@given(st.text(max_size=200), st.text(max_size=200))
def test_nearness_goes_both_ways(one: str, other: str) -> None:
    assert worded(one).near(worded(other)) == worded(other).near(worded(one))


def test_texts_with_other_figures_are_never_near() -> None:
    text = "The hall of the northern yard holds {} pallets and that is fewer than the plan says."
    assert worded(text.format(12)).near(worded("Well, " + text.format(12)))
    assert not worded(text.format(12)).near(worded(text.format(13)))
