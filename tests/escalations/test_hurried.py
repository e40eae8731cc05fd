"""A limit on wall time that people set while a question is open: the question, its card and its run end together."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from escalations.expiry import deadline
from escalations.models import Escalation
from runs.engine import bounds, holds, shortened, sweep
from runs.models import Question, QuestionState, Run, RunState
from tests import factories
from tests.limits import setting

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _looked_at_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process that has just started."""
    monkeypatch.setattr(shortened, "_looked", None)
    monkeypatch.setattr(shortened, "_settled", None)


@pytest.fixture
def ines() -> User:
    return factories.person("ines", "admin")


def limited(admin: User, seconds: float, **more: str) -> None:
    setting.made(
        admin,
        what="wall_time/run",
        **{"scope_kind": "organisation", "scope": "", **more},
        value=f"{seconds} s",
    )


def fresh(escalation: Escalation) -> Question:
    return Question.objects.select_related("run", "step").get(pk=escalation.question_id)


def test_an_open_question_is_brought_forward_to_the_end_of_its_run(ines: User) -> None:
    escalation = factories.approval()
    was = fresh(escalation).expires_at
    limited(ines, 120)
    assert fresh(escalation).expires_at == was
    assert shortened.hurry_questions() == 1
    question = fresh(escalation)
    assert question.expires_at == bounds.ends_by(question.run, timezone.now()) < was
    assert "the run fails: its own deadline is" in deadline(question)
    client = Client()
    client.force_login(ines)
    card = client.get(f"/escalations/{escalation.pk}/card").content.decode()
    assert question.expires_at.isoformat() in card
    (entry,) = factories.journal(act="deadline brought forward")
    assert (entry.escalation_id, json.loads(entry.body)["details"]["was"]) == (escalation.pk, was.isoformat())
    assert question.run.events.filter(kind="hurried").count() == 1


def test_it_ends_with_its_run_as_its_card_said(ines: User) -> None:
    escalation = factories.approval()
    limited(ines, 120)
    shortened.hurry_questions()
    Run.objects.filter(pk=escalation.run_id).update(deadline_at=timezone.now() - timedelta(days=1))
    Question.objects.filter(pk=escalation.question_id).update(
        expires_at=timezone.now() - timedelta(seconds=1)
    )
    assert sweep.expire_questions() == 1
    run = factories.advanced(escalation.run)
    assert run.state == RunState.FAILED
    assert run.ending.startswith("The run's time is up: wall time a run")


def test_only_what_the_limit_covers_and_overtakes_is_touched(ines: User) -> None:
    paying, writing = factories.approval(), factories.broken_contract()
    limited(ines, 120, scope_kind="workflow", scope="writing")
    assert shortened.hurry_questions() == 1
    assert fresh(paying).expires_at - timezone.now() > timedelta(minutes=5)
    assert fresh(writing).expires_at - timezone.now() < timedelta(seconds=121)
    assert shortened.hurry_questions() == 0


def test_the_strictest_limit_of_several_decides(ines: User) -> None:
    escalation = factories.approval()
    limited(ines, 500)
    limited(ines, 60, scope_kind="run", scope=str(escalation.run_id))
    assert shortened.hurry_questions() == 1
    question = fresh(escalation)
    assert question.expires_at == bounds.ends_by(question.run, timezone.now())
    assert question.expires_at - question.run.created_at < timedelta(seconds=62)


def test_a_held_run_gets_its_time_back_after_it_was_brought_forward(ines: User) -> None:
    escalation = factories.approval()
    run = Run.objects.get(pk=escalation.run_id)
    Run.objects.filter(pk=run.pk).update(hold="pause", held_since=timezone.now() - timedelta(seconds=50))
    run.questions.update(asked_at=timezone.now() - timedelta(seconds=60))
    limited(ines, 120)
    assert shortened.hurry_questions() == 1
    before = fresh(escalation).expires_at
    from django.db import transaction

    with transaction.atomic():
        holds.lift(Run.objects.select_for_update(no_key=True).get(pk=run.pk))
    question = fresh(escalation)
    assert question.expires_at - before >= timedelta(seconds=50)
    assert question.expires_at == bounds.ends_by(question.run, timezone.now())


def test_who_was_answered_meanwhile_is_left_alone(ines: User) -> None:
    escalation = factories.approval()
    Question.objects.filter(pk=escalation.question_id).update(state=QuestionState.WITHDRAWN)
    limited(ines, 120)
    assert shortened.hurry_questions() == 0
