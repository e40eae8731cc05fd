"""When a budget will be used up, at the pace of the last hour or day. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from escalations.budgets.budget import Budget
from escalations.budgets.periods import ends_of
from runs.limits.forecast import Use, forecast
from runs.limits.kinds import LimitKind, LimitScope, Window

Pace = tuple[Any, ...]  # span, team, workflow, agent, model, cost, tokens
_PACE = {Window.HOUR: (5, timedelta(hours=1)), Window.DAY: (5, timedelta(hours=1))}
_SLOW_PACE = (60, timedelta(days=1))  # of a month
_PIECES = 60
_TICK = timedelta(microseconds=1)
_PACES = """
    SELECT span, team, workflow, agent, model, sum(cost)::bigint, sum(tokens)::bigint FROM runs_burn
    WHERE span = 5 AND at >= %(hour)s OR span = 60 AND at >= %(day)s GROUP BY 1, 2, 3, 4, 5
"""


def paces(at: datetime) -> list[Pace]:
    """What was used lately, by place: within an hour, and within a day. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_PACES, {"hour": at - timedelta(hours=1), "day": at - timedelta(days=1)})
        return list(cursor.fetchall())


def used_up_at(budget: Budget, paces: Sequence[Pace], at: datetime) -> datetime | None:
    """When nothing will be left of it; None: not within its period, or nobody can say."""
    if budget.cap is None or budget.used >= budget.cap:
        return None
    _, length = _PACE.get(budget.window, _SLOW_PACE)
    burnt = burnt_lately(budget, paces)
    uses = [
        Use(
            at=at - length + length * (piece + 1) / _PIECES,
            amount=burnt * (piece + 1) // _PIECES - burnt * piece // _PIECES,
        )
        for piece in range(_PIECES)
    ]
    found = forecast(used=budget.used, cap=budget.cap, uses=uses, now=at, since=at - length)
    ends = ends_of(budget.window, budget.begins or at)
    return found.at if found is not None and found.at is not None and found.at < ends else None


def burnt_lately(budget: Budget, paces: Sequence[Pace]) -> int:
    """What was used of it within the last hour, of a month's within the last day."""
    span, _ = _PACE.get(budget.window, _SLOW_PACE)
    column = 5 if budget.kind is LimitKind.COST else 6
    return sum(row[column] for row in paces if row[0] == span and _covers(budget, row))


def by_the_end(window: Window, spent: int, burnt: int, at: datetime, ends: datetime) -> int:
    """What will be spent when the period ends, if it goes on like that."""
    _, length = _PACE.get(window, _SLOW_PACE)
    return spent + max(0, burnt * ((ends - at) // _TICK) // (length // _TICK))


def _covers(budget: Budget, row: Pace) -> bool:
    _, team, workflow, agent, model, _, _ = row
    match budget.scope_kind:
        case LimitScope.ORGANISATION:
            return True
        case LimitScope.TEAM:
            return bool(team == budget.scope)
        case LimitScope.WORKFLOW:
            return bool(workflow == budget.scope)
        case LimitScope.AGENT:
            return bool(agent == budget.scope)
        case LimitScope.MODEL:
            return bool(model == budget.scope)
        case LimitScope.PROVIDER:
            return str(model).startswith(f"{budget.scope}/")
    return False
