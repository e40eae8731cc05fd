"""Which versions a run went by, one after the other. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from runs.models import Question, Run, Verb


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """A person let the run go on with another version: from which to which, where, who and when."""

    before: int
    after: int
    at: str
    by: str
    when: datetime | None


def migrations(run: Run) -> tuple[Migration, ...]:
    """Every migration of a run, oldest first. One query."""
    rows = Question.objects.filter(run=run, verb=Verb.MIGRATE, step=None).order_by("pk")
    found = rows.values_list("answer", "answered_by", "answered_at")
    return tuple(
        Migration(
            before=answer.get("from_version", 0),
            after=answer.get("version", 0),
            at=answer.get("at", ""),
            by=by,
            when=when,
        )
        for answer, by, when in found
    )
