"""The waterfall: bars where things happened, people's acts in place, never outside the drawing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from runs.timeline import MOST_ROWS, Asked, Called, Held, Tried, Visited, timeline

BEGIN = datetime(2026, 11, 21, 14, 18, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def called(number: int, begin: float, end: float | None, state: str = "done") -> Called:
    return Called(
        id=number, name="writer", kind="model", state=state, begin=at(begin), end=_end(end), cost_micros=100
    )


def _end(seconds: float | None) -> datetime | None:
    return None if seconds is None else at(seconds)


def visited(
    node: str, begin: float, end: float | None, *tries: Tried, asked: tuple[Asked, ...] = ()
) -> Visited:
    return Visited(
        id=1,
        node=node,
        state="running" if end is None else "done",
        begin=at(begin),
        end=_end(end),
        tries=tries,
        questions=asked,
    )


def tried(number: int, state: str, begin: float, end: float | None, *calls: Called) -> Tried:
    return Tried(id=number, number=number, state=state, begin=at(begin), end=_end(end), calls=calls)


def test_a_finished_run_is_drawn_from_its_beginning_to_its_end() -> None:
    drawn = timeline(
        begin=BEGIN,
        end=at(100),
        now=at(5000),
        visits=[visited("draft", 0, 100, tried(1, "done", 0, 100, called(7, 50, 100)))],
    )
    step, call = drawn.rows
    assert (step.label, step.level, step.cost_micros) == ("draft", 0, 100)
    assert (call.label, call.level, call.seconds) == ("model writer", 1, 50)
    assert drawn.now is None
    assert drawn.seconds == 100
    assert call.bars[0].x == 49.0  # half of what is left of the room at the right edge


def test_a_broken_attempt_has_a_row_of_its_own_and_says_so() -> None:
    drawn = timeline(
        begin=BEGIN,
        end=at(10),
        now=at(10),
        visits=[visited("draft", 0, 10, tried(1, "broken", 0, 4), tried(2, "done", 5, 10))],
    )
    assert [(row.about, row.label, row.state) for row in drawn.rows] == [
        ("step", "draft", "done"),
        ("attempt", "attempt 1", "broken"),
        ("attempt", "attempt 2", "done"),
    ]
    assert drawn.rows[1].bars[0].kind == "bad"


def test_a_persons_answer_stands_where_it_was_given() -> None:
    asked = Asked(id=3, state="answered", verb="approve", by="Jonas Weber", begin=at(20), end=at(80))
    drawn = timeline(
        begin=BEGIN,
        end=at(100),
        now=at(100),
        visits=[
            visited(
                "pay", 0, 100, tried(1, "done", 0, 100, called(1, 0, 20), called(2, 80, 90)), asked=(asked,)
            )
        ],
    )
    assert [row.label for row in drawn.rows] == [
        "pay",
        "model writer",
        "Jonas Weber approved",
        "model writer",
    ]
    answer = drawn.rows[2]
    assert answer.marks == drawn.rows[0].marks == (78.4,)
    assert answer.at == at(80)
    assert drawn.waited == 60


def test_an_expired_question_has_no_person() -> None:
    asked = Asked(id=3, state="expired", verb="", by="", begin=at(20), end=at(80))
    drawn = timeline(begin=BEGIN, end=at(90), now=at(90), visits=[visited("pay", 0, 90, asked=(asked,))])
    assert (drawn.rows[1].label, drawn.rows[1].state, drawn.rows[1].marks) == (
        "question expired",
        "expired",
        (),
    )


def test_a_run_that_goes_on_ends_at_now_and_shows_what_is_ahead() -> None:
    drawn = timeline(begin=BEGIN, end=None, now=at(60), visits=[visited("draft", 0, None)], ahead=["send"])
    assert drawn.now is not None
    assert drawn.rows[0].bars[0].end == drawn.now
    assert [(row.about, row.label) for row in drawn.rows] == [("step", "draft"), ("ahead", "send")]


def test_a_hold_has_a_row_that_names_who() -> None:
    held = Held(kind="stop", by="Ines Okafor", begin=at(10), end=None)
    drawn = timeline(begin=BEGIN, end=None, now=at(60), visits=[], holds=[held])
    assert [(row.label, row.state) for row in drawn.rows] == [("stopped by Ines Okafor", "stop")]


def test_a_run_of_thousands_of_calls_is_cut_and_says_so() -> None:
    calls = [called(number, number, number + 1) for number in range(1000)]
    drawn = timeline(
        begin=BEGIN,
        end=at(1000),
        now=at(1000),
        visits=[visited("loop", 0, 1000, tried(1, "done", 0, 1000, *calls))],
    )
    assert len(drawn.rows) == MOST_ROWS
    assert drawn.left_out == 1001 - MOST_ROWS


@given(
    st.floats(0, 10_000_000),
    st.lists(st.tuples(st.floats(-100, 1_000_000), st.floats(0, 1_000_000)), max_size=8),
)
def test_nothing_is_ever_drawn_outside(length: float, stretches: list[tuple[float, float]]) -> None:
    calls = [called(number, begin, begin + more) for number, (begin, more) in enumerate(stretches)]
    drawn = timeline(
        begin=BEGIN,
        end=at(length),
        now=at(length),
        visits=[visited("x", 0, length, tried(1, "done", 0, length, *calls))],
    )
    assert all(bar.x >= 0 and bar.width > 0 and bar.end <= 100.001 for row in drawn.rows for bar in row.bars)
    assert len(drawn.ticks) <= 7
    assert all(0 <= tick.x <= 100 for tick in drawn.ticks)
