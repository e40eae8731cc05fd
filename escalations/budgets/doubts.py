"""Calls of which nobody knows what they used. Reads only; booking them is `escalations.spends`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.db import connection

MOST = 50
# Nobody knows what they used, and nobody is at it any more: as `runs.engine.spend.budgets.reconcile` has it.
_DOUBTED = """
    WITH doubted AS (
        SELECT c.id, c.run_id, r.workflow, c.name, c.model, c.state, c.permitted_at, a.id AS account, a.kind,
            (t ->> 1)::bigint AS amount
        FROM runs_call c JOIN runs_run r ON r.id = c.run_id, jsonb_array_elements(c.reserved) t
            JOIN runs_account a ON a.id = (t ->> 0)::bigint
        WHERE c.reserved IS NOT NULL AND a.kind IN ('cost', 'tokens')
            AND (c.state <> 'permitted' OR c.fence <> r.fence OR r.finished_at IS NOT NULL)
    )
    SELECT (SELECT jsonb_object_agg(account, amount) FROM (
            SELECT account, sum(amount) AS amount FROM doubted GROUP BY account) sums)::text,
        (SELECT jsonb_agg(jsonb_build_array(id, run_id, workflow, name, model, state, permitted_at, cost, tokens)
            ORDER BY id) FROM (
            SELECT id, run_id, workflow, name, model, state, permitted_at,
                max(amount) FILTER (WHERE kind = 'cost') AS cost, max(amount) FILTER (WHERE kind = 'tokens') AS tokens
            FROM doubted GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY id LIMIT %s) calls)::text
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A call of which nobody knows what it used. Amounts as they are reserved; None: of that nothing is."""

    call: int
    run: int
    workflow: str
    agent: str
    model: str
    state: str
    at: datetime
    cost: int | None
    tokens: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubts:
    """The oldest MOST of them and whether there are more, and what is uncertain of each account."""

    calls: tuple[Doubt, ...] = ()
    more: bool = False
    sums: Mapping[int, int] = field(default_factory=dict)


def in_doubt() -> Doubts:
    """Calls of which nobody knows what they used, the oldest first. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_DOUBTED, [MOST + 1])
        row = cursor.fetchone()
    sums, calls = (json.loads(text) if text else None for text in row or (None, None))
    listed = [
        Doubt(
            call=one[0],
            run=one[1],
            workflow=one[2],
            agent=one[3],
            model=one[4],
            state=one[5],
            at=datetime.fromisoformat(one[6]),
            cost=one[7],
            tokens=one[8],
        )
        for one in calls or ()
    ]
    return Doubts(
        calls=tuple(listed[:MOST]),
        more=len(listed) > MOST,
        sums={int(account): int(amount) for account, amount in (sums or {}).items()},
    )
