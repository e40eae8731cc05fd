"""The waterfall: bars where things happened, people's acts in place, never outside the drawing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from runs.shown.timeline import MOST_ROWS, MOST_TASKS, Row, Timeline, timeline
from runs.shown.visited import Asked, Called, Held, Tried, Visited

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


def task(number: int, state: str = "done", *, parent: int = 1, asked: tuple[Asked, ...] = ()) -> Visited:
    begun = state not in ("ready", "not needed")
    return Visited(
        id=100 * parent + number,
        node=f"look, task {number + 1}",
        state=state,
        begin=at(number),
        end=at(number + 1) if state in ("done", "failed", "not needed") else None,
        tries=(tried(1000 * parent + number, "done", number, number + 1),) if begun else (),
        questions=asked,
        parent=parent,
        begun=begun,
    )


def planned(*tasks: Visited, unfolded: int | None = None, after: tuple[Visited, ...] = ()) -> Timeline:
    plan = Visited(id=1, node="plan", state="done", begin=at(0), end=at(1), tries=(tried(1, "done", 0, 1),))
    return timeline(begin=BEGIN, end=None, now=at(100), visits=[plan, *after, *tasks], unfolded=unfolded)


def said(drawn: Timeline) -> list[tuple[int, str]]:
    return [(row.level, row.label) for row in drawn.rows]


def test_tasks_stand_under_the_step_that_planned_them_in_the_plans_order() -> None:
    after = Visited(id=2, node="report", state="done", begin=at(50), end=at(60))
    drawn = planned(task(0), task(1), after=(after,))
    assert said(drawn) == [(0, "plan"), (1, "look, task 1"), (1, "look, task 2"), (0, "report")]
    assert all(row.task for row in drawn.rows if row.level)


def test_a_wide_plan_is_folded_into_a_few_rows_and_one_that_counts_the_rest() -> None:
    drawn = planned(
        *(task(number) for number in range(MOST_TASKS)), *(task(n, "ready") for n in range(12, 46))
    )
    assert len(drawn.rows) == 1 + MOST_TASKS + 1
    assert drawn.rows[-1] == Row(about="more", id=1, level=1, label="… and 34 more: 34 planned", state="")


def test_what_waits_failed_or_goes_on_has_a_row_before_what_is_done() -> None:
    waits = Asked(id=3, state="open", verb="", by="", begin=at(48), end=None)
    tasks = [task(number) for number in range(50)]
    tasks[47] = task(47, "failed")
    tasks[48] = task(48, "waiting", asked=(waits,))
    tasks[49] = task(49, "running")
    drawn = planned(*tasks)
    assert said(drawn)[-5:] == [
        (1, "look, task 48"),
        (1, "look, task 49"),
        (2, "waits for a person"),
        (1, "look, task 50"),
        (1, "… and 38 more: 38 done"),
    ]


def test_an_unfolded_plan_has_every_task_and_can_be_folded_again() -> None:
    drawn = planned(*(task(number) for number in range(50)), unfolded=1)
    assert len(drawn.rows) == 1 + 50 + 1
    assert drawn.rows[-1].folds


def test_a_plan_in_a_plan_stands_under_its_task() -> None:
    inner = [task(number, parent=100) for number in range(2)]
    drawn = planned(task(0), task(1), *inner)
    assert said(drawn) == [
        (0, "plan"),
        (1, "look, task 1"),
        (2, "look, task 1"),
        (2, "look, task 2"),
        (1, "look, task 2"),
    ]


def test_a_task_that_nobody_has_begun_has_no_bar_and_no_length() -> None:
    row = planned(task(0, "ready")).rows[1]
    assert (row.bars, row.seconds, row.href_attempt) == ((), None, None)


def test_questions_that_are_open_side_by_side_are_waited_for_once() -> None:
    first = Asked(id=1, state="answered", verb="approve", by="Ines", begin=at(10), end=at(40))
    second = Asked(id=2, state="answered", verb="approve", by="Ines", begin=at(20), end=at(50))
    third = Asked(id=3, state="answered", verb="approve", by="Ines", begin=at(60), end=at(70))
    assert planned(task(0, asked=(first,)), task(1, asked=(second, third))).waited == 50


def test_steps_planned_at_the_start_do_not_flood_the_page() -> None:
    visits = [
        Visited(id=n, node=f"item {n}", state="ready", begin=BEGIN, end=None, begun=False) for n in range(900)
    ]
    drawn = timeline(begin=BEGIN, end=None, now=at(10), visits=visits)
    assert len(drawn.rows) == MOST_TASKS + 1
    assert drawn.rows[-1].label == "… and 888 more: 888 planned"


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
