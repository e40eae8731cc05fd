"""The journal as a page shows it: entries by number, one in full, what can be filtered by. Reads only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from escalations.audit import chain
from escalations.audit.filters import Filters, entries
from escalations.models import JournalEntry, Outcome
from escalations.roles import Act
from runs import registry
from runs.canonical import plain
from runs.shown.listing import number

PAGE = 50
COUNT_TO = 1000  # beyond it the exact number costs more than it says
_LAST_DAY = datetime(9999, 12, 31, tzinfo=UTC)  # no day follows it
_ELSEWHERE = frozenset({"changes", "digest", "version", "seen"})
OTHER_ACTS = (
    "escalation opened",
    "escalation expired",
    "escalation withdrawn",
    "looked",
    "effect left open",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Newest first. `next` is the `before` of the following page, None on the last one."""

    entries: tuple[JournalEntry, ...]
    next: int | None
    total: str

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
    """Two queries: the entries, and a count that stops at COUNT_TO."""
    found = entries(filters)
    counted = found.order_by()[: COUNT_TO + 1].count()
    if before is not None:
        found = found.filter(seq__lt=before)
    rows = list(found.order_by("-seq")[: size + 1])
    return Page(
        entries=tuple(rows[:size]),
        next=rows[size - 1].seq if len(rows) > size else None,
        total=f"{counted:,}" if counted <= COUNT_TO else f"more than {COUNT_TO:,}",
    )


def one(seq: int) -> Entry | None:
    """The entry of that number. Two queries; the hashes are recomputed in Python."""
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
    """Who has acted, by name as the journal has it."""
    names = JournalEntry.objects.order_by("actor_name").values_list("actor_name", flat=True).distinct()
    return list(names[:200])


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
