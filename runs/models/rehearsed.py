"""A policy of a definition that somebody tried on runs that were over. No part of any run; it holds nothing back."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models.functions import Now


class RehearsedPolicy(models.Model):
    """What `manage.py rehearse` said of a policy over the console's own runs from `since` to `until`. `digest` names
    the policy exactly (`runs.rehearsal.policies`)."""

    digest = models.CharField(max_length=64)
    says = models.TextField()
    since = models.DateTimeField()
    until = models.DateTimeField()
    at = models.DateTimeField(db_default=Now())
    by = models.CharField(max_length=200)
    totals: models.JSONField[Any, Any] = models.JSONField()

    class Meta:
        indexes = [models.Index(fields=["digest", "-at"], name="rehearsed_policy_newest")]

    def __str__(self) -> str:
        return f"{self.says} ({self.by})"

    @property
    def result(self) -> str:
        """What it came to, in a clause."""
        found = self.totals
        if not found["runs"]:
            return "it covered no run"
        lost, cards = found["successes_lost"], found["extra_escalations"]
        told = [f"{found['differ']:,} of {found['runs']:,} runs would have gone otherwise"]
        told += [f"{lost:,} success{'es'[: 2 * (lost != 1)]} lost"] if lost else []
        told += [f"{abs(cards):,} {'more' if cards > 0 else 'fewer'} cards"] if cards else []
        return ", ".join(told)
