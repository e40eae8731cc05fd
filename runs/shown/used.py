"""What one run has used up so far, by agent, model and tool, its last uses, and the accounts it is counted on. Reads
only; knows no limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from runs.limits.rows import Where
from runs.models import CallKind, Run

LAST = 12  # uses by which the present burn is told
CALLED = """
called AS MATERIALIZED (
    SELECT id, step_id, attempt_id, kind, name, model, state, send, permitted_at, finished_at,
        coalesce(tokens_in, 0) + coalesce(tokens_out, 0) AS tokens, coalesce(cost_micros, 0) AS cost
    FROM runs_call WHERE run_id = %(run)s
)"""
USED = f"""
SELECT 'used', jsonb_build_object('kind', kind, 'name', name, 'model', model, 'agent', agent, 'sent', count(*),
    'first', count(*) FILTER (WHERE send = 1), 'tokens', sum(tokens), 'cost', sum(cost))::text
FROM called LEFT JOIN runs_attempt AS attempt ON attempt.id = called.attempt_id
WHERE kind <> 'look' GROUP BY kind, name, model, agent
UNION ALL
SELECT 'use', jsonb_build_object('kind', kind, 'name', name, 'model', model, 'at', coalesce(finished_at, permitted_at),
    'tokens', tokens, 'cost', cost)::text
FROM (SELECT * FROM called WHERE kind <> 'look' AND state <> 'refused' ORDER BY id DESC LIMIT {LAST}) AS last
UNION ALL
SELECT 'account', jsonb_build_object('kind', kind, 'window', account."window", 'scope_kind', scope_kind,
    'scope', scope, 'spent', account.spent + coalesce(purses.spent, 0),
    'reserved', reserved - coalesce(purses.held + purses.spent, 0),
    'more', coalesce((SELECT sum(amount) FROM runs_topup AS more
        WHERE more.account_id = account.id AND (more.until IS NULL OR more.until > statement_timestamp())), 0))::text
FROM runs_account AS account LEFT JOIN (SELECT account_id, sum(held) AS held, sum(spent) AS spent FROM runs_chunk
        GROUP BY account_id) AS purses ON purses.account_id = account.id
WHERE run_id = %(run)s
    OR run_id = 0 AND account."window" = 'hour' AND begins = date_trunc('hour', statement_timestamp(), 'UTC')
    OR run_id = 0 AND account."window" = 'day' AND begins = date_trunc('day', statement_timestamp(), 'UTC')
    OR run_id = 0 AND account."window" = 'month' AND begins = date_trunc('month', statement_timestamp(), 'UTC')
UNION ALL
SELECT 'edition', jsonb_build_object('number', coalesce((SELECT number FROM runs_limitedition WHERE id = 1), 0))::text
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """Calls of one kind by one agent to one model or tool: all sendings, and those that were no repetition."""

    kind: CallKind
    agent: str
    model: str = ""
    tool: str = ""
    sent: int = 0
    first: int = 0
    tokens: int = 0
    cost_micros: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """One of the last calls: by an agent to a model, or of a tool."""

    kind: CallKind
    name: str
    model: str
    at: datetime
    tokens: int
    cost_micros: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What counts against a limit by the guards' own book. `more`: what people allowed beyond it."""

    spent: int
    reserved: int
    more: int = 0


Counted = tuple[str, str, str, str]  # kind, window, kind of scope, scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """`last` are the last calls, oldest first. Tokens and cost of the run are what was booked, late replies too."""

    sums: tuple[Sum, ...] = ()
    last: tuple[Spent, ...] = ()
    tokens: int = 0
    cost_micros: int = 0
    retries: int = 0
    accounts: Mapping[Counted, Account] = field(default_factory=dict)

    def places(self, team: str, workflow: str, run: int) -> list[tuple[Where, Sum]]:
        """Where each of the sums was used."""
        return [
            (
                Where(team=team, workflow=workflow, run=run, agent=one.agent, model=one.model, tool=one.tool),
                one,
            )
            for one in self.sums
        ]


def used(
    run: Run,
    sums: Iterable[Mapping[str, Any]],
    last: Iterable[Mapping[str, Any]],
    accounts: Iterable[Mapping[str, Any]],
) -> Used:
    """From rows of USED."""
    return Used(
        sums=tuple(_sum(row) for row in sums),
        last=tuple(
            Spent(
                kind=CallKind(row["kind"]),
                name=row["name"],
                model=row["model"],
                at=datetime.fromisoformat(row["at"]),
                tokens=row["tokens"],
                cost_micros=row["cost"],
            )
            for row in sorted(last, key=lambda row: datetime.fromisoformat(row["at"]))
        ),
        tokens=run.tokens_in + run.tokens_out,
        cost_micros=run.cost_micros,
        retries=run.retries,
        accounts={
            (row["kind"], row["window"], row["scope_kind"], row["scope"]): Account(
                spent=row["spent"], reserved=row["reserved"], more=row["more"]
            )
            for row in accounts
        },
    )


def _sum(row: Mapping[str, Any]) -> Sum:
    """A model call is named after its agent, a tool call after its tool."""
    of_model = row["kind"] == CallKind.MODEL
    return Sum(
        kind=CallKind(row["kind"]),
        agent=row["name"] if of_model else row["agent"] or "",
        model=row["model"],
        tool="" if of_model else row["name"],
        sent=row["sent"],
        first=row["first"],
        tokens=row["tokens"],
        cost_micros=row["cost"],
    )
