"""The human ticket round a question, and the decision that closed it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class EscalationState(models.TextChoices):
    OPEN = "open", "open"
    DECIDED = "decided", "decided"
    EXPIRED = "expired", "expired"
    WITHDRAWN = "withdrawn", "withdrawn"


class Escalation(models.Model):
    """One a question. `version` grows with every change a decision must have seen (an edit, a claim does not).

    `draft` is an operator's edited action, validated against the contract; `digest` covers what would happen
    now (draft or the agent's action) together with the evidence shown.
    """

    question = models.OneToOneField("runs.Question", on_delete=models.CASCADE, related_name="escalation")
    run = models.ForeignKey("runs.Run", on_delete=models.CASCADE, related_name="escalations")
    team = models.ForeignKey("runs.Team", on_delete=models.PROTECT, related_name="escalations")
    state = models.CharField(max_length=10, choices=EscalationState, default=EscalationState.OPEN)
    version = models.PositiveIntegerField(default=1)
    digest = models.CharField(max_length=64)
    draft: models.JSONField[Any, Any] = models.JSONField(null=True)
    edited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    taken_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="taken_escalations"
    )
    taken_at = models.DateTimeField(null=True)
    opened_at = models.DateTimeField(db_default=Now())
    closed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=EscalationState.values), name="escalation_state_known"
            ),
        ]
        indexes = [
            models.Index(fields=["state", "-id"], name="escalation_by_state"),
            models.Index(fields=["taken_by"], condition=Q(state="open"), name="escalation_open_taken"),
        ]

    def __str__(self) -> str:
        return f"E-{self.pk}"

    @property
    def name(self) -> str:
        return f"E-{self.pk}"


class Decision(models.Model):
    """A person's answer: bound to the version and digest that were shown. One a escalation."""

    escalation = models.OneToOneField(Escalation, on_delete=models.CASCADE, related_name="decision")
    verb = models.CharField(max_length=10)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="decisions")
    at = models.DateTimeField(db_default=Now())
    version = models.PositiveIntegerField()
    digest = models.CharField(max_length=64)
    reason = models.TextField(blank=True)
    before: models.JSONField[Any, Any] = models.JSONField(default=dict)
    after: models.JSONField[Any, Any] = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"{self.verb} {self.escalation_id}"
