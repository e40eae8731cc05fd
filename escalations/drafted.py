"""Drafts of limits as somebody wrote them, over the limits there ever were, and who took which card. Reads only.

Nothing is changed and nobody is asked who he is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from escalations.expected import IllegalMove, Invalid, NotThere
from escalations.limit_lines import Line, line_of, rows_of
from escalations.models import Escalation
from runs.engine.record import now
from runs.limits import written
from runs.limits.rows import Row
from runs.rehearsal.drafts import Draft, draft
from runs.shown import past


def setting(given: Mapping[str, str]) -> Draft:
    """A new limit, from the fields that `runs.limits.written.new_limit` names. Raises Invalid."""
    row = read(lambda: written.new_limit(given, at=now()))
    return draft(row, known=past.limits_ever())


def changing(line: int, *, value: str = "", mode: str = "", seen: str | None = None) -> Draft:
    """Another value or mode of a limit; what is empty stays. Raises NotThere, IllegalMove, Invalid."""
    found = _open(line, seen)
    first = found.rows[0]
    given = {"value": value or first.amount, "mode": mode or first.mode.value}
    new = read(lambda: written.changed(first, given, at=now()))
    return draft(new, old=_ever(line), known=past.limits_ever(), line=line, seen=found.version)


def ending(line: int, *, seen: str | None = None) -> Draft:
    """The end of a limit. Raises NotThere, IllegalMove."""
    found = _open(line, seen)
    return draft(None, old=_ever(line), known=past.limits_ever(), line=line, seen=found.version)


def alone(new: Row, found: Line | None = None) -> Draft:
    """The draft without the limits beside it: enough for its digest. No query."""
    if found is None:
        return draft(new)
    return draft(new, old=found.rows, line=found.line, seen=found.version)


def taken(questions: Iterable[int]) -> dict[int, datetime]:
    """By question, when whoever answered it had taken its card; of cards that nobody took, nothing. One query."""
    rows = Escalation.objects.filter(question__in=list(questions), taken_at__isnull=False)
    return {question: at for question, at in rows.values_list("question_id", "taken_at") if at is not None}


def read(make: Callable[[], Row]) -> Row:
    """What was written, as a limit. Raises Invalid with every wrong field."""
    try:
        return make()
    except written.Wrong as why:
        raise Invalid(why.errors) from why


def _open(line: int, seen: str | None) -> Line:
    found = line_of(line, now())
    if found is None:
        raise NotThere(f"There is no limit {line}.")
    if not found.rows:
        raise IllegalMove(f"Limit {line} is over already.")
    if seen is not None and seen != found.version:
        raise IllegalMove(f"Limit {line} has changed since you read it: rehearse what you want of it now.")
    return found


def _ever(line: int) -> list[Row]:
    rows = rows_of(line).order_by("valid_from", "pk")
    return [limit.row for limit in rows if limit.valid_from != limit.valid_until]
