"""The journal's table. Rows are appended by one SQL function only, and a trigger forbids anything else."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class Outcome(models.TextChoices):
    DONE = "done", "done"
    REFUSED = "refused", "refused"  # not allowed
    CONFLICT = "conflict", "conflict"  # somebody was first, or the world moved
    INVALID = "invalid", "invalid"  # the input did not meet its contract


class JournalEntry(models.Model):
    """`seq` is gap-free and in commit order: audit number and cursor of the screens in one.

    `hash` is SHA-256 over the previous hash, `seq`, `at` and `body`; `body` is the canonical JSON of everything
    else, and the columns beside it are copies for filters.
    """

    seq = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    act = models.CharField(max_length=40, help_text="approve, engage stop, escalation opened, ...")
    outcome = models.CharField(max_length=10, choices=Outcome)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    actor_name = models.CharField(max_length=150)
    target = models.CharField(max_length=200)
    run_id = models.BigIntegerField(null=True)
    escalation_id = models.BigIntegerField(null=True)
    workflow = models.CharField(max_length=80, blank=True)
    team = models.CharField(max_length=80, blank=True)
    reason = models.TextField(blank=True)
    body = models.TextField(help_text="canonical JSON, the exact text that was hashed")
    prev_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        indexes = [
            models.Index(
                fields=["run_id", "seq"], condition=models.Q(run_id__isnull=False), name="journal_by_run"
            ),
            models.Index(fields=["act", "seq"], name="journal_by_act"),
            models.Index(fields=["actor_name", "seq"], name="journal_by_name"),
            models.Index(fields=["workflow", "seq"], name="journal_by_workflow"),
            models.Index(
                fields=["escalation_id", "seq"],
                condition=models.Q(escalation_id__isnull=False),
                name="journal_by_escalation",
            ),
            models.Index(
                fields=["outcome", "seq"], condition=~models.Q(outcome="done"), name="journal_not_done"
            ),
            models.Index(fields=["at"], name="journal_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.act}"
