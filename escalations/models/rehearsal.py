"""A rehearsal that somebody asked for: which draft, over which time, and what came of it. Changes no limit."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

PATIENCE = timedelta(minutes=1)  # a rehearsal that is not over by then has been tried


class RehearsalState(models.TextChoices):
    ASKED = "asked", "asked"  # somebody should begin at `due_at`
    RUNNING = "running", "running"  # somebody has begun; another may at `due_at`
    DONE = "done", "done"  # `totals` and its runs are whole
    FAILED = "failed", "failed"  # `why` says what was in the way


class Rehearsal(models.Model):
    """One draft over the runs that began from `since` to `until`. `digest` names the draft exactly; `given` is how it
    was written, for `line` of version `seen`, or for a new limit.
    """

    digest = models.CharField(max_length=64)
    given: models.JSONField[Any, Any] = models.JSONField(default=dict)
    line = models.BigIntegerField(null=True)
    seen = models.CharField(max_length=200, blank=True)
    says = models.CharField(max_length=400)
    since = models.DateTimeField()
    until = models.DateTimeField()
    state = models.CharField(max_length=10, choices=RehearsalState, default=RehearsalState.ASKED)
    # None: the command line; its entry of the journal says whose
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+")
    asked_at = models.DateTimeField(db_default=Now())
    due_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    why = models.TextField(blank=True)
    looked = models.PositiveIntegerField(default=0, help_text="runs looked at so far")
    totals: models.JSONField[Any, Any] = models.JSONField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=RehearsalState.values), name="rehearsal_state_known"
            ),
            models.CheckConstraint(
                condition=~Q(state=RehearsalState.DONE)
                | Q(totals__isnull=False, finished_at__isnull=False, due_at__isnull=True),
                name="rehearsal_done_is_whole",
            ),
        ]
        indexes = [
            models.Index(fields=["digest", "-finished_at"], name="rehearsal_by_draft"),
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="rehearsal_due"),
        ]

    def __str__(self) -> str:
        return f"rehearsal {self.pk} {self.state}"

    @property
    def differ(self) -> int:
        """Runs that would have gone otherwise, imported ones among them."""
        totals = self.totals or {}
        return sum(one["differ"] for one in (totals, *totals.get("imported", ())) if one)

    @property
    def under_way(self) -> bool:
        return self.state in (RehearsalState.ASKED, RehearsalState.RUNNING)

    @property
    def in_vain(self) -> bool:
        """Whether it was tried and says nothing: it failed, or goes on for longer than anybody need wait."""
        late: bool = self.asked_at <= timezone.now() - PATIENCE
        return self.state == RehearsalState.FAILED or (self.under_way and late)


class RehearsedRun(models.Model):
    """A run that would have gone otherwise. `told` is its line as the command prints it; lost successes stand first."""

    rehearsal = models.ForeignKey(Rehearsal, on_delete=models.CASCADE, related_name="runs")
    place = models.PositiveIntegerField()
    told: models.JSONField[Any, Any] = models.JSONField()

    class Meta:
        ordering = ["place"]
        constraints = [
            models.UniqueConstraint(fields=["rehearsal", "place"], name="rehearsed_run_place_once"),
        ]

    def __str__(self) -> str:
        return f"{self.rehearsal_id}/{self.place}"
