"""What the machine has found, as few steps as it takes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from django.db import transaction
from django.db.models.functions import Now
from pytest_django import Settings

from runs.engine import answers, starts
from runs.engine.claim import claim
from runs.engine.claimed import Claimed, Next
from runs.engine.outcomes import Outcome
from runs.engine.perform import perform
from runs.engine.settle import settle
from runs.models import Question, Run
from tests.model.flows import SCRIPT
from tests.model.working import runtime

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _script(settings: Settings) -> Iterator[None]:
    settings.SIMULATED_SECONDS = 0.0
    SCRIPT.reset()
    yield
    SCRIPT.reset()


def started(workflow: str, asks: bool = False) -> Run:
    with transaction.atomic():
        return starts.start(workflow, {"asks": asks}, start_key=uuid.uuid4().hex, by="test").run


def performed(claimed: Claimed, says: str = "well") -> Outcome:
    SCRIPT.says = says
    with runtime().fly(claimed.run.pk, claimed.run.workflow, claimed.fence) as flight:
        return perform(claimed, flight)


def done(claimed: Claimed, says: str = "well") -> tuple[Claimed, ...]:
    """Perform and settle; what is claimed with it."""
    return claims_of(settle(claimed, performed(claimed, says)))


def claims_of(found: Next) -> tuple[Claimed, ...]:
    return found if isinstance(found, tuple) else ()


def test_a_task_that_the_join_does_not_need_any_more_is_not_begun_first() -> None:
    run = started("model_crew")
    (plan,) = claims_of(claim(run.pk, worker="w"))
    first, second = done(plan)
    (third,) = done(first, "unforeseen")
    done(second)
    with transaction.atomic():
        question = answers.lock(Question.objects.get(run=run, state="open").pk)
        answers.answer(question, verb="respond", text="again", by="Ada")
    assert [claimed.node.name for claimed in done(third)] == ["tally"]
    assert list(first.step.attempts.values_list("state", flat=True)) == ["failed"]


def test_a_task_that_an_answer_makes_needless_is_not_begun_first() -> None:
    run = started("model_crew")
    (plan,) = claims_of(claim(run.pk, worker="w"))
    first, second = done(plan)
    (third,) = done(second, "recoverable")  # its retry is the only one
    done(third)
    done(first, "broken")
    run.steps.filter(pk=second.step.pk).update(due_at=Now())
    with transaction.atomic():
        question = answers.lock(Question.objects.get(run=run, state="open").pk)
        value = {**question.action["value"], "verdict": "on"}
        answers.answer(question, verb="approve", answer={"value": value}, by="Ada")
    Run.objects.filter(pk=run.pk).update(lease_until=Now(), due_at=Now())
    assert [claimed.node.name for claimed in claims_of(claim(run.pk, worker="w"))] == ["tally"]
    assert list(second.step.attempts.values_list("state", flat=True)) == ["failed"]


def test_a_planner_that_a_person_gives_up_ends_its_run() -> None:
    run = started("model_crew")
    (plan,) = claims_of(claim(run.pk, worker="w"))
    done(plan, "unforeseen")
    with transaction.atomic():
        question = answers.lock(Question.objects.get(run=run, state="open").pk)
        answers.answer(question, verb="reject", text="enough", by="Ada")
    assert claims_of(claim(run.pk, worker="w")) == ()
    run.refresh_from_db()
    assert (run.state, Question.objects.filter(run=run).count()) == ("ended", 1)


def test_a_replay_after_an_edited_approval_asks_the_model_nothing_anew() -> None:
    run = started("model_line", asks=True)
    (draft,) = claims_of(claim(run.pk, worker="w"))
    (act,) = done(draft)
    done(act)
    with transaction.atomic():
        question = answers.lock(Question.objects.get(run=run, state="open").pk)
        edited = {**question.action, "arguments": {"amount": 2, "asks": True}}
        answers.answer(question, verb="approve", answer=edited, by="Ada")
    (act,) = claims_of(claim(run.pk, worker="w"))
    first = performed(act)  # and the worker dies before it settles
    said = run.calls.filter(kind="model").count()
    Run.objects.filter(pk=run.pk).update(lease_until=Now(), due_at=Now())
    (again,) = claims_of(claim(run.pk, worker="x"))
    assert performed(again) == first
    assert run.calls.filter(kind="model").count() == said
