"""Which journal entries somebody asks for: the same for the page and for the export. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet

from escalations.models import JournalEntry
from runs.canonical import plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Everything given must hold. `since` is included, `until` is not; `text` is looked for anywhere."""

    text: str = ""
    person: str = ""  # as the journal names the actor
    act: str = ""
    outcome: str = ""
    workflow: str = ""
    team: str = ""
    run_id: int | None = None
    escalation_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None

    def given(self) -> Mapping[str, Any]:
        """Only what narrows, as plain data; for the journal and for links."""
        return {name: plain(value) for name, value in asdict(self).items() if value not in ("", None)}


_EQUAL = {
    "person": "actor_name",
    "act": "act",
    "outcome": "outcome",
    "workflow": "workflow",
    "team": "team",
    "run_id": "run_id",
    "escalation_id": "escalation_id",
    "since": "at__gte",
    "until": "at__lt",
}


def entries(filters: Filters) -> QuerySet[JournalEntry]:
    """The entries that match, in the order of their numbers."""
    wanted = {
        _EQUAL[name]: getattr(filters, name) for name in _EQUAL if getattr(filters, name) not in ("", None)
    }
    found = JournalEntry.objects.filter(**wanted)
    if filters.text:
        found = found.filter(_anywhere(filters.text))
    return found.order_by("seq")


def _anywhere(text: str) -> Q:
    """In the target, the reason or the act; a bare number also as run or escalation, "E-12" as that escalation."""
    text = plain(text.strip())
    found = Q(target__icontains=text) | Q(reason__icontains=text) | Q(act__icontains=text)
    number = text.upper().removeprefix("E-").removeprefix("#")
    if number.isascii() and number.isdecimal() and len(number) < 19:
        found |= Q(escalation_id=int(number))
        if not text.upper().startswith("E-"):
            found |= Q(run_id=int(number)) | Q(seq=int(number))
    return found
