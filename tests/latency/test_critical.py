"""The critical path of hand-made histories, to the millisecond, and of any history: every moment once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runs.shown.critical import (
    MOST_DRAWN,
    Cause,
    Critical,
    Piece,
    Spell,
    Worked,
    critical,
    drawn,
    latency,
    spent,
)

MODELS, TOOLS, PEOPLE, GUARDS = Cause.MODELS, Cause.TOOLS, Cause.PEOPLE, Cause.GUARDS
HELD, BACK_OFF, FUNCTIONS, OVERHEAD = Cause.HELD, Cause.BACK_OFF, Cause.FUNCTIONS, Cause.OVERHEAD
Told = tuple[int | None, Cause, int, int]


def spell(cause: Cause, begin: int, end: int | None) -> Spell:
    return Spell(cause=cause, begin=begin, end=end)


def worked(
    number: int, begin: int, end: int | None, *spells: Spell, parent: int | None = None, needed: bool = True
) -> Worked:
    """A step whose id is its number."""
    return Worked(id=number, number=number, begin=begin, end=end, parent=parent, needed=needed, spells=spells)


def told(path: Critical) -> list[Told]:
    return [(one.step, one.cause, one.begin, one.end) for one in path.pieces]


def test_a_pipeline_is_on_the_path_from_its_first_to_its_last_moment() -> None:
    steps = [
        worked(1, 12, 2_012, spell(MODELS, 13, 1_513), spell(TOOLS, 1_520, 2_001)),
        worked(2, 2_012, 2_050, spell(FUNCTIONS, 2_012, 2_049)),
    ]
    path = critical(steps, end=2_051)
    assert told(path) == [
        (None, OVERHEAD, 0, 12),
        (1, OVERHEAD, 12, 13),
        (1, MODELS, 13, 1_513),
        (1, OVERHEAD, 1_513, 1_520),
        (1, TOOLS, 1_520, 2_001),
        (1, OVERHEAD, 2_001, 2_012),
        (2, FUNCTIONS, 2_012, 2_049),
        (2, OVERHEAD, 2_049, 2_050),
        (None, OVERHEAD, 2_050, 2_051),
    ]
    assert path.steps == (1, 2)
    assert path.by_cause() == {MODELS: 1_500, TOOLS: 481, FUNCTIONS: 37, OVERHEAD: 33}


def test_a_fan_out_waits_for_the_task_that_ends_last_and_for_nothing_else() -> None:
    steps = [
        worked(1, 0, 100, spell(MODELS, 0, 100)),
        worked(2, 100, 900, spell(TOOLS, 100, 900), parent=1),
        worked(3, 100, 4_100, spell(MODELS, 150, 4_100), parent=1),
        worked(4, 100, 4_000, spell(TOOLS, 100, 4_000), parent=1),
        worked(5, 4_100, 4_200, spell(FUNCTIONS, 4_100, 4_200)),
    ]
    path = critical(steps, end=4_200)
    assert path.steps == (1, 3, 5)
    assert path.by_cause() == {MODELS: 4_050, FUNCTIONS: 100, OVERHEAD: 50}


def test_a_task_that_waited_for_a_place_comes_after_the_task_that_left_it() -> None:
    steps = [
        worked(1, 0, 10),
        worked(2, 10, 3_010, spell(MODELS, 10, 3_010), parent=1),
        worked(3, 10, 5_010, spell(MODELS, 10, 5_010), parent=1),
        worked(4, 3_010, 9_010, spell(TOOLS, 3_010, 9_010), parent=1),
        worked(5, 5_010, 6_010, spell(TOOLS, 5_010, 6_010), parent=1),
        worked(6, 9_010, 9_020),
    ]
    path = critical(steps, end=9_020)
    assert path.steps == (1, 2, 4, 6)
    assert path.by_cause() == {MODELS: 3_000, TOOLS: 6_000, OVERHEAD: 20}


def test_a_plan_inside_a_plan_is_followed_down_and_up() -> None:
    steps = [
        worked(1, 0, 10),
        worked(2, 10, 60, spell(MODELS, 10, 60), parent=1),  # plans again
        worked(3, 10, 500, spell(MODELS, 10, 500), parent=1),
        worked(4, 60, 760, spell(TOOLS, 60, 760), parent=2),
        worked(5, 60, 400, spell(TOOLS, 60, 400), parent=2),
        worked(6, 760, 800, spell(FUNCTIONS, 760, 800)),
    ]
    path = critical(steps, end=800)
    assert path.steps == (1, 2, 4, 6)
    assert path.by_cause() == {MODELS: 50, TOOLS: 700, FUNCTIONS: 40, OVERHEAD: 10}


def test_what_a_join_did_not_need_is_on_no_path() -> None:
    steps = [
        worked(1, 0, 10),
        worked(2, 10, 300, spell(MODELS, 10, 300), parent=1),
        worked(3, 10, 302, spell(MODELS, 10, None), parent=1, needed=False),
        worked(4, 300, 310),
    ]
    assert critical(steps, end=310).steps == (1, 2, 4)


def test_two_joins_after_each_other_take_the_latest_of_each() -> None:
    steps = [
        worked(1, 0, 10),
        worked(2, 10, 110, parent=1),
        worked(3, 10, 210, parent=1),
        worked(4, 210, 220),
        worked(5, 220, 520, parent=4),
        worked(6, 220, 320, parent=4),
        worked(7, 520, 530),
    ]
    path = critical(steps, end=530)
    assert path.steps == (1, 3, 4, 5, 7)
    assert sum(piece.length for piece in path.pieces) == 530


def test_a_question_is_time_of_people_and_a_call_during_it_is_not() -> None:
    step = worked(1, 0, 60_000, spell(PEOPLE, 1_000, 59_000), spell(TOOLS, 58_500, 59_400))
    path = critical([step], end=60_000)
    assert path.by_cause() == {TOOLS: 900, PEOPLE: 57_500, OVERHEAD: 1_600}
    assert path.longest(1) == [(1, PEOPLE, 57_500)]


def test_a_hold_counts_before_a_question_and_after_a_call_that_lands() -> None:
    step = worked(1, 0, 1_000, spell(MODELS, 0, 250), spell(PEOPLE, 250, 1_000))
    path = critical([step], end=1_000, loose=[spell(HELD, 200, 700)])
    assert told(path) == [(1, MODELS, 0, 250), (1, HELD, 250, 700), (1, PEOPLE, 700, 1_000)]


def test_a_hold_between_two_steps_and_a_question_about_the_run_itself_are_seen() -> None:
    steps = [worked(1, 0, 100), worked(2, 900, 1_000)]
    path = critical(steps, end=1_000, loose=[spell(HELD, 100, 300), spell(PEOPLE, 400, 900)])
    assert told(path)[1:-1] == [(None, HELD, 100, 300), (None, OVERHEAD, 300, 400), (None, PEOPLE, 400, 900)]


def test_the_wait_for_a_guard_and_the_time_between_tries_are_told_apart() -> None:
    step = worked(
        1, 0, 9_000, spell(MODELS, 0, 500), spell(BACK_OFF, 500, 2_500), spell(GUARDS, 2_500, 8_000)
    )
    sums = critical([step], end=9_000).by_cause()
    assert sums == {MODELS: 500, GUARDS: 5_500, BACK_OFF: 2_000, OVERHEAD: 1_000}
    assert latency(spent(step, end=9_000)) == 1_500


def test_a_run_that_goes_on_ends_now_at_what_has_gone_on_longest() -> None:
    steps = [
        worked(1, 0, 10),
        worked(2, 10, None, spell(MODELS, 10, None), parent=1),
        worked(3, 400, None, spell(PEOPLE, 450, None), parent=1),
    ]
    path = critical(steps, end=5_000)
    assert path.steps == (1, 2)
    assert path.by_cause() == {MODELS: 4_990, OVERHEAD: 10}


def test_a_run_that_nobody_has_looked_at_is_all_overhead() -> None:
    assert told(critical([], end=70)) == [(None, OVERHEAD, 0, 70)]
    assert critical([], end=0).pieces == ()


def test_steps_before_the_beginning_are_left_out() -> None:
    steps = [worked(1, 0, 400), worked(2, 400, 900, spell(MODELS, 300, 900))]
    path = critical(steps, begin=500, end=900)
    assert told(path) == [(2, MODELS, 500, 900)]
    assert path.steps == (2,)


def test_a_step_that_is_said_to_begin_a_little_before_the_one_it_follows_has_ended_is_after_it() -> None:
    steps = [
        worked(1, 0, 1_004, spell(MODELS, 0, 1_004)),
        worked(2, 1_001, 2_000, spell(TOOLS, 1_001, 2_000)),
        worked(3, 1_999, 3_006, spell(MODELS, 1_999, 3_006), parent=2),
        worked(4, 3_001, 4_000, spell(TOOLS, 3_001, 4_000), parent=2),
    ]
    path = critical(steps, end=4_000)
    assert path.steps == (1, 2, 3, 4)
    assert path.by_cause() == {MODELS: 1_001 + 1_002, TOOLS: 998 + 999}


def test_tasks_that_mostly_go_side_by_side_are_not_after_each_other() -> None:
    steps = [
        worked(1, 0, 10),
        worked(2, 10, 60, parent=1),
        worked(3, 12, 70, parent=1),
        worked(4, 70, 80),
    ]
    assert critical(steps, end=80).steps == (1, 3, 4)


def test_steps_without_any_length_are_on_the_path_that_they_stand_in() -> None:
    steps = [worked(1, 0, 10), worked(2, 10, 10), worked(3, 10, 10), worked(4, 10, 30)]
    assert critical(steps, end=30).steps == (1, 2, 3, 4)


def test_a_bar_joins_neighbours_of_one_cause_and_is_never_too_long() -> None:
    few = critical([worked(1, 0, 5), worked(2, 5, 10), worked(3, 10, 20, spell(MODELS, 10, 20))], end=20)
    assert drawn(few) == [
        Piece(begin=0, end=10, cause=OVERHEAD, step=None),
        Piece(begin=10, end=20, cause=MODELS, step=3),
    ]
    calls = [spell(TOOLS, 10 * n, 10 * n + 9) for n in range(2_000)]
    many = drawn(critical([worked(1, 0, 20_000, *calls)], end=20_000))
    assert len(many) <= MOST_DRAWN
    assert (many[0].begin, many[-1].end) == (0, 20_000)


MOMENT = st.integers(0, 5_000)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Worked], list[Spell], int]:
    end = draw(st.integers(0, 6_000))
    steps: list[Worked] = []
    for number in range(1, draw(st.integers(0, 12)) + 1):
        begin = draw(MOMENT)
        until = draw(st.none() | st.integers(begin, 7_000))
        parent = draw(st.none() | st.integers(1, number - 1)) if number > 1 else None
        spells = draw(st.lists(_spells(), max_size=4))
        steps.append(worked(number, begin, until, *spells, parent=parent, needed=draw(st.booleans())))
    return steps, draw(st.lists(_spells(), max_size=3)), end


@st.composite
def _spells(draw: st.DrawFn) -> Spell:
    begin = draw(MOMENT)
    return spell(draw(st.sampled_from(list(Cause))), begin, draw(st.none() | st.integers(begin, 7_000)))


@given(histories())
def test_every_moment_of_any_history_belongs_to_exactly_one_piece(
    given_: tuple[list[Worked], list[Spell], int],
) -> None:
    steps, loose, end = given_
    path = critical(steps, end=end, loose=loose)
    reached = 0
    for piece in path.pieces:
        assert piece.begin == reached < piece.end
        reached = piece.end
    assert reached == end
    assert sum(path.by_cause().values()) == end
    assert len(set(path.steps)) == len(path.steps)
    shown = drawn(path, most=5)
    assert sum(piece.length for piece in shown) == end
    assert len(shown) <= 5
