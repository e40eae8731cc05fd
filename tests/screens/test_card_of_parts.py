"""Cards of questions that are not about a whole run: a task of a plan, and the run's own next step."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from escalations import decisions
from escalations.card import Card, card
from escalations.expected import IllegalMove
from escalations.models import Escalation
from runs import registry
from runs.engine.worker.runtime import Runtime
from runs.models import Run
from tests.runs import teams
from tests.runs.conftest import advanced, start

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["teams"]


def escalation_of(run: Run) -> Escalation:
    return Escalation.objects.get(run=run, state="open")


def card_of(run: Run) -> Card:
    return card(escalation_of(run), registry.workflow(run.workflow, run.version))


def words(run: Run) -> dict[str, tuple[str, str]]:
    shown = card_of(run)
    return {answer.verb: (answer.label, answer.then) for answer in shown.answers}


def test_rejecting_a_task_says_that_it_ends_alone() -> None:
    run = advanced(start("chores_most", does=["done", "asks", "done"]), Runtime("cards", "agents"))
    assert words(run)["reject"] == (
        "Reject and end the task",
        "This task ends at chore, with your reason. The others go on where the join allows it.",
    )
    assert card_of(run).deadline == "This task ends at chore; the others go on where the join allows it."


def test_who_is_told_words_is_said_truly() -> None:
    run = advanced(start("chores_most", does=["done", "asks", "done"]), Runtime("cards", "agents"))
    assert words(run)["respond"][1] == "chore is tried again; a function is not told your words."


def test_a_run_that_cannot_go_on_is_looked_at_again_or_ended_and_nothing_else(
    people: dict[str, User],
) -> None:
    run = advanced(start("writing_round", text="9 drafts"), Runtime("cards", "agents"))
    assert words(run) == {
        "approve": (
            "Look again",
            "The rules are asked again what comes next. Nothing that is done is done again.",
        ),
        "reject": ("Reject and end the run", "The run ends, with your reason."),
    }
    one = escalation_of(run)
    with pytest.raises(IllegalMove):
        decisions.respond(
            actor=people["operator"],
            escalation_id=one.pk,
            version=one.version,
            digest=one.digest,
            text="go on",
        )


def test_a_broken_plan_goes_on_to_the_workers() -> None:
    run = advanced(start("chores", does=["done"], worker="root"), Runtime("cards", "agents"))
    assert words(run)["approve"][0] == "Use the edited value, go on to the workers of the plan"
