"""What people and callers do in the fault tests, each told to the history once it has been acknowledged."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from escalations import decisions
from escalations.models import Escalation
from runs.engine import starts
from runs.models import Run
from tests import factories
from tests.faults import history


def start(workflow: str, **order: Any) -> Run:
    """A new run that nobody has been told of."""
    with transaction.atomic():
        run = starts.start(workflow, order, start_key=uuid.uuid4().hex, by="test").run
    history.started(run)
    return run


def fresh(run: Run) -> Run:
    return Run.objects.get(pk=run.pk)


def answer(run: Run, verb: str, text: str = "", by: User | None = None) -> None:
    """A person answers the run's open question, by the act that the pages use."""
    escalation = Escalation.objects.get(run=run, state="open")
    actor = by or User.objects.filter(username="marta").first() or factories.person("marta", "operator")
    shown = factories.shown(escalation)
    match verb:
        case "approve":
            decisions.approve(actor=actor, **shown)
        case "reject":
            decisions.reject(actor=actor, reason=text, **shown)
        case "respond":
            decisions.respond(actor=actor, text=text, **shown)
        case "look":
            decisions.look(actor=actor, **shown)
    history.answered(escalation.question_id, verb)
