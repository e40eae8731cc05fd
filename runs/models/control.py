"""The kill switch's holds over a scope, and which worker has confirmed them."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class ControlKind(models.TextChoices):
    PAUSE = "pause", "pause"  # nothing new starts; open calls finish; a release lets runs go on
    STOP = "stop", "stop"  # nothing new starts; open calls are cut; a released run must be resumed


class ScopeKind(models.TextChoices):
    EVERYTHING = "everything", "everything"
    WORKFLOW = "workflow", "workflow"
    RUN = "run", "run"


class Control(models.Model):
    """Engaged until released. Controls stack: releasing one never releases another."""

    kind = models.CharField(max_length=5, choices=ControlKind)
    scope_kind = models.CharField(max_length=10, choices=ScopeKind)
    scope = models.CharField(
        max_length=80, blank=True, help_text="workflow name or run id; empty: everything"
    )
    reason = models.TextField(blank=True)
    engaged_at = models.DateTimeField(db_default=Now())
    engaged_by = models.CharField(max_length=150)
    marked_at = models.DateTimeField(null=True, help_text="when every covered run had been marked held")
    released_at = models.DateTimeField(null=True)
    released_by = models.CharField(max_length=150, blank=True)
    release_reason = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=ControlKind.values), name="control_kind_known"),
            models.CheckConstraint(condition=Q(scope_kind__in=ScopeKind.values), name="control_scope_known"),
            models.UniqueConstraint(
                fields=["kind", "scope_kind", "scope"],
                condition=Q(released_at__isnull=True),
                name="control_engaged_once",
            ),
        ]
        indexes = [models.Index(fields=["id"], condition=Q(released_at__isnull=True), name="control_engaged")]

    def __str__(self) -> str:
        return f"{self.kind} {self.scope_name}"

    @property
    def scope_name(self) -> str:
        return f"{self.scope_kind} {self.scope}".strip()

    @property
    def engaged(self) -> bool:
        return self.released_at is None

    def covers(self, *, run_id: int, workflow: str) -> bool:
        """Whether this control holds that run, by scope alone."""
        if self.scope_kind == ScopeKind.EVERYTHING:
            return True
        if self.scope_kind == ScopeKind.WORKFLOW:
            return self.scope == workflow
        return self.scope == str(run_id)


class ControlReceipt(models.Model):
    """A worker's word that it has nothing covered in flight any more."""

    control = models.ForeignKey(Control, on_delete=models.CASCADE, related_name="receipts")
    worker = models.ForeignKey("runs.Worker", on_delete=models.CASCADE, related_name="receipts")
    cut = models.PositiveIntegerField(default=0, help_text="calls in flight that were cut")
    confirmed_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["control", "worker"], name="receipt_once")]

    def __str__(self) -> str:
        return f"{self.worker_id} confirms {self.control_id}"
