"""Checking the journal by recomputing it here, without the database's own functions. Changes nothing.

What a chain alone cannot show: that somebody who owns the table rewrote all of it from some entry on, or cut
off its end. For that a head has to be kept elsewhere (sealing is a later piece of work).
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from escalations.models import JournalEntry
from runs.canonical import canonical

GENESIS = "0" * 64
_CHUNK = 2000
_COPIED = (
    "act",
    "outcome",
    "actor_id",
    "actor_name",
    "target",
    "run_id",
    "escalation_id",
    "workflow",
    "team",
    "reason",
)


def entry_hash(prev_hash: str, seq: int, at: datetime, body: str) -> str:
    """SHA-256 in hex over previous hash, number, UTC time with six decimals, and body, joined by line feeds."""
    moment = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return hashlib.sha256(f"{prev_hash}\n{seq}\n{moment}\n{body}".encode()).hexdigest()


def verify(first: int = 1, last: int | None = None) -> int | None:
    """The number of the first entry that is wrong or missing from `first` to `last` (both included), or None.

    The entry before `first` is taken as it stands. Without `last`, up to the newest entry.
    """
    expected, prev_hash = first, _hash_before(first)
    if prev_hash is None:
        return first - 1
    entries = JournalEntry.objects.filter(seq__gte=first).order_by("seq")
    if last is not None:
        entries = entries.filter(seq__lte=last)
    for entry in entries.iterator(chunk_size=_CHUNK):
        if entry.seq != expected or not holds(entry, prev_hash):
            return expected
        expected, prev_hash = entry.seq + 1, entry.hash
    return expected if last is not None and expected <= last else None


def holds(entry: JournalEntry, prev_hash: str) -> bool:
    """Whether one entry continues `prev_hash`, hashes to what it says, and its columns equal its body."""
    if entry.prev_hash != prev_hash:
        return False
    if entry.hash != entry_hash(entry.prev_hash, entry.seq, entry.at, entry.body):
        return False
    return _copies_equal(entry)


def _hash_before(first: int) -> str | None:
    if first <= 1:
        return GENESIS
    return JournalEntry.objects.filter(seq=first - 1).values_list("hash", flat=True).first()


def _copies_equal(entry: JournalEntry) -> bool:
    try:
        body: dict[str, Any] = json.loads(entry.body)
    except ValueError:
        return False
    if not isinstance(body, dict) or canonical(body) != entry.body:
        return False
    return all(body.get(name) == getattr(entry, name) for name in _COPIED)
