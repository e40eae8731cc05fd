"""What has been rehearsed: the figures of exactly one draft, and the runs that differ. Reads only."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from escalations.expected import Invalid
from escalations.models import Rehearsal, RehearsalState, RehearsedRun
from escalations.roles import Actor, System

FRESH = timedelta(hours=24)  # an older rehearsal does not know the runs of today
PAGE, MOST_SHOWN = 100, 2000  # runs


def latest(digest: str, at: datetime) -> Rehearsal | None:
    """The newest rehearsal of exactly that draft that is whole and fresh. One query."""
    whole = Rehearsal.objects.filter(digest=digest, state=RehearsalState.DONE, finished_at__gt=at - FRESH)
    return whole.order_by("-finished_at").first()


def asked_for(actor: Actor, digest: str, at: datetime, *, unrehearsed: bool, reason: str) -> dict[str, Any]:
    """What an admin saw of a draft before it is enforced, for the journal.

    Without a rehearsal of exactly this draft it must be wanted so, with a reason. The machine's own command line is
    the way for emergencies and needs neither; its entry says whether there was one. Raises Invalid.
    """
    found = latest(digest, at)
    if found is not None:
        return {"rehearsal": figures(found)}
    if isinstance(actor, System):
        return {"rehearsal": "none"}
    if not unrehearsed:
        sentence = (
            "Rehearse exactly this first, or choose to enforce it without a rehearsal and say why. Observe and warn "
            "need none."
        )
        raise Invalid([("rehearsal", sentence)])
    if not reason.strip():
        raise Invalid([("reason", "Say why it is enforced without a rehearsal.")])
    return {"rehearsal": "none"}


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
