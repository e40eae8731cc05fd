"""The journal as a page shows it: entries by number, one in full, what can be filtered by. Reads only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import BigIntegerField, QuerySet

from escalations.audit import chain
from escalations.audit.filters import Filters, entries
from escalations.models import JournalEntry, Outcome
from escalations.roles import Act
from runs import registry
from runs.canonical import plain
from runs.shown.listing import number

PAGE = 50
COUNT_TO = 1000  # beyond it the exact number costs more than it says
LOOK = 50_000  # entries that one page looks through for a text, which no index knows
_ASTRAY = timedelta(hours=1)  # entries are in the order of their times but for a clock that was set back
_LAST_DAY = datetime(9999, 12, 31, tzinfo=UTC)  # no day follows it
_FIRST_DAY = datetime(1, 1, 1, tzinfo=UTC)
_ELSEWHERE = frozenset({"changes", "digest", "version", "seen"})
OTHER_ACTS = (
    "escalation opened",
    "escalation expired",
    "escalation withdrawn",
    "deadline brought forward",
    "looked",
    "effect left open",
    "limit proposal expired",
    "top up proposal expired",
    "sign in",
    "sign out",
    "sign in paused",
)
_MOST_NAMES = 200
_NAMES = """
WITH RECURSIVE names AS (
    (SELECT actor_name FROM escalations_journalentry ORDER BY actor_name LIMIT 1)
    UNION ALL
    SELECT (SELECT actor_name FROM escalations_journalentry WHERE actor_name > names.actor_name
            ORDER BY actor_name LIMIT 1)
    FROM names WHERE names.actor_name IS NOT NULL
)
SELECT actor_name FROM names WHERE actor_name IS NOT NULL LIMIT %s
"""
_BETWEEN = """
SELECT
    coalesce((SELECT seq FROM escalations_journalentry WHERE at >= %(first)s ORDER BY at LIMIT 1),
        9223372036854775807),
    coalesce((SELECT seq FROM escalations_journalentry WHERE at < %(last)s ORDER BY at DESC LIMIT 1), 0)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Newest first. `next` is the `before` of the following page, None on the last one. `looked`: the first and the
    last number that were looked through, when that was not all."""

    entries: tuple[JournalEntry, ...]
    next: int | None
    total: str
    looked: tuple[int, int] | None = None

    @property
    def newest(self) -> int:
        return self.entries[0].seq if self.entries else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry in full, with its place in the chain as recomputed here."""

    entry: JournalEntry
    details: Mapping[str, Any]
    changes: tuple[Mapping[str, Any], ...]
    others: Mapping[str, Any]
    whole: bool


def filters_of(query: Mapping[str, str]) -> Filters:
    """From a page's query: days are UTC, `to` included. What cannot be read narrows nothing."""
    query = {name: plain(value) for name, value in query.items()}
    last = _day(query.get("to", ""))
    return Filters(
        text=query.get("text", "").strip()[:200],
        person=query.get("person", "")[:150],
        act=query.get("act", "")[:40],
        outcome=query.get("outcome", "")[:10],
        workflow=query.get("workflow", "")[:80],
        run_id=number(query.get("run", "")),
        escalation_id=number(query.get("escalation", "")),
        since=_day(query.get("from", "")),
        until=last + timedelta(days=1) if last and last < _LAST_DAY else None,
    )


def page(filters: Filters, before: int | None = None, size: int = PAGE) -> Page:
    """The entries, and a count that stops at COUNT_TO. Two queries; three where a text or a day is looked for."""
    if not (filters.text or filters.since or filters.until):
        return _page(entries(filters), before, size)
    low, high = _between(filters)
    found = entries(filters)
    if not filters.text or high - low < LOOK:
        return _page(found.filter(seq__range=(low, high)), before, size)
    top = high if before is None else min(high, before - 1)
    bottom = max(low, top - LOOK + 1)
    shown = _page(found.filter(seq__range=(bottom, top)), None, size)
    return replace(shown, next=shown.next or (bottom if bottom > low else None), looked=(bottom, top))


def _page(found: QuerySet[JournalEntry], before: int | None, size: int) -> Page:
    rows = found if before is None else found.filter(seq__lt=before)
    shown = list(rows.defer("body", "reason", "prev_hash", "hash").order_by("-seq")[: size + 1])
    counted = found.order_by()[: COUNT_TO + 1].count()
    return Page(
        entries=tuple(shown[:size]),
        next=shown[size - 1].seq if len(shown) > size else None,
        total=f"{counted:,}" if counted <= COUNT_TO else f"more than {COUNT_TO:,}",
    )


def _between(filters: Filters) -> tuple[int, int]:
    """The first and the last number that can match, as the days say. One query."""
    last = filters.until + _ASTRAY if filters.until and filters.until < _LAST_DAY else _LAST_DAY
    first = filters.since - _ASTRAY if filters.since and filters.since.year > 1 else _FIRST_DAY
    with connection.cursor() as cursor:
        cursor.execute(_BETWEEN, {"first": first, "last": last})
        row = cursor.fetchone()
    assert row is not None
    return row[0], row[1]


def one(seq: int) -> Entry | None:
    """The entry of that number. Two queries; the hashes are recomputed in Python."""
    if seq > BigIntegerField.MAX_BIGINT:  # no column holds it: the server would not even be asked
        return None
    rows = {entry.seq: entry for entry in JournalEntry.objects.filter(seq__in=(seq - 1, seq))}
    entry = rows.get(seq)
    if entry is None:
        return None
    before = rows.get(seq - 1)
    prev_hash = before.hash if before else chain.GENESIS
    details = _details(entry)
    changes = details.get("changes")
    return Entry(
        entry=entry,
        details=details,
        changes=tuple(changes) if isinstance(changes, list) else (),
        others={name: value for name, value in details.items() if name not in _ELSEWHERE},
        whole=(before is not None or seq == 1) and chain.holds(entry, prev_hash),
    )


def people() -> list[str]:
    """Who has acted, by name as the journal has it; from one name to the next along the index. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_NAMES, [_MOST_NAMES])
        return [name for (name,) in cursor.fetchall()]


def acts() -> list[str]:
    """Every act that can be filtered by."""
    return sorted({*(str(act) for act in Act if act is not Act.READ), *OTHER_ACTS})


def outcomes() -> list[str]:
    return [str(outcome) for outcome in Outcome]


def workflows() -> list[str]:
    return [workflow.name for workflow in registry.all_newest()]


def _details(entry: JournalEntry) -> dict[str, Any]:
    try:
        body = json.loads(entry.body)
    except ValueError:
        return {}
    details = body.get("details") if isinstance(body, dict) else None
    return details if isinstance(details, dict) else {}


def _day(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None
