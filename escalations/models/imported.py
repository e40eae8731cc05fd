"""Recorded runs from elsewhere that were kept for rehearsals. They are no runs of the console: nothing lists, plays or
counts them but a rehearsal that names them."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models.functions import Now


class Imported(models.Model):
    """One file, by the name that people chose. `toolsets`: what the owners of its tools declare, as they wrote it."""

    name = models.CharField(max_length=80, unique=True)
    by = models.CharField(max_length=150)
    at = models.DateTimeField(db_default=Now())
    runs = models.PositiveIntegerField()
    toolsets: models.JSONField[Any, Any] = models.JSONField(null=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class ImportedRun(models.Model):
    """One recorded run as it was read (`trace/1`). `succeeded` None: nobody was asked, or it does not say."""

    imported = models.ForeignKey(Imported, on_delete=models.CASCADE, related_name="lines")
    place = models.PositiveIntegerField()
    trace = models.TextField()
    succeeded = models.BooleanField(null=True)

    class Meta:
        ordering = ["place"]
        constraints = [
            models.UniqueConstraint(fields=["imported", "place"], name="imported_run_place_once"),
        ]

    def __str__(self) -> str:
        return f"{self.imported_id}/{self.place}"
