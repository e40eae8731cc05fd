"""What a version of a workflow was when it was first used: what its runs may expect it to stay."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class Definition(models.Model):
    """One content of one version. The present one has no `replaced_at`; `parts` are short digests by the name of what
    decides, so that a change can be told in its author's words."""

    workflow = models.CharField(max_length=80)
    version = models.PositiveIntegerField()
    digest = models.CharField(max_length=64)
    parts: models.JSONField[Any, Any] = models.JSONField(default=dict)
    first_used_at = models.DateTimeField(db_default=Now())
    replaced_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workflow", "version"], condition=Q(replaced_at=None), name="definition_present_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.workflow} v{self.version} {self.digest[:12]}"
