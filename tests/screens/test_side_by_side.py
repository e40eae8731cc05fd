"""The page of a run whose steps go side by side: tasks under their plan, counts on boxes, every open question."""

from __future__ import annotations

from itertools import pairwise

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from runs import bodies
from runs.models import Question, Run, RunState, Step, StepState
from runs.shown import course, history, listing
from runs.shown.course import Course
from runs.shown.listing import Wanted
from runs.shown.timeline import MOST_TASKS
from tests import factories
from tests.screens import patterns
from tests.screens.reading import Page, read
from tests.screens.test_pages import MOST_QUERIES, well_made

pytestmark = pytest.mark.django_db(transaction=True)
WIDE = 50


def taken(run: Run) -> Course:
    found = history.taken(history.history(run))
    assert found is not None
    return found


def gone_along(run: Run) -> set[tuple[str, str]]:
    return {(way.source, way.target) for way in taken(run).ways if way.went}


def fan(**wanted: object) -> Run:
    return factories.advanced(factories.started("screens_fan", **wanted))


def told(run: Run, name: str) -> tuple[str, str, str]:
    place = next(one for one in taken(run).places if one.name == name)
    return place.under, place.more, place.state


def page_of(client: Client, run: Run, query: str = "") -> Page:
    page = read(client.get(f"/runs/{run.pk}{query}"))
    well_made(page, f"/runs/{run.pk}{query}")
    return page


def test_tasks_are_named_by_their_inputs_which_stay_text(operator: Client) -> None:
    run = fan(tasks=3, ask=[1])
    names = ["python-dateutil", "<script>alert(1)</script>", "a\u202eb"]
    for task, name in zip(
        Step.objects.filter(run=run).exclude(parent=None).order_by("place"), names, strict=True
    ):
        Step.objects.filter(pk=task.pk).update(input=bodies.store({"allowed": ["MIT"], "name": name}))
    page = page_of(operator, run)
    assert "python-dateutil look, task 1" in page.text
    assert "<script>alert(1)</script> look, task 2 · waits" in page.text
    assert "aRLOb look, task 3" in page.text


def test_tasks_that_are_all_called_the_same_have_only_their_numbers(operator: Client) -> None:
    assert "well look, task 1" not in page_of(operator, fan(tasks=3)).text


def test_boxes_count_their_tasks_and_lines_are_those_that_were_gone_along() -> None:
    run = fan(tasks=6, ask=[1, 4])
    assert run.state == RunState.WAITING
    assert told(run, "look") == ("4 of 6 done", "2 wait", "here")
    assert told(run, "weigh") == ("function", "", "ahead")
    assert gone_along(run) == {("plan", "look")}
    assert "look (4 of 6 done, 2 wait)" in taken(run).said


def test_a_joined_plan_leads_on_from_the_workers_that_gave_something() -> None:
    run = factories.advanced(factories.started("screens_fan_ends", tasks=6, broken=[0]))
    assert run.state == RunState.DONE
    assert told(run, "look") == ("5 of 6 done", "1 failed", "done")
    assert gone_along(run) == {("plan", "look"), ("look", "report")}


def test_tasks_that_failed_without_ending_the_run_are_named_as_such(operator: Client) -> None:
    run = factories.advanced(factories.started("screens_fan_ends", tasks=6, broken=[0, 3]))
    page = page_of(operator, run)
    assert "look, task 1 · failed" in page.text
    assert "look, task 4 · failed" in page.text
    assert "look, task 2 ·" not in page.text


def test_tasks_that_were_not_needed_any_more_say_so(operator: Client) -> None:
    run = factories.advanced(factories.started("screens_fan_ends", tasks=4, broken=[0, 1, 2]))
    assert run.state == RunState.FAILED
    page = page_of(operator, run)
    dropped = Step.objects.filter(run=run, state=StepState.ENDED)
    assert page.text.count("· not needed") == dropped.count()


def test_every_open_question_of_a_run_has_its_link(operator: Client) -> None:
    run = fan(tasks=5, ask=[0, 2, 3])
    page = page_of(operator, run)
    assert "3 questions wait for people" in page.text
    for question in Question.objects.filter(run=run):
        assert f"/questions/{question.pk}" in page.links()
    assert "3 questions: answer" in page.text
    assert "look, task 4 · asked" in page.text


def test_a_single_question_is_answered_from_the_head(operator: Client) -> None:
    run = fan(tasks=3, ask=[1])
    page = page_of(operator, run)
    assert "questions wait for people" not in page.text
    assert "Error: answer" in page.text


def test_far_too_many_questions_lead_to_the_inbox_which_has_them_all(operator: Client) -> None:
    run = fan(tasks=15, ask=list(range(12)))
    page = page_of(operator, run)
    assert "All 12 in the inbox" in page.text
    inbox = read(operator.get(f"/?q={run.pk}"))
    assert len([one for one in inbox.ids() if one.startswith("item-")]) >= 12


def test_a_wide_plan_is_folded_and_unfolds_without_a_script(operator: Client) -> None:
    run = fan(tasks=WIDE, ask=[40])
    page = page_of(operator, run)
    rows = [one for one in page.ids() if one.startswith("row-step-")]
    assert len(rows) == 1 + MOST_TASKS
    assert f"… and {WIDE - MOST_TASKS} more: {WIDE - MOST_TASKS} done" in page.text
    assert "look, task 41 · waits" in page.text
    plan = Step.objects.get(run=run, parent=None)
    (more,) = [one for one in page.links() if one.startswith(f"/runs/{run.pk}?plan={plan.pk}")]
    unfolded = page_of(operator, run, more.removeprefix(f"/runs/{run.pk}").partition("#")[0])
    assert len([one for one in unfolded.ids() if one.startswith("row-step-")]) == 1 + WIDE
    assert "show fewer" in unfolded.text
    asked = [a["hx-get"] for _, a in unfolded.tags if a.get("id") == "run-moving"]
    assert asked == [f"/runs/{run.pk}/moving?plan={plan.pk}"]


@pytest.mark.parametrize("plan", ["abc", "-1", "0", "999999999999", "9" * 40])
def test_a_plan_that_is_not_there_unfolds_nothing(plan: str, operator: Client) -> None:
    run = fan(tasks=2)
    assert "look, task 2" in page_of(operator, run, f"?plan={plan}").text


def test_planned_tasks_are_shown_without_a_bar_and_lead_nowhere(operator: Client) -> None:
    run = fan(tasks=3, ask=[1])
    task = Step.objects.get(run=run, place=2)
    task.attempts.all().delete()
    Step.objects.filter(pk=task.pk).update(state=StepState.READY, output=None, finished_at=None)
    page = page_of(operator, run)
    assert "look, task 3 · planned" in page.text
    assert told(run, "look") == ("1 of 3 done", "1 waits, 1 planned", "here")
    assert not [one for one in page.links() if f"attempt={task.pk}#" in one and "row" in one]


def test_a_wide_fan_out_costs_as_many_queries_as_a_narrow_one(operator: Client) -> None:
    def looked_at(run: Run, part: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            read(operator.get(f"/runs/{run.pk}{part}"))
            return len(queries)

    narrow, wide = fan(tasks=2, ask=[1]), fan(tasks=WIDE, ask=[3, 7, 40])
    for part in ("", "/moving"):
        assert looked_at(narrow, part) == looked_at(wide, part) <= MOST_QUERIES
    plan = Step.objects.get(run=wide, parent=None)
    assert looked_at(wide, f"?plan={plan.pk}") <= MOST_QUERIES


def test_the_list_says_where_a_run_is_that_waits_at_one_of_many_tasks(operator: Client) -> None:
    run = fan(tasks=4, ask=[0])
    Step.objects.filter(run=run, place=3).exclude(parent=None).update(node="weigh")
    (listed,) = [one for one in listing.page(Wanted()).runs if one.pk == run.pk]
    assert listed.place == "look"  # type: ignore[attr-defined]


def went(run: Run, *nodes: str) -> course.Went:
    """One done step after the other."""
    return course.Went(
        state=run.state,
        visits={node: course.Visits(counts={"done": nodes.count(node)}, state="done") for node in nodes},
        ways=set(pairwise(nodes)),
        newest=nodes[-1] if nodes else None,
        newest_of_its_own=nodes[-1] if nodes else None,
    )


def test_a_run_through_rules_shows_the_circle_it_went_and_the_end_it_came_to() -> None:
    run = Run(workflow="screens_desk", version=2, state=RunState.DONE)
    path = ("triage", "draft", "verify", "draft", "verify", "reply")
    drawn = course.course(patterns.DESK_2, went(run, *path))
    assert drawn is not None
    along = {(way.source, way.target) for way in drawn.ways if way.went}
    first = min(place for place, way in enumerate(drawn.ways) if way.went)
    assert all(way.went for way in drawn.ways[first:])  # drawn on top of the others
    assert along == {
        ("triage", "draft"),
        ("draft", "verify"),
        ("verify", "draft"),
        ("verify", "reply"),
        ("reply", "end"),
    }
    assert drawn.ended
    under = {place.name: place.under for place in drawn.places}
    assert under["draft"] == "writer, 2 visits"
    assert "ahead: deny" in drawn.said


def test_only_what_a_run_may_still_come_to_stands_ahead() -> None:
    run = Run(workflow="screens_desk", version=2, state=RunState.RUNNING)
    assert course.ahead(patterns.DESK_2, went(run, "triage", "deny")) == ["reply"]
    assert course.ahead(patterns.DESK_2, went(run, "triage", "draft")) == ["verify", "reply"]
    assert course.ahead(patterns.FAN_ASKS, went(run)) == ["plan", "report"]
    assert course.ahead(patterns.FAN_ASKS, went(run, "plan")) == ["report"]


def test_every_worker_that_a_task_went_to_is_reached_from_the_plan_and_leads_to_the_join() -> None:
    run = Run(workflow="screens_fan", version=1, state=RunState.RUNNING)
    done = {"done": 1}
    visits = {node: course.Visits(counts=done, state="done") for node in ("plan", "report")}
    visits |= {node: course.Visits(counts=done, state="done", tasks=True) for node in ("look", "weigh")}
    ways = {("plan", "look"), ("plan", "weigh"), ("plan", "report")}
    given = course.Went(
        state=run.state, visits=visits, ways=ways, newest="report", newest_of_its_own="report"
    )
    drawn = course.course(patterns.FAN_ASKS, given)
    assert drawn is not None
    assert all(way.went for way in drawn.ways)
