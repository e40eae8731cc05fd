"""One limit with all rows that hold or will hold, its version, and what moved since somebody read it. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet

from escalations.audit.record import Subject
from escalations.changes import Change, changes
from escalations.expected import Refusal, clock
from runs.limits.kinds import LimitScope
from runs.limits.rows import NO_END, Row, moment_words
from runs.models import Limit, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A limit: its number, the rows that hold or will hold in order of time, as values and as they are kept."""

    line: int
    rows: tuple[Row, ...]
    limits: tuple[Limit, ...]

    @property
    def version(self) -> str:
        """Changes whenever the limit does, because its rows are never edited."""
        return ",".join(str(row.id) for row in self.rows)


class Moved(Refusal):
    """The limit is not what was shown any more; `differences` says in what."""

    def __init__(self, found: Line, *, seen: str) -> None:
        rows = Limit.objects.filter(pk__in=[int(number) for number in seen.split(",") if number])
        were = [limit for limit in rows if limit.line == found.line]
        self.found = found
        self.differences = _differences(were, found.rows)
        super().__init__(f"Limit {found.line} {_by_whom(were)}. {self._said()}Nothing was done.")

    def _said(self) -> str:
        told = [
            f"{one['field']} {one.get('before', 'none')} → {one.get('after', 'none')}"
            for one in self.differences[:4]
        ]
        return f"In force is other than you read: {', '.join(told)}. " if told else ""


def _differences(were: Sequence[Limit], after: Sequence[Row]) -> list[Change]:
    """What was shown has ended by now, and what holds began later: the change itself, no difference worth telling."""
    before = terms(sorted((limit.row for limit in were), key=lambda row: row.since))
    now = terms(after)
    for name in {"from", *(("until",) if any(limit.ended_at for limit in were) else ())}:
        before.pop(name, None)
        if name == "from" or now.get(name) == NO_END:
            now.pop(name, None)
    return changes(before, now)


def _by_whom(were: Sequence[Limit]) -> str:
    ended = sorted(
        (one for one in were if one.ended_at is not None), key=lambda one: one.ended_at or one.set_at
    )
    if not ended or ended[-1].ended_at is None:
        return "has changed since you read it"
    return f"was changed by {ended[-1].ended_by} at {clock(ended[-1].ended_at)}, after you read it"


def version_of(seen: str) -> str:
    """A version as it came back from a form: numbers alone, or nothing."""
    parts = seen.split(",")
    return ",".join(parts) if all(p.isascii() and p.isdecimal() and len(p) < 19 for p in parts) else ""


def line_of(line: int, at: datetime) -> Line | None:
    """The limit of that number; None when there is none. Its rows may all be over."""
    rows = rows_of(line)
    return line_from(rows, line, at) if rows else None


def rows_of(line: int) -> QuerySet[Limit]:
    """Every row of a limit, also those that are over."""
    return Limit.objects.filter(Q(pk=line, first__isnull=True) | Q(first=line))


def line_from(rows: Iterable[Limit], line: int, at: datetime) -> Line:
    """The limit that these are the rows of."""
    kept = [one for one in rows if not one.over(at) and one.valid_from != one.valid_until]
    kept.sort(key=lambda limit: (limit.valid_from, limit.pk))
    return Line(line=line, rows=tuple(one.row for one in kept), limits=tuple(kept))


def about(line: int) -> Subject:
    """The subject of an entry about a limit that may not exist."""
    limit = Limit.objects.filter(pk=line).first()
    if limit is None:
        return Subject(target=f"limit {line}")
    row = limit.row
    target = f"limit {line}: {row.what} of {row.scope_words}"
    if row.scope_kind is LimitScope.WORKFLOW:
        return Subject(target=target, workflow=row.scope)
    if row.scope_kind is LimitScope.TEAM:
        return Subject(target=target, team=row.scope)
    if row.scope_kind is LimitScope.RUN:
        run = Run.objects.select_related("team").filter(pk=int(row.scope)).first()
        if run:
            return Subject(target=target, run_id=run.pk, workflow=run.workflow, team=run.team.name)
    return Subject(target=target)


def about_new(given: Mapping[str, Any]) -> Subject:
    """The subject of an entry about a limit that somebody writes anew."""
    what, scope_kind, scope = (str(given.get(name, "")) for name in ("what", "scope_kind", "scope"))
    return Subject(target=f"limit {what} of {scope_kind} {scope}".strip())


def terms(rows: Sequence[Row]) -> dict[str, Any]:
    """What a limit says, for before and after: what holds first by field, what is planned after it in a line each."""
    if not rows:
        return {}
    first, *planned = rows
    found = {
        "what": f"{first.what} of {first.scope_words}",
        "value": first.amount,
        "mode": first.mode.value,
        "from": moment_words(first.since),
        "until": moment_words(first.until),
    }
    for number, row in enumerate(planned):
        found[f"then {number + 1}" if number else "then"] = (
            f"{row.amount}, {row.mode.value}, from {moment_words(row.since)}"
            + (f" until {moment_words(row.until)}" if row.until else "")
        )
    return found
