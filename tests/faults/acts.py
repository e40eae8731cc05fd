"""What people and callers do in the fault tests, each told to `acknowledged` once it was."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from escalations import decisions
from escalations.models import Escalation
from runs.definitions import Workflow
from runs.engine import holds, starts, versions
from runs.models import Control, Run, Team
from tests import factories
from tests.faults import acknowledged


def start(workflow: str, **order: Any) -> Run:
    """A new run that nobody has been told of."""
    with transaction.atomic():
        run = starts.start(workflow, order, start_key=uuid.uuid4().hex, by="test").run
    acknowledged.started(run)
    return run


def put_on_record(workflow: Workflow) -> None:
    """What the first start of all notes, so that the next one is plain."""
    with transaction.atomic():
        versions.used(workflow)
        Team.objects.get_or_create(name=workflow.team)


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
    acknowledged.answered(escalation.question_id, verb)


def mend(run: Run, by: User, **value: str) -> None:
    """A person replaces the value that breaks its contract, and approves the edit."""
    escalation = Escalation.objects.get(run=run, state="open")
    decisions.edit(actor=by, value=value, **factories.shown(escalation))
    answer(run, "approve", by=by)


def engage(kind: str, scope_kind: str, scope: str = "") -> Control:
    """A pause or a stop is in force."""
    with transaction.atomic():
        control, _ = holds.engage(kind, scope_kind, scope, by="Marta")
    acknowledged.engaged(control.pk, kind, scope_kind, scope)
    return control


def release(control: Control) -> None:
    """And no more. What a stop held stays where it is; what a pause held goes on with the next sweep."""
    while holds.mark(control.pk):
        continue
    holds.release(control.pk, by="Marta", reason="seen")
    acknowledged.released(control.pk)


def resume(*run_ids: int) -> None:
    """What a stop had held goes on, all of it or nothing."""
    with transaction.atomic():
        resumed = [run_id for run_id in run_ids if holds.resume(run_id)]
    acknowledged.resumed(*resumed)
