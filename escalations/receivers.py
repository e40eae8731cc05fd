"""Hears the engine's questions, inside the engine's transaction, and keeps the ticket round them. Never answers.

Each receiver appends to the journal last; the engine sends the signals as the last act of its transaction.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.dispatch import receiver

from escalations.audit.record import about_escalation, about_run, append
from escalations.models import Escalation, EscalationState
from runs.definitions import Effect
from runs.engine.record import now
from runs.models import Call, Question, QuestionState, Run
from runs.signals import effect_left_open, effect_looked_at, question_asked, question_closed, question_hurried

OPENED = "escalation opened"
HURRIED = "deadline brought forward"
LOOKED = "looked"
LEFT_OPEN = "effect left open"
CLOSED = {
    QuestionState.EXPIRED: ("escalation expired", EscalationState.EXPIRED),
    QuestionState.WITHDRAWN: ("escalation withdrawn", EscalationState.WITHDRAWN),
}


@receiver(question_asked, dispatch_uid="escalations.open")
def open_escalation(sender: Any, question: Question, **_: Any) -> None:
    """Open the escalation of a new question."""
    escalation = Escalation.objects.create(
        question=question, run=question.run, team=question.run.team, digest=question.digest
    )
    append(
        actor=None,
        act=OPENED,
        subject=about_escalation(escalation),
        details={
            "kind": question.kind,
            "title": question.title,
            "reason": question.reason,
            "effect": question.effect,
            "version": escalation.version,
            "digest": escalation.digest,
            "expires_at": question.expires_at.isoformat(),
        },
    )


@receiver(question_closed, dispatch_uid="escalations.close")
def close_escalation(sender: Any, question: Question, **_: Any) -> None:
    """Close the escalation of a question that no person will answer any more."""
    act, state = CLOSED[QuestionState(question.state)]
    rows = Escalation.objects.select_for_update(no_key=True, of=("self",)).select_related("run", "team")
    escalation = rows.filter(question=question, state=EscalationState.OPEN).first()
    if escalation is None:
        return
    escalation.state, escalation.closed_at = state, now()
    escalation.save(update_fields=["state", "closed_at"])
    append(actor=None, act=act, subject=about_escalation(escalation), reason=question.answer_text)


@receiver(question_hurried, dispatch_uid="escalations.hurried")
def note_hurry(sender: Any, question: Question, was: datetime, **_: Any) -> None:
    """Its run has less time than when the question was asked: people limited it meanwhile."""
    escalation = Escalation.objects.select_related("run", "team").filter(question=question).first()
    if escalation is not None:
        details = {"expires_at": question.expires_at.isoformat(), "was": was.isoformat()}
        reason = "people have limited the run’s wall time"
        append(actor=None, act=HURRIED, subject=about_escalation(escalation), details=details, reason=reason)


@receiver(effect_looked_at, dispatch_uid="escalations.looked")
def note_look(sender: Any, question: Question, saw: dict[str, Any], **_: Any) -> None:
    """What was seen when a person had said to look again."""
    rows = Escalation.objects.select_related("run", "team")
    escalation = rows.filter(question=question).first()
    if escalation is not None:
        append(actor=None, act=LOOKED, subject=about_escalation(escalation), details=saw)


@receiver(effect_left_open, dispatch_uid="escalations.left_open")
def note_left_open(sender: Any, call: Call, **_: Any) -> None:
    """An effect that may have happened and about which nobody will be asked any more: its step is over."""
    if call.effect == Effect.NONE:
        return  # it only read
    run = Run.objects.select_related("team").get(pk=call.run_id)
    details = {"call": call.pk, "tool": call.name, "key": call.key, "why": call.error}
    append(actor=None, act=LEFT_OPEN, subject=about_run(run), details=details)
