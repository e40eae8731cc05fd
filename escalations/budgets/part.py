"""What each team, workflow, agent or model spent within a period, as plots: limited or not, the most first, ten at a
time and the rest of them together. Reads only, and only what the calls used as it was added up
(`runs.engine.spend.burn`): the plots together are everything that was spent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from escalations.budgets import pace
from escalations.budgets.accounts import Budgets
from escalations.budgets.budget import Budget
from escalations.budgets.periods import SPAN, begins_of, ends_of
from escalations.budgets.plot import Plot, plot
from escalations.budgets.spend import Spent
from runs.limits.kinds import TABLE, LimitKind, LimitScope, Window
from runs.limits.units import about

BY = {
    "team": LimitScope.TEAM,
    "workflow": LimitScope.WORKFLOW,
    "agent": LimitScope.AGENT,
    "model": LimitScope.MODEL,
}
OF = {"money": LimitKind.COST, "tokens": LimitKind.TOKENS}
AT_ONCE = 10  # names on one page
_COLUMN = {"money": "cost", "tokens": "tokens"}
_WIDE, _HIGH = 400, 116
# `place`: by what is drawn, the most first. Whoever is not among those of the page is one of the others (no name).
_SPENT = """
    WITH found AS (
        SELECT {by} AS name, at, sum(cost) AS cost, sum(tokens) AS tokens, sum(calls) AS calls FROM runs_burn
        WHERE span = %(span)s AND at >= %(since)s AND at < %(until)s GROUP BY 1, 2
    ), placed AS (
        SELECT name, row_number() OVER (ORDER BY sum({of}) DESC, sum(calls) DESC, name) AS place
        FROM found GROUP BY name
    ), told AS (
        SELECT CASE WHEN place > %(first)s AND place <= %(last)s THEN place END AS place,
            CASE WHEN place > %(first)s AND place <= %(last)s THEN name END AS name, at, cost, tokens, calls
        FROM found JOIN placed USING (name)
    )
    SELECT place, name, at, sum(cost)::bigint, sum(tokens)::bigint, sum(calls)::bigint,
        (SELECT count(*) FROM placed), (SELECT looked_at FROM runs_burnmark WHERE id = 1)
    FROM told GROUP BY 1, 2, 3 ORDER BY 1 NULLS LAST, 3
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one name spent. `others`: how many names it is, when it is those that have no plot of their own.

    `budget` has the limit on what is drawn, if there is one, and how it stands. `expected`: what will have been spent
    when the period ends, if it goes on like this; None: nothing was used lately.
    """

    name: str
    others: int
    cost: int
    tokens: int
    calls: int
    share: int
    budget: Budget
    expected: int | None
    plot: Plot

    @property
    def expected_words(self) -> str:
        return "" if self.expected is None else about(TABLE[self.budget.kind].unit, self.expected)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The names of one page, then the others; `first` is how many names come before them."""

    by: str
    of: str
    parts: tuple[Part, ...]
    names: int
    first: int
    total: Spent
    counted_at: datetime | None

    @property
    def last(self) -> int:
        return min(self.first + AT_ONCE, self.names)

    @property
    def before(self) -> int:
        return max(0, self.first - AT_ONCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    by: str
    of: str
    per: Window
    at: datetime
    begins: datetime
    ends: datetime

    @property
    def kind(self) -> LimitKind:
        return OF[self.of]


def spent_by(by: str, of: str, per: Window, first: int, table: Budgets, at: datetime) -> Parts:
    """What each name spent within the present period, as it was last added up. One query, two when `first` is too far.

    `by` is one of BY, `of` one of OF. After the first `first` names ten have a plot each; the others are all the rest,
    also those before them.
    """
    begins = begins_of(per, at)
    asked = _Asked(by=by, of=of, per=per, at=at, begins=begins, ends=ends_of(per, begins))
    rows = _rows(asked, first)
    if first and rows and first >= rows[0][6]:
        first = 0
        rows = _rows(asked, first)
    return Parts(
        by=by,
        of=of,
        parts=_parts(asked, rows, table),
        names=rows[0][6] if rows else 0,
        first=first,
        total=_total(rows),
        counted_at=rows[0][7] if rows else None,
    )


def _total(rows: Sequence[tuple[Any, ...]]) -> Spent:
    cost, tokens, calls = (sum(row[place] for row in rows) for place in (3, 4, 5))
    return Spent(name="", cost=cost, tokens=tokens, calls=calls, share=100)


def _rows(asked: _Asked, first: int) -> list[tuple[Any, ...]]:
    values: dict[str, Any] = {
        "span": SPAN[asked.per],
        "since": asked.begins,
        "until": asked.ends,
        "first": first,
        "last": first + AT_ONCE,
    }
    with connection.cursor() as cursor:
        cursor.execute(_SPENT.format(by=asked.by, of=_COLUMN[asked.of]), values)
        return list(cursor.fetchall())


def _parts(asked: _Asked, rows: Sequence[tuple[Any, ...]], table: Budgets) -> tuple[Part, ...]:
    courses: dict[int | None, list[tuple[Any, ...]]] = {}
    for row in rows:
        courses.setdefault(row[0], []).append(row)
    budgets = {place: _budget(asked, course, table) for place, course in courses.items()}
    burnt = {place: pace.burnt_lately(budget, table.lately) for place, budget in budgets.items()}
    if None in burnt:
        burnt[None] -= sum(amount for place, amount in burnt.items() if place is not None)
    whole = sum(_used(asked, course) for course in courses.values())
    others = rows[0][6] - sum(place is not None for place in courses) if rows else 0
    return tuple(
        _part(asked, course, budgets[place], burnt[place], whole, 0 if place is not None else others)
        for place, course in courses.items()
    )


def _budget(asked: _Asked, course: Sequence[tuple[Any, ...]], table: Budgets) -> Budget:
    """The one that is limited, or one without a limit. The others are whoever is in the organisation besides.

    Of a limit that was set since the last call there is no account yet: it will begin with what was spent before.
    """
    place, name = course[0][:2]
    scope = BY[asked.by] if place is not None else LimitScope.ORGANISATION
    limited = table.by_place.get((asked.kind, asked.per, scope, name)) if place is not None else None
    if limited is not None and limited.account is None:
        begun = replace(limited, spent=_used(asked, course))
        return replace(begun, breach=pace.used_up_at(begun, table.lately, asked.at))
    return limited or Budget(
        kind=asked.kind,
        window=asked.per,
        scope_kind=scope,
        scope=name or "",
        row=None,
        begins=asked.begins,
        spent=_used(asked, course),
    )


def _part(
    asked: _Asked, course: Sequence[tuple[Any, ...]], budget: Budget, burnt: int, whole: int, others: int
) -> Part:
    used = _used(asked, course)
    expected = pace.by_the_end(asked.per, used, burnt, asked.at, asked.ends) if burnt > 0 else None
    return Part(
        name=course[0][1] or "",
        others=others,
        cost=sum(row[3] for row in course),
        tokens=sum(row[4] for row in course),
        calls=sum(row[5] for row in course),
        share=round(100 * used / whole) if whole else 0,
        budget=budget,
        expected=expected,
        plot=plot(
            begins=asked.begins,
            ends=asked.ends,
            now=asked.at,
            used=[(row[2], row[3 if asked.of == "money" else 4]) for row in course],
            span=timedelta(minutes=SPAN[asked.per]),
            total=used,
            cap=budget.cap,
            breach=budget.breach,
            words=budget.words,
            expected=None if budget.up else expected,
            wide=_WIDE,
            high=_HIGH,
        ),
    )


def _used(asked: _Asked, course: Sequence[tuple[Any, ...]]) -> int:
    return sum(row[3 if asked.of == "money" else 4] for row in course)
