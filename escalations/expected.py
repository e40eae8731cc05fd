"""What an act may refuse, as exceptions; each `sentence` is what the operator reads. No database.

A refusal rolls the act back. `escalations.audit.refused` then records it in a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from escalations.models import Decision, Escalation, Outcome
from runs.moments import told


class Refusal(Exception):
    """Base of all expected refusals. `status` is the HTTP status of the answer."""

    status = 409
    outcome: Outcome = Outcome.CONFLICT

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class NotAllowed(Refusal):
    """The role table does not allow it."""

    status = 403
    outcome = Outcome.REFUSED


class NotThere(Refusal):
    """There is nothing of that number."""

    status = 404
    outcome = Outcome.INVALID


class AlreadyDecided(Refusal):
    """Somebody was first: `who` did `what`, and `when`. `decision` is None when it closed without a person."""

    def __init__(self, escalation: Escalation, decision: Decision | None, *, who: str, what: str) -> None:
        when = decision.at if decision else (escalation.closed_at or escalation.opened_at)
        super().__init__(f"{escalation.name} was {what} by {who} at {clock(when)}.")
        self.escalation = escalation
        self.decision = decision
        self.who = who
        self.what = what
        self.when = when


class Changed(Refusal):
    """The world moved: what was shown is not what would happen now."""

    def __init__(self, escalation: Escalation, *, seen: int) -> None:
        editor = escalation.edited_by
        by = f", edited by {editor.get_full_name() or editor.username}" if editor else ""
        super().__init__(
            f"{escalation.name} has changed since you read it: version {escalation.version}{by} is in force, "
            f"you saw version {seen}. Nothing was done."
        )
        self.escalation = escalation


class IllegalMove(Refusal):
    """It cannot follow from the present state."""


class Invalid(Refusal):
    """The input does not meet its contract; `errors` has (path, message) for each wrong value."""

    status = 422
    outcome = Outcome.INVALID

    def __init__(self, errors: Sequence[tuple[str, str]]) -> None:
        path, message = errors[0]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__((f"{path}: {message}" if path else message) + more)
        self.errors = list(errors)


class IntakeFull(Refusal):
    """The queue is full; come back in `retry_after_seconds`."""

    status = 503

    def __init__(self, sentence: str, *, retry_after_seconds: int) -> None:
        super().__init__(sentence)
        self.retry_after_seconds = retry_after_seconds


def clock(moment: datetime) -> str:
    """A moment for sentences that are read at once."""
    return f"{told(moment)} UTC"
