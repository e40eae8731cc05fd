"""Identical refused attempts of one actor, counted, so that a flood of them does not fill the journal."""

from __future__ import annotations

from typing import Any

from django.db import models


class Flood(models.Model):
    """One row for each actor, act, target and outcome that was refused lately.

    The first refusal of a window is a journal entry; the others only add to `more`, until one entry says how
    many they were. `entry` keeps what that entry needs.
    """

    key = models.CharField(
        max_length=64, primary_key=True, help_text="digest of who, what, on what, and why not"
    )
    since = models.DateTimeField(help_text="when the window began, with the entry that stands in the journal")
    more = models.PositiveIntegerField(default=0, help_text="refused since then and not in the journal yet")
    entry: models.JSONField[Any, Any] = models.JSONField(default=dict)

    class Meta:
        indexes = [models.Index(fields=["since"], name="flood_by_age")]

    def __str__(self) -> str:
        return f"{self.more} more since {self.since:%H:%M:%S}"
