"""How a budget was used over its period, and where it goes. Reads only; the geometry is `plot`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from escalations.budgets.budget import Budget
from escalations.budgets.periods import SPAN, SUMS, begins_of, ends_of
from escalations.budgets.plot import Plot, plot
from runs.limits.kinds import LimitKind, LimitScope

_IN_SCOPE = {
    LimitScope.ORGANISATION: "true",
    LimitScope.TEAM: "team = %(scope)s",
    LimitScope.WORKFLOW: "workflow = %(scope)s",
    LimitScope.PROVIDER: "starts_with(model, %(scope)s::text || '/')",
    LimitScope.MODEL: "model = %(scope)s",
    LimitScope.AGENT: "agent = %(scope)s",
}
_COURSE = """
    SELECT at, sum({kind})::bigint FROM runs_burn
    WHERE span = %(span)s AND at >= %(since)s AND at < %(until)s AND {scope} GROUP BY at ORDER BY at
"""


def course(budget: Budget, at: datetime) -> Plot | None:
    """How a budget was used over its period and where it goes; None for what was not added up (rates, tools)."""
    scope = _IN_SCOPE.get(budget.scope_kind)
    if scope is None or budget.window not in SUMS:
        return None
    begins = budget.begins or begins_of(budget.window, at)
    ends = ends_of(budget.window, begins)
    span = SPAN[budget.window]
    kind = "cost" if budget.kind is LimitKind.COST else "tokens"
    values: dict[str, Any] = {"span": span, "since": begins, "until": ends, "scope": budget.scope}
    with connection.cursor() as cursor:
        cursor.execute(_COURSE.format(kind=kind, scope=scope), values)
        used = [(moment, int(amount)) for moment, amount in cursor.fetchall()]
    total = budget.spent if budget.account else sum(amount for _, amount in used)
    return plot(
        begins=begins,
        ends=ends,
        now=at,
        used=used,
        span=timedelta(minutes=span),
        total=total,
        cap=budget.cap,
        breach=budget.breach,
        words=budget.words,
    )
