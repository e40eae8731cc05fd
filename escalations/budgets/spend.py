"""What was spent within a period by team, workflow, agent and model, as it was last added up. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from escalations.budgets.periods import SPAN, begins_of
from runs.limits.kinds import Window

MOST = 12  # names of each part
PARTS = ("team", "workflow", "agent", "model")
_SPENT = """
    SELECT team, workflow, agent, model, coalesce(sum(cost), 0)::bigint, coalesce(sum(tokens), 0)::bigint,
        coalesce(sum(calls), 0)::bigint, (SELECT looked_at FROM runs_burnmark WHERE id = 1)
    FROM runs_burn WHERE span = %(span)s AND at >= %(since)s AND at < %(until)s
    GROUP BY GROUPING SETS ((), (team), (workflow), (agent), (model))
    ORDER BY 5 DESC, 6 DESC
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What one name of a part used within the period, and its share of all in per cent."""

    name: str
    cost: int
    tokens: int
    calls: int
    share: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """What was spent within the period by team, workflow, agent and model, limited or not; the most first."""

    total: Spent
    parts: Mapping[str, tuple[Spent, ...]]
    more: Mapping[str, int]
    counted_at: datetime | None


def spent_within(per: Window, at: datetime) -> Spend:
    """What was spent within the present period, as it was last added up. One query."""
    values: dict[str, Any] = {"span": SPAN[per], "since": begins_of(per, at), "until": at + timedelta(days=1)}
    with connection.cursor() as cursor:
        cursor.execute(_SPENT, values)
        rows = cursor.fetchall()
    total = next(
        (row for row in rows if all(name is None for name in row[:4])), (None,) * 4 + (0, 0, 0, None)
    )
    parts: dict[str, list[Spent]] = {part: [] for part in PARTS}
    for row in rows:
        for place, part in enumerate(PARTS):
            if row[place] is not None:
                parts[part].append(_spent(row[place], row, total))
    return Spend(
        total=_spent("", total, total),
        parts={part: tuple(found[:MOST]) for part, found in parts.items()},
        more={part: max(0, len(found) - MOST) for part, found in parts.items()},
        counted_at=total[7],
    )


def _spent(name: str, row: tuple[Any, ...], total: tuple[Any, ...]) -> Spent:
    share = round(100 * row[4] / total[4]) if total[4] else 0
    return Spent(name=name, cost=int(row[4]), tokens=int(row[5]), calls=int(row[6]), share=share)
