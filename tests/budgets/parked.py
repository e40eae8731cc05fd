"""Runs that stand at a cap, made through the engine: a limit that somebody set, and a run that would cross it."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User

from escalations import limits, topups
from escalations.models import Escalation
from escalations.roles import Actor
from runs.engine.limits import current
from runs.engine.record import now
from runs.engine.spend import room
from runs.engine.spend.room import Standing
from runs.models import Question, Run
from tests import factories
from tests.limits import setting


def limited(
    actor: User, what: str = "model_calls/run", value: str = "1", scope: str = "organisation:"
) -> int:
    """A limit that is enforced; its number."""
    scope_kind, _, name = scope.partition(":")
    given = {"what": what, "scope_kind": scope_kind, "scope": name, "value": value, "mode": "enforce"}
    setting.rehearsed_in_vain(given)
    number = limits.set_limit(actor=actor, given=given, reason="a test", unrehearsed=True).line
    current()
    return number


def ran(workflow: str = "paying", amount: int = 50, **order: Any) -> Run:
    """A run that asks a model, pays by a tool, and asks the model again, as far as it goes."""
    return factories.advanced(factories.started(workflow, amount=amount, **order))


def parked(workflow: str = "paying", **order: Any) -> Escalation:
    """The card of such a run."""
    return factories.escalation_of(ran(workflow, **order))


def standing(escalation: Escalation) -> Standing:
    question = Question.objects.select_related("run__team").get(pk=escalation.question_id)
    return room.of_question(question, current(), now())


def top_up(actor: Actor, escalation: Escalation, amount: str = "1", **given: str) -> Any:
    terms: dict[str, Any] = {"amount": amount, "until": "", "reason": "it is nearly done"} | given
    return topups.top_up(actor=actor, **factories.shown(escalation), **terms)
