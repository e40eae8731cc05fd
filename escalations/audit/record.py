"""Appending to the journal. Never reads it back, never decides whether something may happen.

`append` must be the last statement of its transaction: the journal's lock is held until the commit, and
whoever locks a run after it would turn the lock order round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from escalations import live
from escalations.models import Escalation, Outcome
from escalations.roles import Actor, account_of, name_of
from runs.canonical import canonical, plain
from runs.engine import failpoints
from runs.models import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What an entry is about. The ids and names beside `target` are for filters."""

    target: str
    run_id: int | None = None
    escalation_id: int | None = None
    workflow: str = ""
    team: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry before it stands in the chain: its columns, and the text that is hashed."""

    columns: dict[str, Any]
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """Where an entry stands in the chain."""

    seq: int
    at: datetime
    hash: str


def about_run(run: Run) -> Subject:
    """The subject of an entry about a run."""
    return Subject(target=f"run {run.pk}", run_id=run.pk, workflow=run.workflow, team=run.team.name)


def about_escalation(escalation: Escalation) -> Subject:
    """The subject of an entry about an escalation, with its run."""
    return Subject(
        target=escalation.name,
        run_id=escalation.run_id,
        escalation_id=escalation.pk,
        workflow=escalation.run.workflow,
        team=escalation.team.name,
    )


def append(
    *,
    actor: Actor | None,
    act: str,
    subject: Subject,
    outcome: Outcome = Outcome.DONE,
    reason: str = "",
    details: Mapping[str, Any] | None = None,
) -> Appended:
    """Append one entry, as the last statement of the transaction; screens hear of it after the commit.

    `actor` None is the system itself. Raises TransactionManagementError outside a transaction.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("the journal is only appended inside a transaction")
    entry = entry_of(actor=actor, act=act, subject=subject, outcome=outcome, reason=reason, details=details)
    appended = _append(entry.columns, entry.body)
    tell(live.message(seq=appended.seq, **entry.columns))
    return appended


def entry_of(
    *,
    actor: Actor | None,
    act: str,
    subject: Subject,
    outcome: Outcome = Outcome.DONE,
    reason: str = "",
    details: Mapping[str, Any] | None = None,
) -> Entry:
    """The entry that `append` would append. Writes nothing."""
    account = account_of(actor) if actor else None
    columns: dict[str, Any] = plain(
        {
            "act": str(act),
            "outcome": str(outcome),
            "actor_id": account.pk if account else None,
            "actor_name": (name_of(actor) if actor else "system")[:150],
            "target": subject.target[:200],
            "run_id": subject.run_id,
            "escalation_id": subject.escalation_id,
            "workflow": subject.workflow[:80],
            "team": subject.team[:80],
            "reason": reason,
        }
    )
    return Entry(columns=columns, body=canonical({**columns, "details": details or {}}))


def tell(message: live.Message) -> None:
    """Screens hear of an entry after the commit; at once when nothing is open."""

    def told() -> None:
        failpoints.hit("after_ack")
        live.tell(message)

    transaction.on_commit(told, robust=True)


def _append(columns: dict[str, Any], body: str) -> Appended:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT seq, at, hash FROM journal_append(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [*columns.values(), body],
        )
        row = cursor.fetchone()
    assert row is not None
    return Appended(seq=row[0], at=row[1], hash=row[2])
