"""What has been rehearsed: the figures of exactly one draft, and the runs that differ. Reads only."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet, Subquery, Value
from django.urls import reverse

from escalations.expected import Invalid
from escalations.models import Rehearsal, RehearsalState, RehearsedRun
from runs.models import Run

FRESH = timedelta(hours=24)  # an older rehearsal does not know the runs of today
LONGEST = timedelta(days=365)  # that a rehearsal looks back
NOT_YET = "Rehearse exactly this first. Observe and warn need none."
NO_RUN = "The rehearsal of this covers no run, and some are on record from before its days: rehearse it over more days"
EMPTY = f"{NO_RUN}."
OLD = "This was rehearsed more than 24 hours ago, which counts no longer: rehearse it again"
PAGE, MOST_SHOWN = 100, 2000  # runs


class NotRehearsed(Invalid):
    """Exactly this draft has not been rehearsed."""


def latest(digest: str, at: datetime) -> Rehearsal | None:
    """The newest rehearsal of exactly that draft that is whole, fresh and of runs. One query, two of one without."""
    return standing(digest, at)[0]


def standing(digest: str, at: datetime) -> tuple[Rehearsal | None, bool]:
    """The same; beside it whether there is one that covers no run. One query, two of one without."""
    found = _whole(digest, at).first()
    if found is None or is_of_runs(found):
        return found, False
    return None, True


def named_and_standing(
    number: int, digest: str, at: datetime
) -> tuple[Rehearsal | None, tuple[Rehearsal | None, bool]]:
    """The rehearsal of that number, and what stands of that draft (`standing`). One query."""
    first = Subquery(_created().values("created_at")[:1])
    one = Rehearsal.objects.filter(pk=number).annotate(first=first, newest=Value(False))
    newest = _whole(digest, at).annotate(first=first, newest=Value(True))[:1]
    named: Rehearsal | None = None
    stands: tuple[Rehearsal | None, bool] = None, False
    for found in one.union(newest, all=True):
        if not found.newest:
            named = found
        elif _covers(found) or _reaches(found, found.first):
            stands = found, False
        else:
            stands = None, True
    return named, stands


def is_of_runs(one: Rehearsal) -> bool:
    """Whether a rehearsal that is whole covers runs, or nothing more can be looked at: it goes back to the first run
    on record, or as far as any does."""
    return _covers(one) or _reaches(one, _created().values_list("created_at", flat=True).first())


def _whole(digest: str, at: datetime) -> QuerySet[Rehearsal]:
    whole = Rehearsal.objects.filter(digest=digest, state=RehearsalState.DONE, finished_at__gt=at - FRESH)
    return whole.order_by("-finished_at")


def _created() -> QuerySet[Run]:
    return Run.objects.order_by("pk")


def _covers(one: Rehearsal) -> bool:
    covered = [one.totals["runs"], *(each["runs"] for each in one.totals.get("imported", ()))]
    return any(covered) or one.until - one.since >= LONGEST


def _reaches(one: Rehearsal, first: datetime | None) -> bool:
    return first is None or first >= one.since


def tried(digest: str, at: datetime) -> Rehearsal | None:
    """The newest rehearsal of exactly that draft and fresh, whatever became of it. One query."""
    found = Rehearsal.objects.filter(digest=digest, asked_at__gt=at - FRESH)
    return found.order_by("-asked_at", "-pk").first()


def seen(digest: str, at: datetime) -> dict[str, Any]:
    """What was rehearsed of a draft, for the journal, also in vain; nothing when nobody did."""
    found = latest(digest, at)
    if found is not None:
        return {"rehearsal": figures(found)}
    one = tried(digest, at)
    return {} if one is None or one.state == RehearsalState.DONE else {"rehearsal": in_vain(one)}


def asked_for(digest: str, at: datetime, *, unrehearsed: bool, reason: str) -> dict[str, Any]:
    """What was seen of a draft before it is enforced, for the journal, whoever enforces it.

    Only where exactly this draft was rehearsed in vain it may be wanted without, with a reason. Raises NotRehearsed,
    Invalid.
    """
    found, is_empty = standing(digest, at)
    if found is not None:
        return {"rehearsal": figures(found)}
    one = tried(digest, at) if unrehearsed else None
    if one is None or not one.in_vain:
        raise NotRehearsed([("rehearsal", EMPTY if is_empty else NOT_YET)])
    if not reason.strip():
        raise Invalid([("reason", "Say why it is enforced without a rehearsal.")])
    return {"rehearsal": in_vain(one)}


def in_vain(one: Rehearsal) -> dict[str, Any]:
    """A rehearsal that says nothing, as the journal keeps it."""
    kept = {"number": one.pk, "draft": one.digest, "state": one.state}
    return kept | {"why": one.why or "it has not ended"}


def figures(one: Rehearsal) -> dict[str, Any]:
    """A rehearsal as the journal keeps it."""
    return {
        "number": one.pk,
        "draft": one.digest,
        "since": one.since.isoformat(),
        "until": one.until.isoformat(),
        "figures": one.totals,
    }


def where(one: Rehearsal) -> str:
    """The form that it was asked from, as it was written."""
    path = reverse("limit-new") if one.line is None else reverse("limit", args=[one.line])
    kept = {name: value for name, value in one.given.items() if value}
    return f"{path}?{urlencode(kept | {'rehearsal': one.pk})}#rehearsal"


def rows(one: Rehearsal, most: int = PAGE) -> list[RehearsedRun]:
    """The runs that differ, lost successes first. One query."""
    return list(one.runs.order_by("place")[:most])
