"""What the breakers page shows: every breaker with what its last calls came to, one with its history. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Count

from escalations import breakers as acts
from runs.engine import breakers
from runs.guards.breaking import BreakerRule
from runs.models import Breaker, BreakerChange, BreakerState, Wait

MOST = 300  # breakers on the page; beyond, it must be narrowed
MOST_HISTORY = 60
MOST_WAITING = 20
LAST = 100  # calls that the figures are about
_PASSING = "c.error_class IN ('recoverable', 'unforeseen', '')"
_FAULT = f"c.state = 'unknown' OR c.state = 'failed' AND {_PASSING}"
_OF = {
    "model": ("model", "c.kind = 'model'", _FAULT),
    "tool": ("name", "c.kind = 'tool'", _FAULT),
    "agent": ("name", "c.kind = 'model'", f"NOT c.replayable OR c.state = 'failed' AND NOT {_PASSING}"),
}
# The last calls of each, along the indexes by name and by model: what it costs does not grow with the table. Asked for
# as a range and in the index's own order: by "=" the newest of all calls would be read until enough are found.
_FIGURES = " UNION ALL ".join(
    f"""
    SELECT n.kind, n.name, count(l.id), count(*) FILTER (WHERE l.failed), count(*) FILTER (WHERE l.slow),
        max(l.finished_at), percentile_disc(0.5) WITHIN GROUP (ORDER BY l.latency_ms)
    FROM unnest(%(kinds)s::text[], %(names)s::text[]) AS n (kind, name)
    LEFT JOIN LATERAL (SELECT c.id, ({failed}) AS failed, c.latency_ms > %(slow)s AS slow, c.finished_at, c.latency_ms
        FROM runs_call c WHERE c.{by} >= n.name AND c.{by} <= n.name AND {mine}
            AND c.state IN ('done', 'failed', 'unknown')
        ORDER BY c.{by}, c.id DESC LIMIT {LAST}) l ON true
    WHERE n.kind = '{kind}' GROUP BY n.kind, n.name
    """
    for kind, (by, mine, failed) in _OF.items()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the last calls came to, at most LAST of them. Times in milliseconds."""

    calls: int = 0
    failed: int = 0
    slow: int = 0
    last: datetime | None = None
    median_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A breaker; one that nobody forced and that never opened has no row of its own."""

    breaker: Breaker
    figures: Figures
    waiting: int = 0

    @property
    def kind(self) -> str:
        return self.breaker.kind

    @property
    def name(self) -> str:
        return self.breaker.name

    @property
    def stands(self) -> str:
        """What calls find: open, half_open or closed, whoever says so."""
        return self.breaker.forced or self.breaker.state

    @property
    def ever(self) -> bool:
        return not self.breaker._state.adding


def table(text: str = "", state: str = "") -> tuple[list[Listed], int]:
    """Every breaker, those that stop something first, and how many there are. Three queries."""
    rows = {(one.kind, one.name): one for one in Breaker.objects.all()}
    for kind, names in acts.in_use().items():
        for name in names:
            rows.setdefault((kind, name), Breaker(kind=kind, name=name))
    wanted = [one for one in rows.values() if _takes(one, text, state)]
    wanted.sort(key=_order)
    shown = wanted[:MOST]
    figures = _figures(shown)
    waiting = _waiting()
    listed = [
        Listed(
            breaker=one,
            figures=figures.get((one.kind, one.name), Figures()),
            waiting=waiting.get(one.pk, 0) if one.pk else 0,
        )
        for one in shown
    ]
    return listed, len(rows)


def one(kind: str, name: str) -> Listed | None:
    """One breaker, by what it stands before; None when nothing is called that. Three queries."""
    breaker = Breaker.objects.filter(kind=kind, name=name).first()
    if breaker is None:
        if not acts.known(kind, name):
            return None
        breaker = Breaker(kind=kind, name=name)
    figures = _figures([breaker]).get((kind, name), Figures())
    waiting = _waiting().get(breaker.pk, 0) if breaker.pk else 0
    return Listed(breaker=breaker, figures=figures, waiting=waiting)


def history(breaker: Breaker) -> list[BreakerChange]:
    """What it did, the newest first. One query, none for one that never did anything."""
    if breaker._state.adding:
        return []
    return list(breaker.changes.order_by("-pk")[:MOST_HISTORY])


def waiting_for(breaker: Breaker) -> list[Wait]:
    """Who waits for it, the longest first. One query."""
    if breaker._state.adding:
        return []
    return list(Wait.objects.filter(breaker=breaker).select_related("run").order_by("since")[:MOST_WAITING])


def rule_words(rule: BreakerRule | None = None) -> str:
    """When breakers open, in a sentence, as the settings say."""
    rule = rule or breakers.rule()
    tries = rule.try_slow_ms / 1000
    agents = (
        f"An agent's, when of its tries {rule.slow_ratio} % took longer than {tries:g} s. " if tries else ""
    )
    return (
        f"A breaker opens after {rule.consecutive} failures in a row, or when of at least {rule.least} calls within "
        f"{rule.window} s, {rule.ratio} % failed or {rule.slow_ratio} % took longer than {rule.slow_ms / 1000:g} s. "
        f"{agents}After {rule.open_seconds:g} s one call tries whether it works again; each that fails doubles the "
        "wait."
    )


def _takes(one: Breaker, text: str, state: str) -> bool:
    stands = one.forced or one.state
    words = f"{one.kind} {one.name}".lower()
    by_state = {
        "": True,
        "stopping": stands != BreakerState.CLOSED,
        "forced": bool(one.forced),
        "opened": not one._state.adding,
    }
    return by_state.get(state, True) and all(word in words for word in text.lower().split())


def _order(one: Breaker) -> tuple[bool, bool, bool, int, str]:
    stands = one.forced or one.state
    return (
        stands == BreakerState.CLOSED,
        not one.forced,
        one.pk is None,
        acts.KINDS.index(one.kind),
        one.name,
    )


def _figures(shown: Sequence[Breaker]) -> dict[tuple[str, str], Figures]:
    if not shown:
        return {}
    asked: dict[str, Any] = {
        "kinds": [one.kind for one in shown],
        "names": [one.name for one in shown],
        "slow": breakers.rule().slow_ms,
    }
    with connection.cursor() as cursor:
        cursor.execute(_FIGURES, asked)
        rows = cursor.fetchall()
    return {
        (kind, name): Figures(calls=calls, failed=failed, slow=slow, last=last, median_ms=median)
        for kind, name, calls, failed, slow, last, median in rows
    }


def _waiting() -> dict[int, int]:
    """By breaker, how many runs wait for it."""
    waits = Wait.objects.filter(breaker__isnull=False).values_list("breaker")
    return {int(pk): count for pk, count in waits.annotate(runs=Count("run", distinct=True)).order_by()}
