"""Changes of limits and top-ups that wait for a second person."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import BaseConstraint, F, Q
from django.db.models.functions import Now

from runs.limits import units
from runs.limits.kinds import TABLE, LimitKind


class ProposalState(models.TextChoices):
    OPEN = "open", "open"  # another admin may agree or decline, until it expires
    AGREED = "agreed", "agreed"  # done
    DECLINED = "declined", "declined"
    OVERTAKEN = "overtaken", "overtaken"  # changed otherwise meanwhile, or its card was closed
    EXPIRED = "expired", "expired"  # nobody agreed in time


class Proposal(models.Model):
    """What one person wants and may not allow alone. Nothing of it holds before another admin agrees.

    `digest` is made of all that was shown: the terms, the reason, whose it is.
    """

    digest = models.CharField(max_length=64)
    reason = models.TextField()
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=ProposalState, default=ProposalState.OPEN)
    closed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    closed_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True

    @property
    def terms(self) -> dict[str, Any]:
        """What a second person agrees to, as data."""
        raise NotImplementedError

    @property
    def asks_to(self) -> str:
        """What follows *agree* on its button; empty where the line beside it says all."""
        return ""


def _amount(kind: str, written: str) -> str:
    """What somebody wrote, as it is shown everywhere: 2m tokens are 2,000,000."""
    unit = TABLE[LimitKind(kind)].unit
    return units.shown(unit, units.read(unit, written))


def _held(name: str) -> list[BaseConstraint]:
    """What the database holds every proposal to."""
    by_another = Q(closed_by__isnull=False) & ~Q(closed_by=F("by"))
    return [
        models.CheckConstraint(condition=Q(state__in=ProposalState.values), name=f"{name}_state_known"),
        models.CheckConstraint(
            condition=~Q(state=ProposalState.AGREED) | by_another, name=f"{name}_agreed_by_another"
        ),
    ]


class LimitProposal(Proposal):
    """What one admin wants of a limit.

    `line` is the limit's first row, `seen` the numbers of the rows that were open when it was proposed: with others it
    cannot be agreed to any more. `after` is what was written, null to end the limit.
    """

    line = models.ForeignKey("runs.Limit", on_delete=models.PROTECT, related_name="proposals")
    seen = models.CharField(max_length=200)
    after: models.JSONField[Any, Any] = models.JSONField(null=True)
    increases: models.JSONField[Any, Any] = models.JSONField(default=list, help_text="a clause each")

    class Meta:
        constraints = [
            *_held("proposal"),
            models.UniqueConstraint(
                fields=["line"], condition=Q(state=ProposalState.OPEN), name="proposal_one_open_a_limit"
            ),
        ]
        indexes = [
            models.Index(fields=["expires_at"], condition=Q(state="open"), name="proposal_open"),
        ]

    def __str__(self) -> str:
        return f"proposal {self.pk} {self.state}"

    @property
    def terms(self) -> dict[str, Any]:
        return {"line": self.line_id, "seen": self.seen, "after": self.after, "increases": self.increases}

    @property
    def asks_to(self) -> str:
        if self.after is None:
            return "to end it"
        mode = f", {self.after['mode']}" if self.after["mode"] != self.line.mode else ""
        return f"to {_amount(self.line.kind, self.after['value'])}{mode}"

    @property
    def ends_at(self) -> datetime | None:
        """When what was before holds again, or nothing; None where it is to stay."""
        written = (self.after or {}).get("until", "").strip()
        if not written:
            return None
        moment = datetime.fromisoformat(written)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class TopUpProposal(Proposal):
    """A top-up. `allows` says what the cap would come to; `question` is the card that it answers, null without one."""

    account = models.ForeignKey("runs.Account", on_delete=models.CASCADE, related_name="proposals")
    question = models.ForeignKey("runs.Question", null=True, on_delete=models.CASCADE, related_name="+")
    amount = models.BigIntegerField()
    until = models.DateTimeField(null=True)
    allows = models.TextField(help_text="a clause: from what to what")

    class Meta:
        constraints = [
            *_held("top_up"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="top_up_proposal_adds"),
            models.UniqueConstraint(
                fields=["account"], condition=Q(state=ProposalState.OPEN), name="top_up_one_open_an_account"
            ),
        ]
        indexes = [
            models.Index(fields=["expires_at"], condition=Q(state="open"), name="top_up_open"),
        ]

    def __str__(self) -> str:
        return f"top-up proposal {self.pk} {self.state}"

    @property
    def terms(self) -> dict[str, Any]:
        return {
            "account": self.account_id,
            "question": self.question_id,
            "amount": self.amount,
            "until": self.until.isoformat() if self.until else None,
            "allows": self.allows,
        }

    @property
    def asks_to(self) -> str:
        return f"to {units.shown(TABLE[LimitKind(self.account.kind)].unit, self.amount)} more"
