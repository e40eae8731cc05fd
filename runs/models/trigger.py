"""What the engine knows of each schedule, webhook and folder that starts runs. The definition itself is code."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from runs.starts_by import Kind


class Trigger(models.Model):
    """One start of a workflow's newest version. Made when it is first seen, kept when the definition drops it.

    `since` is a schedule's place: moments up to this one are dealt with. `last_error` is what stands in the way
    now; it goes when nothing does any more. `refused` counts what was sent or dropped and could not be taken.
    """

    workflow = models.CharField(max_length=80)
    kind = models.CharField(max_length=8, choices=[(kind.value, kind.value) for kind in Kind])
    name = models.CharField(max_length=60)
    first_seen = models.DateTimeField(db_default=Now())
    spec = models.CharField(
        max_length=200,
        blank=True,
        db_default="",
        help_text="a schedule's expression and zone, to see a change",
    )
    since = models.DateTimeField(db_default=Now())
    last_at = models.DateTimeField(null=True, help_text="when it last started a run")
    last_run = models.ForeignKey("runs.Run", null=True, on_delete=models.SET_NULL, related_name="+")
    last_says = models.TextField(blank=True, db_default="", help_text="what was special about the last start")
    last_error = models.TextField(blank=True, db_default="")
    error_at = models.DateTimeField(null=True)
    refused = models.PositiveBigIntegerField(db_default=0)
    refused_at = models.DateTimeField(null=True)
    last_refusal = models.TextField(blank=True, db_default="", help_text="without anything of the content")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workflow", "kind", "name"], name="trigger_once"),
            models.CheckConstraint(
                condition=Q(kind__in=[kind.value for kind in Kind]), name="trigger_kind_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.name} of {self.workflow}"
