"""What model calls used, added up by time and place, so that nobody has to read a month of calls. Made from the calls
alone (`runs.engine.spend.burn`): dropping all of it loses nothing."""

from __future__ import annotations

from typing import Any

from django.db import models


class Burn(models.Model):
    """What the model calls that were permitted within one span used, by team, workflow, agent and model.

    `span` in minutes: 5, 60 or 1440; `at` its beginning in UTC. `cost` in millionths of a US dollar, as far as it is
    known by now. Recorded runs spend nothing and are left out.
    """

    span = models.PositiveSmallIntegerField()
    at = models.DateTimeField()
    team = models.CharField(max_length=80)
    workflow = models.CharField(max_length=80)
    agent = models.CharField(max_length=120)
    model = models.CharField(max_length=120)
    calls = models.BigIntegerField(default=0)
    tokens = models.BigIntegerField(default=0)
    cost = models.BigIntegerField(default=0)

    class Meta:
        indexes = [models.Index(fields=["span", "at"], name="burn_by_time")]

    def __str__(self) -> str:
        return f"{self.cost} in {self.span} min from {self.at}"


class BurnMark(models.Model):
    """How far the calls are added up. One row. `again`: spans of which more may have become known since."""

    until = models.DateTimeField()
    looked_at = models.DateTimeField()
    again: models.JSONField[Any, Any] = models.JSONField(default=list)

    def __str__(self) -> str:
        return f"added up until {self.until}"
