"""The journal as CSV, safe to open in a spreadsheet. Exporting is itself an intervention; nothing else is changed.

A cell that a spreadsheet would take for a formula is given a leading apostrophe. So a CSV is a copy for people:
the exact text that was hashed is the journal's own column.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from datetime import UTC

from django.db import transaction

from escalations import live
from escalations.audit.filters import Filters, entries
from escalations.audit.record import Subject, append
from escalations.audit.refused import Given, Named, recorded
from escalations.models import JournalEntry
from escalations.roles import Act, Actor, require

COLUMNS = (
    "number",
    "time (UTC)",
    "person",
    "act",
    "on",
    "outcome",
    "reason",
    "run",
    "escalation",
    "workflow",
    "team",
    "body",
    "previous hash",
    "hash",
)
CHUNK = 1000  # entries a query and a piece
_BYTE_ORDER_MARK = "\ufeff"  # without it Excel takes UTF-8 for the local code page

# A formula begins a cell, a physical line of it, or what another spreadsheet's separator (; or tab) makes a cell.
# Blank and invisible characters before it are skipped, as spreadsheets do; full-width signs count.
_BREAK = r"\n\r\v\f\x1c-\x1e\x85\u2028\u2029\t;"
_INVISIBLE = r"\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff"
_SIGN = r"[=+\-@\uff1d\uff0b\uff0d\uff20\u2212]"
_FORMULA = re.compile(
    rf"^(?=[\s{_INVISIBLE}]*{_SIGN}|[\t\r\n])|(?<=[{_BREAK}])(?=(?:(?![{_BREAK}])[\s{_INVISIBLE}])*{_SIGN})"
)


def _on_journal(_: Given) -> Named:
    return Act.EXPORT, Subject(target="journal")


@recorded(_on_journal)
def export(*, actor: Actor, filters: Filters) -> Iterator[str]:
    """Journal the export, then give the pieces of the CSV file. Raises NotAllowed, at once and not at the first piece.

    The file holds exactly the entries that the journal counts, whatever is appended while it is read.
    """
    require(actor, Act.EXPORT)
    with transaction.atomic(durable=True):
        newest = live.head()
        count = entries(filters).filter(seq__lte=newest).count()
        details = {"filters": filters.given(), "entries": count, "up_to": newest, "format": "csv"}
        append(actor=actor, act=Act.EXPORT, subject=Subject(target=f"{count} entries"), details=details)
    return rows(filters, up_to=newest)


def rows(filters: Filters, *, up_to: int | None = None) -> Iterator[str]:
    """The CSV file in pieces, header first, oldest entry first; only entries up to that number."""
    yield _BYTE_ORDER_MARK + _csv([COLUMNS])
    last = 0
    while True:
        found = entries(filters).filter(seq__gt=last)
        if up_to is not None:
            found = found.filter(seq__lte=up_to)
        chunk = list(found[:CHUNK])
        if not chunk:
            return
        yield _csv([_row(entry) for entry in chunk])
        last = chunk[-1].seq


def safe(cell: str) -> str:
    """The cell so that no spreadsheet takes any line of it for a formula."""
    return _FORMULA.sub("'", cell.replace("\x00", "\u2400"))


def _row(entry: JournalEntry) -> tuple[str, ...]:
    cells = (
        entry.seq,
        entry.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
        entry.actor_name,
        entry.act,
        entry.target,
        entry.outcome,
        entry.reason,
        entry.run_id or "",
        entry.escalation_id or "",
        entry.workflow,
        entry.team,
        entry.body,
        entry.prev_hash,
        entry.hash,
    )
    return tuple(safe(str(cell)) for cell in cells)


def _csv(lines: list[tuple[str, ...]]) -> str:
    written = io.StringIO(newline="")
    csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows(lines)
    return written.getvalue()
