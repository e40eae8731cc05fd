"""What waits for a second person, whatever it is: opened, looked up, closed, expired. No act: who may do what, and what
comes of it, is `limits` and `topups`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import QuerySet

from escalations.audit.record import Subject, append
from escalations.expected import IllegalMove, NotThere
from escalations.models.proposal import Proposal, ProposalState
from escalations.roles import Actor, name_of
from runs.canonical import digest as digest_of
from runs.engine.record import now

MOST_EXPIRED = 50  # proposals that are closed in one turn
_One = TypeVar("_One", bound=Proposal)


def open_of(kind: type[_One], **about: Any) -> QuerySet[_One]:
    """Those that nobody has closed, about one thing or about any; some may be past their time."""
    return kind._default_manager.filter(state=ProposalState.OPEN, **about)


def waiting(kind: type[_One], at: datetime) -> QuerySet[_One]:
    """Those that may still be agreed to, with whose they are."""
    return open_of(kind).filter(expires_at__gt=at).select_related("by")


def opened(proposal: _One, standing: QuerySet[_One], at: datetime, *, says: str) -> _One:
    """Save what somebody proposes now, unless a proposal about the same thing stands. `says` is what that one does and
    what must become of it, as a clause. Raises IllegalMove."""
    standing.filter(expires_at__lte=at).update(state=ProposalState.EXPIRED, closed_at=at)
    other = standing.select_related("by").first()
    if other is not None:
        who = "You have" if other.by == proposal.by else f"{name_of(other.by)} has"
        raise IllegalMove(f"{who} proposed {says}")
    proposal.expires_at = at + timedelta(hours=settings.LIMITS_PROPOSAL_HOURS)
    proposal.digest = sealed(proposal)
    proposal.save()
    return proposal


def still_open(kind: type[_One], proposal_id: int, at: datetime, *, lock: bool = False) -> _One:
    """The proposal of that number. Raises NotThere, IllegalMove when it is closed or past its time."""
    rows = kind._default_manager.select_related("by", "closed_by")
    if lock:
        rows = rows.select_for_update(of=("self",))
    proposal = rows.filter(pk=proposal_id).first()
    if proposal is None:
        raise NotThere(f"There is no proposal {proposal_id}.")
    if proposal.state != ProposalState.OPEN:
        by = f" by {name_of(proposal.closed_by)}" if proposal.closed_by else ""
        raise IllegalMove(f"This proposal was {proposal.state}{by} already.")
    if proposal.expires_at <= at:
        raise IllegalMove("This proposal has expired: propose it again.")
    return proposal


def must_be_anothers(proposal: Proposal, actor: Actor) -> None:
    """Two people, never one. Raises IllegalMove."""
    if proposal.by == actor:
        raise IllegalMove("You proposed this yourself: another admin must agree.")


def must_be_as_shown(proposal: Proposal, digest: str) -> None:
    """Raise IllegalMove unless exactly this was shown, and nobody has altered it since it was proposed."""
    if digest != proposal.digest or digest != sealed(proposal):
        raise IllegalMove("This is not the proposal that was shown. Nothing was done.")


def sealed(proposal: Proposal) -> str:
    """The digest of what a second person agrees to."""
    made: str = digest_of(proposal.terms | {"reason": proposal.reason, "by": proposal.by_id})
    return made


def close(proposal: Proposal, state: ProposalState, actor: Actor | None, at: datetime) -> None:
    """Give an open proposal its end; `actor` None is the clock."""
    proposal.state, proposal.closed_at = state, at
    proposal.closed_by = actor if isinstance(actor, User) else None
    proposal.save(update_fields=["state", "closed_at", "closed_by"])


def expire(late: QuerySet[_One], *, act: str, about: Callable[[_One], Subject]) -> int:
    """Close the first of those whose time has passed, each with an entry of the journal; how many."""
    closed = list(late[:MOST_EXPIRED])
    for proposal in closed:
        close(proposal, ProposalState.EXPIRED, None, now())
    for proposal in closed:
        append(actor=None, act=act, subject=about(proposal), details=closed_details(proposal))
    return len(closed)


def opened_details(proposal: Proposal) -> dict[str, Any]:
    """For the journal's entry of who proposes."""
    return {"proposal": proposal.pk, "expires": proposal.expires_at.isoformat(timespec="seconds")}


def closed_details(proposal: Proposal) -> dict[str, Any]:
    """For the entry of what closes it."""
    return {"proposal": proposal.pk, "proposed_by": name_of(proposal.by)}


def agreed_details(proposal: Proposal) -> dict[str, Any]:
    """For the entry of who agrees: the reason of the first person beside the second one's."""
    return closed_details(proposal) | {"proposed_because": proposal.reason}
