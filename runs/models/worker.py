"""Processes that may claim runs, and when each was last heard of."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class WorkerKind(models.TextChoices):
    AGENTS = "agents", "agents"
    ORDINARY = "ordinary", "ordinary"
    BEAT = "beat", "beat"


class Worker(models.Model):
    """One process. `gone_at` is set when it leaves in order; a killed one just falls silent."""

    name = models.CharField(max_length=120, unique=True)
    kind = models.CharField(max_length=8, choices=WorkerKind)
    pid = models.PositiveIntegerField(null=True)
    started_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(db_default=Now())
    gone_at = models.DateTimeField(null=True)
    in_flight = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return self.name
