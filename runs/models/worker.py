"""Processes that may claim runs, and when each was last heard of."""

from __future__ import annotations

from django.db import models
from django.db.models import Value
from django.db.models.functions import Now


class WorkerKind(models.TextChoices):
    AGENTS = "agents", "agents"
    ORDINARY = "ordinary", "ordinary"
    BEAT = "beat", "beat"


class Worker(models.Model):
    """One process. `gone_at` is set when it leaves in order, or when a process of the same place (same boot, same
    process space) sees that its pid is no more, or another's; otherwise a killed one just falls silent."""

    name = models.CharField(max_length=120, unique=True)
    kind = models.CharField(max_length=8, choices=WorkerKind)
    pid = models.PositiveIntegerField(null=True)
    born = models.BigIntegerField(
        null=True, help_text="when pid began, in clock ticks since the boot: numbers come round"
    )
    place = models.CharField(
        max_length=80, blank=True, db_default="", help_text="boot and process space in which pid counts"
    )
    started_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(db_default=Now())
    gone_at = models.DateTimeField(null=True)
    in_flight = models.PositiveIntegerField(default=0)
    definitions: models.JSONField[list[str], list[str]] = models.JSONField(
        default=list,
        db_default=Value([], output_field=models.JSONField()),
        help_text="digests of those it has",
    )

    def __str__(self) -> str:
        return self.name
