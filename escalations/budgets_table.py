"""What the budgets page shows: accounts of the present periods, what was spent where, one budget's burn and forecast,
spends of which nobody knows. Reads only, and never the calls of a month: those are added up (`runs.engine.burn`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from escalations.burn_plot import Plot, plot
from escalations.models import ProposalState, TopUpProposal
from runs.engine import limits
from runs.limits.applying import Book
from runs.limits.forecast import Use, forecast
from runs.limits.kinds import PLACE, TABLE, LimitKind, LimitScope, Mode, Window, says
from runs.limits.rows import Row
from runs.limits.units import shown
from runs.models import TopUp

MOST = 300  # accounts on the page; beyond, it must be narrowed
MOST_UNCERTAIN = 50
MOST_NAMES = 12  # of each part of what was spent
SUMS = (Window.HOUR, Window.DAY, Window.MONTH)
PARTS = ("team", "workflow", "agent", "model")
PERIODS = {one.value: one for one in SUMS}
LENGTH = {Window.HOUR: timedelta(hours=1), Window.DAY: timedelta(days=1)}
_SPAN = {Window.HOUR: 5, Window.DAY: 60, Window.MONTH: 1440}  # minutes, of the plot
_PACE = {Window.HOUR: (5, timedelta(hours=1)), Window.DAY: (5, timedelta(hours=1))}
_SLOW_PACE = (60, timedelta(days=1))  # of a month
_PIECES = 60
_PRESENT = """
    SELECT a.id, a.kind, a."window", a.scope_kind, a.scope, a.begins, a.spent + coalesce(held.spent, 0),
        a.reserved - coalesce(held.held, 0) - coalesce(held.spent, 0), coalesce(held.held, 0),
        coalesce((SELECT sum(t.amount) FROM runs_topup t
            WHERE t.account_id = a.id AND (t.until IS NULL OR t.until > clock_timestamp())), 0),
        CASE a."window" WHEN 'minute' THEN (SELECT sum(e.amount) FROM runs_rateentry e
            WHERE e.account_id = a.id AND e.at > clock_timestamp() - interval '60 s') END,
        (SELECT count(*) FROM runs_wait w WHERE w.account_id = a.id)
    FROM runs_account a
    LEFT JOIN LATERAL (SELECT sum(c.held) AS held, sum(c.spent) AS spent FROM runs_chunk c
        WHERE c.account_id = a.id) held ON true
    WHERE {only}
    ORDER BY a.id LIMIT 2000
"""
_NOW = " OR ".join(
    f"(a.\"window\" = '{one}' AND a.begins = date_trunc('{one}', clock_timestamp(), 'UTC'))"
    for one in PERIODS
)
_OF_NOW = f"a.run_id = 0 AND ({_NOW} OR a.\"window\" IN ('minute', ''))"
# Nobody knows what they used, and nobody is at it any more: as `runs.engine.budgets.reconcile` has it.
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
_SPENT = """
    SELECT team, workflow, agent, model, coalesce(sum(cost), 0)::bigint, coalesce(sum(tokens), 0)::bigint,
        coalesce(sum(calls), 0)::bigint, (SELECT looked_at FROM runs_burnmark WHERE id = 1)
    FROM runs_burn WHERE span = %(span)s AND at >= %(since)s AND at < %(until)s
    GROUP BY GROUPING SETS ((), (team), (workflow), (agent), (model))
    ORDER BY 5 DESC, 6 DESC
"""
_PACES = """
    SELECT span, team, workflow, agent, model, sum(cost)::bigint, sum(tokens)::bigint FROM runs_burn
    WHERE span = 5 AND at >= %(hour)s OR span = 60 AND at >= %(day)s GROUP BY 1, 2, 3, 4, 5
"""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A sum within one period, as it stands: certain, reserved for calls under way, uncertain, and held in advance by
    runs. `row`: the limit that is counted here, None when none is. `account` None: nothing was counted yet."""

    kind: LimitKind
    window: Window
    scope_kind: LimitScope
    scope: str
    row: Row | None
    account: int | None = None
    begins: datetime | None = None
    spent: int = 0
    reserved: int = 0
    ahead: int = 0
    uncertain: int = 0
    more: int = 0
    breach: datetime | None = None
    waiting: int = 0

    @property
    def what(self) -> str:
        return says(self.kind, self.window)

    @property
    def scope_words(self) -> str:
        return "the organisation" if self.scope_kind is LimitScope.ORGANISATION else self.scope

    @property
    def cap(self) -> int | None:
        return None if self.row is None else self.row.value + self.more

    @property
    def used(self) -> int:
        """Everything that cannot be spent again, whether it is certain or only reserved."""
        return self.spent + self.reserved

    @property
    def left(self) -> int | None:
        return None if self.cap is None else max(0, self.cap - self.used)

    @property
    def over(self) -> bool:
        return self.cap is not None and self.used > self.cap

    @property
    def up(self) -> bool:
        """Whether nothing is left."""
        return self.cap is not None and self.used >= self.cap

    @property
    def low(self) -> int:
        """From where on the bar says care."""
        return (self.cap or 0) * 8 // 10

    @property
    def top(self) -> int:
        return max(self.cap or 0, self.used, 1)

    def words(self, amount: int | None) -> str:
        return "" if amount is None else shown(TABLE[self.kind].unit, amount)

    @property
    def told(self) -> Mapping[str, str]:
        """Every amount as people read it."""
        under_way = self.reserved - self.uncertain
        amounts = {
            "spent": self.spent,
            "reserved": max(0, under_way),
            "ahead": self.ahead,
            "uncertain": self.uncertain,
            "cap": self.cap,
            "left": self.left,
            "more": self.more,
            "used": self.used,
        }
        return {name: self.words(amount) for name, amount in amounts.items()}


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
    """The oldest MOST_UNCERTAIN of them and whether there are more, and what is uncertain of each account."""

    calls: tuple[Doubt, ...] = ()
    more: bool = False
    sums: Mapping[int, int] = field(default_factory=dict)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """The sums, the rates and calls at once, how many of the sums there are, and all of them by account."""

    budgets: tuple[Budget, ...]
    paces: tuple[Budget, ...]
    total: int
    known: Mapping[int, Budget]


def present(text: str, per: str, uncertain: Mapping[int, int], at: datetime) -> Budgets:
    """Every account of the present periods and every limit on sums, the fullest first. Three queries, four when limits
    have changed."""
    paces = _paces(at)
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
    )


def past(account_id: int, uncertain: Mapping[int, int], at: datetime) -> Budget | None:
    """An account over many runs whose period is over; None when there is none of that number. Two queries."""
    found = _accounts("a.run_id = 0 AND a.id = %(id)s", {"id": account_id})
    if not found:
        return None
    (budget,) = _limited(found, limits.current(), at)
    return _told(budget, uncertain, (), at)


def course(budget: Budget, at: datetime) -> Plot | None:
    """How a budget was used over its period and where it goes; None for what was not added up (rates, tools)."""
    scope = _IN_SCOPE.get(budget.scope_kind)
    if scope is None or budget.window not in SUMS:
        return None
    begins = budget.begins or _begins(budget.window, at)
    ends = ends_of(budget.window, begins)
    span = _SPAN[budget.window]
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


def whole(per: Window, at: datetime) -> Budget:
    """The organisation's cost of the present period, limited or not, when no budget was chosen."""
    return Budget(
        kind=LimitKind.COST,
        window=per,
        scope_kind=LimitScope.ORGANISATION,
        scope="",
        row=None,
        begins=_begins(per, at),
    )


def spend(per: Window, at: datetime) -> Spend:
    """What was spent within the present period, as it was last added up. One query."""
    values: dict[str, Any] = {"span": _SPAN[per], "since": _begins(per, at), "until": at + timedelta(days=1)}
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
        parts={part: tuple(found[:MOST_NAMES]) for part, found in parts.items()},
        more={part: max(0, len(found) - MOST_NAMES) for part, found in parts.items()},
        counted_at=total[7],
    )


def doubts() -> Doubts:
    """Calls of which nobody knows what they used, the oldest first. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_DOUBTED, [MOST_UNCERTAIN + 1])
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
        calls=tuple(listed[:MOST_UNCERTAIN]),
        more=len(listed) > MOST_UNCERTAIN,
        sums={int(account): int(amount) for account, amount in (sums or {}).items()},
    )


def top_ups(budget: Budget) -> list[tuple[TopUp, str]]:
    """What people added to an account, each with its amount in words, the newest first. One query."""
    rows = TopUp.objects.filter(account=budget.account).order_by("-pk")[:50]
    return [(one, budget.words(one.amount)) for one in rows]


def open_proposals(at: datetime) -> list[TopUpProposal]:
    """Top-ups that wait for a second person, the oldest first. One query."""
    waiting = TopUpProposal.objects.select_related("by", "account", "question").filter(
        state=ProposalState.OPEN
    )
    return list(waiting.filter(expires_at__gt=at).exclude(question__state__in=_CLOSED).order_by("at")[:100])


_CLOSED = ("answered", "expired", "withdrawn")


def ends_of(window: Window, begins: datetime) -> datetime:
    """When that period is over."""
    if window is Window.MONTH:
        return (begins.replace(day=1) + timedelta(days=32)).replace(day=1)
    return begins + LENGTH[window]


def _begins(window: Window, at: datetime) -> datetime:
    at = at.astimezone(UTC)
    hour = at.replace(minute=0, second=0, microsecond=0)
    if window is Window.HOUR:
        return hour
    day = hour.replace(hour=0)
    return day if window is Window.DAY else day.replace(day=1)


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
            begins = _begins(row.window, at) if row.window in SUMS else None
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


def _told(
    budget: Budget, uncertain: Mapping[int, int], paces: Sequence[tuple[Any, ...]], at: datetime
) -> Budget:
    """With what is uncertain of it, and when it will be used up."""
    known = replace(budget, uncertain=min(budget.reserved, uncertain.get(budget.account or 0, 0)))
    if known.cap is None or known.account is None or known.used >= known.cap:
        return known
    span, length = _PACE.get(budget.window, _SLOW_PACE)
    column = 5 if budget.kind is LimitKind.COST else 6
    burnt = sum(row[column] for row in paces if row[0] == span and _covers(budget, row))
    uses = [
        Use(
            at=at - length + length * (piece + 1) / _PIECES,
            amount=burnt * (piece + 1) // _PIECES - burnt * piece // _PIECES,
        )
        for piece in range(_PIECES)
    ]
    found = forecast(used=known.used, cap=known.cap, uses=uses, now=at, since=at - length)
    ends = ends_of(budget.window, budget.begins or at)
    breach = found.at if found is not None and found.at is not None and found.at < ends else None
    return replace(known, breach=breach)


def _covers(budget: Budget, row: tuple[Any, ...]) -> bool:
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


def _paces(at: datetime) -> list[tuple[Any, ...]]:
    """What was used lately, by place: within an hour, and within a day. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_PACES, {"hour": at - timedelta(hours=1), "day": at - timedelta(days=1)})
        return list(cursor.fetchall())


def _takes(budget: Budget, text: str, per: str) -> bool:
    words = f"{budget.what} {budget.scope_kind.value} {budget.scope}".lower()
    return (not per or budget.window.value == per) and all(word in words for word in text.lower().split())


def _order(budget: Budget) -> tuple[bool, float, int, str, int]:
    share = budget.used / budget.cap if budget.cap else -1.0
    place = PLACE[budget.kind, budget.window]
    observed = budget.row is None or budget.row.mode is not Mode.ENFORCE
    return (observed, -share, budget.scope_kind.specific, budget.scope, place)


def _spent(name: str, row: tuple[Any, ...], total: tuple[Any, ...]) -> Spent:
    share = round(100 * row[4] / total[4]) if total[4] else 0
    return Spent(name=name, cost=int(row[4]), tokens=int(row[5]), calls=int(row[6]), share=share)
