"""What the machine has found, as few steps as it takes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from django.db import transaction
from pytest_django import Settings

from runs.engine import answers, starts
from runs.engine.claim import claim
from runs.engine.claimed import Claimed, Next
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


def started(workflow: str) -> Run:
    with transaction.atomic():
        return starts.start(workflow, {"asks": False}, start_key=uuid.uuid4().hex, by="test").run


def done(claimed: Claimed, says: str = "well") -> tuple[Claimed, ...]:
    """Perform and settle; what is claimed with it."""
    SCRIPT.says = says
    with runtime().fly(claimed.run.pk, claimed.run.workflow, claimed.fence) as flight:
        outcome = perform(claimed, flight)
    return claims_of(settle(claimed, outcome))


def claims_of(found: Next) -> tuple[Claimed, ...]:
    return found if isinstance(found, tuple) else ()


@pytest.mark.xfail(strict=True, reason="steps are taken up before it is looked whether the join is met")
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
