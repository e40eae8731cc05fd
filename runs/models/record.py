"""Bodies, stored once by digest, and the events of a run, numbered without gaps."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models.functions import Now


class Body(models.Model):
    """A text (canonical JSON or plain) outside the hot rows. `digest` is its SHA-256 in hex."""

    digest = models.CharField(max_length=64, primary_key=True)
    content = models.TextField()
    size = models.PositiveIntegerField(help_text="bytes of UTF-8")
    stored_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.digest[:12]


class Event(models.Model):
    """What happened in a run, in order. `seq` is gap-free per run, given under the run's row lock.

    Only the engine writes events, in the transaction that wrote or locked their run and step: no foreign key has to
    look for both again with every event.
    """

    run = models.ForeignKey(
        "runs.Run", db_index=False, db_constraint=False, on_delete=models.CASCADE, related_name="events"
    )
    seq = models.PositiveIntegerField()
    at = models.DateTimeField(db_default=Now())
    kind = models.CharField(max_length=40)
    step = models.ForeignKey(
        "runs.Step",
        null=True,
        db_index=False,
        db_constraint=False,
        on_delete=models.CASCADE,
        related_name="events",
    )
    data: models.JSONField[Any, Any] = models.JSONField(default=dict)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "seq"], name="event_seq_once")]
        indexes = [
            models.Index(
                fields=["run", "seq"], condition=models.Q(kind__in=["held", "resumed"]), name="event_held"
            ),
            models.Index(fields=["run", "step"], condition=models.Q(kind="dropped"), name="event_dropped"),
            models.Index(
                fields=["run", "seq"], condition=models.Q(kind__in=["guard", "waits"]), name="event_guarded"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.run_id}#{self.seq} {self.kind}"
