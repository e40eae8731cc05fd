"""Hears the engine's questions, inside the engine's transaction, and keeps the ticket round them. Never answers.

Each receiver appends to the journal last; the engine sends the signals as the last act of its transaction.
"""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from escalations.audit.record import about_escalation, append
from escalations.models import Escalation, EscalationState
from runs.engine.record import now
from runs.models import Question, QuestionState
from runs.signals import question_asked, question_closed

OPENED = "escalation opened"
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
