"""What a stop has cut is shown as cut, from when it was cut; questions about the run itself have a row and count."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from runs.models import Attempt, AttemptState
from runs.shown import course, history
from runs.shown.course import Visits, Went
from runs.shown.timeline import timeline
from runs.shown.visited import Asked, Held
from tests.screens import patterns

AT = datetime(2026, 1, 2, 9, tzinfo=UTC)


def later(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def test_the_drawing_says_that_a_stop_has_cut_a_step() -> None:
    visits = {"triage": Visits(counts={"running": 1}, state=course.CUT)}
    drawn = course.course(patterns.DESK_2, Went(state="running", visits=visits, newest="triage"))
    assert drawn is not None
    assert drawn.column is not None
    for one in (drawn, drawn.column):
        (place,) = [place for place in one.places if place.name == "triage"]
        assert (place.under, place.glyph, place.tone) == ("cut by a stop", "stop", "stop")


def test_an_attempt_that_was_cut_ends_where_the_hold_began() -> None:
    attempt = Attempt(pk=1, number=1, state=AttemptState.CUT, started_at=AT)
    before = Held(kind="pause", by="Ines", begin=later(-60), end=later(-30))
    stop = Held(kind="stop", by="Ines", begin=later(5), end=None)
    assert history._tried(attempt, (), (before, stop)).end == later(5)
    attempt.state = AttemptState.RUNNING
    assert history._tried(attempt, (), (before, stop)).end is None


def test_a_question_about_the_run_itself_has_a_row_and_counts_as_waiting() -> None:
    asked = Asked(id=7, state="answered", verb="migrate", by="Ines", begin=later(10), end=later(40))
    drawn = timeline(begin=AT, end=later(60), now=later(60), visits=(), asked=(asked,))
    assert drawn.waited == 30
    assert [row.label for row in drawn.rows] == ["Ines migrated it"]
