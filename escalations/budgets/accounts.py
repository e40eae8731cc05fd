"""Every account of the present periods and every limit on sums and rates, as rows of the page. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import connection

from escalations import proposals
from escalations.budgets import pace
from escalations.budgets.budget import Budget
from escalations.budgets.pace import Pace
from escalations.budgets.periods import PERIODS, SUMS, begins_of
from escalations.models import TopUpProposal
from runs.engine import limits
from runs.limits.applying import Book
from runs.limits.kinds import PLACE, LimitKind, LimitScope, Mode, Window
from runs.limits.rows import Row
from runs.models import TopUp

Place = tuple[LimitKind, Window, LimitScope, str]
MOST = 300  # accounts on the page; beyond, it must be narrowed
_CLOSED = ("answered", "expired", "withdrawn")
_PRESENT = """
    SELECT a.id, a.kind, a."window", a.scope_kind, a.scope, a.begins, a.spent + coalesce(held.spent, 0),
        a.reserved - coalesce(held.held, 0) - coalesce(held.spent, 0), coalesce(held.held, 0),
        coalesce((SELECT sum(t.amount) FROM runs_topup t
            WHERE t.account_id = a.id AND (t.until IS NULL OR t.until > clock_timestamp())), 0),
        CASE a."window" WHEN 'minute' THEN (SELECT sum(e.amount) FROM runs_rateentry e
            WHERE e.account_id = a.id AND e.at > clock_timestamp() - interval '60 s') END,
        (SELECT count(*) FROM runs_wait w WHERE w.account_id = a.id)
    FROM runs_account a
    LEFT JOIN (SELECT c.account_id, sum(c.held) AS held, sum(c.spent) AS spent FROM runs_chunk c
        GROUP BY c.account_id) held ON held.account_id = a.id
    WHERE {only}
    ORDER BY a.id LIMIT 2000
"""
_NOW = " OR ".join(
    f"(a.\"window\" = '{one}' AND a.begins = date_trunc('{one}', clock_timestamp(), 'UTC'))"
    for one in PERIODS
)
_OF_NOW = f"a.run_id = 0 AND ({_NOW} OR a.\"window\" IN ('minute', ''))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """The sums, the rates and calls at once, how many of the sums there are, all of them by account and by what they
    count, and what was used lately."""

    budgets: tuple[Budget, ...]
    paces: tuple[Budget, ...]
    total: int
    known: Mapping[int, Budget]
    by_place: Mapping[Place, Budget]
    lately: Sequence[Pace]


def present(text: str, per: str, uncertain: Mapping[int, int], at: datetime) -> Budgets:
    """Every account of the present periods and every limit on sums, the fullest first. Three queries, four when limits
    have changed."""
    paces = pace.paces(at)
    found = _with_limits(_accounts(_OF_NOW, {}), limits.current(), at)
    sums = [_told(one, uncertain, paces, at) for one in found if one.window in SUMS]
    wanted = [one for one in sums if _takes(one, text, per)]
    wanted.sort(key=_order)
    rates = [one for one in found if one.window not in SUMS and one.row is not None and _takes(one, text, "")]
    return Budgets(
        budgets=tuple(wanted[:MOST]),
        paces=tuple(rates[:MOST]),
        total=len(sums),
        known={one.account: one for one in sums if one.account},
        by_place={(one.kind, one.window, one.scope_kind, one.scope): one for one in sums},
        lately=paces,
    )


def past(account_id: int, uncertain: Mapping[int, int], at: datetime) -> Budget | None:
    """An account over many runs whose period is over; None when there is none of that number. Two queries."""
    found = _accounts("a.run_id = 0 AND a.id = %(id)s", {"id": account_id})
    if not found:
        return None
    (budget,) = _limited(found, limits.current(), at)
    return _told(budget, uncertain, (), at)


def whole(per: Window, at: datetime) -> Budget:
    """The organisation's cost of the present period, limited or not, when no budget was chosen."""
    return Budget(
        kind=LimitKind.COST,
        window=per,
        scope_kind=LimitScope.ORGANISATION,
        scope="",
        row=None,
        begins=begins_of(per, at),
    )


def top_ups(budget: Budget) -> list[tuple[TopUp, str]]:
    """What people added to an account, each with its amount in words, the newest first. One query."""
    rows = TopUp.objects.filter(account=budget.account).order_by("-pk")[:50]
    return [(one, budget.words(one.amount)) for one in rows]


def open_proposals(at: datetime) -> list[TopUpProposal]:
    """Top-ups that wait for a second person, the oldest first. One query."""
    waiting = proposals.waiting(TopUpProposal, at).select_related("account", "question")
    return list(waiting.exclude(question__state__in=_CLOSED).order_by("at")[:100])


def _accounts(only: str, values: Mapping[str, Any]) -> list[Budget]:
    with connection.cursor() as cursor:
        cursor.execute(_PRESENT.format(only=only), values)
        rows = cursor.fetchall()
    return [
        Budget(
            kind=LimitKind(row[1]),
            window=Window(row[2]),
            scope_kind=LimitScope(row[3]),
            scope=row[4],
            row=None,
            account=row[0],
            begins=row[5],
            spent=int(row[6] if row[10] is None else row[10]),
            reserved=max(0, int(row[7])),
            ahead=int(row[8]),
            more=int(row[9]),
            waiting=int(row[11]),
        )
        for row in rows
    ]


def _limited(found: Iterable[Budget], book: Book, at: datetime) -> list[Budget]:
    """With the strictest limit that is counted on each; enforced ones go before those that warn or observe."""
    rows: dict[tuple[Any, ...], Row] = {}
    for row in book.rows:
        if row.holds(at):
            key = (row.kind, row.window, row.scope_kind, row.scope)
            rows[key] = min(rows.get(key, row), row, key=lambda one: (-one.mode.strength, one.value))
    return [replace(one, row=rows.get((one.kind, one.window, one.scope_kind, one.scope))) for one in found]


def _with_limits(found: Sequence[Budget], book: Book, at: datetime) -> list[Budget]:
    """The accounts, and the limits on sums and rates of which nothing was counted yet."""
    limited = _limited(found, book, at)
    there = {(one.kind, one.window, one.scope_kind, one.scope) for one in limited}
    for row in book.rows:
        key = (row.kind, row.window, row.scope_kind, row.scope)
        sums = row.window in SUMS or row.window is Window.MINUTE or row.kind is LimitKind.CONCURRENCY
        if sums and row.holds(at) and key not in there:
            there.add(key)
            begins = begins_of(row.window, at) if row.window in SUMS else None
            new = Budget(
                kind=row.kind,
                window=row.window,
                scope_kind=row.scope_kind,
                scope=row.scope,
                row=None,
                begins=begins,
            )
            limited += _limited([new], book, at)
    return limited


def _told(budget: Budget, uncertain: Mapping[int, int], paces: Sequence[Pace], at: datetime) -> Budget:
    """With what is uncertain of it, and when it will be used up."""
    unknown = min(budget.reserved, uncertain.get(budget.account or 0, 0))
    breach = None if budget.account is None else pace.used_up_at(budget, paces, at)
    return replace(budget, uncertain=unknown, breach=breach)


def _takes(budget: Budget, text: str, per: str) -> bool:
    words = f"{budget.what} {budget.scope_kind.value} {budget.scope}".lower()
    return (not per or budget.window.value == per) and all(word in words for word in text.lower().split())


def _order(budget: Budget) -> tuple[bool, float, int, str, int]:
    share = budget.used / budget.cap if budget.cap else -1.0
    place = PLACE[budget.kind, budget.window]
    observed = budget.row is None or budget.row.mode is not Mode.ENFORCE
    return (observed, -share, budget.scope_kind.specific, budget.scope, place)
