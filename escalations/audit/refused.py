"""Recording what was refused, after its transaction has rolled back, in one of its own. Decides no refusal.

Identical refusals of one actor within WINDOW are counted instead of written: the first is an entry, and one
further entry says how many followed. That one is written by the next refusal after the window, or by
`settle`, which the ordinary worker calls.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, ParamSpec, TypeVar

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from escalations.audit.record import Subject, append
from escalations.expected import Changed, Invalid, Refusal
from escalations.models import Flood, Outcome
from escalations.roles import Actor, System, account_of, name_of
from escalations.texts import LONGEST
from runs.canonical import digest, plain

WINDOW = timedelta(seconds=10)
_MOST_ERRORS = 20

P = ParamSpec("P")
T = TypeVar("T")
Named = tuple[str, Subject]  # the act in the journal's words, and what it was on
Given = Mapping[str, Any]  # the keyword arguments of the act


def recorded(named: Callable[[Given], Named]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorator of an act: when it refuses, the refusal is journalled, then raised as it was.

    `named` tells from the act's keyword arguments what was attempted on what; it must cope with ids that
    do not exist, and may read the database.
    """

    def decorate(act: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(act)
        def attempt(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return act(*args, **kwargs)
            except Refusal as refusal:
                name, subject = named(kwargs)
                reason = str(kwargs.get("reason") or kwargs.get("text") or "")
                write(kwargs["actor"], name, subject, refusal, reason=reason)  # type: ignore[arg-type]
                raise

        return attempt

    return decorate


@transaction.atomic(durable=True)
def write(actor: Actor, act: str, subject: Subject, refusal: Refusal, *, reason: str = "") -> None:
    """Journal one refusal, or count it when the same was refused within WINDOW."""
    now = timezone.now()
    who = _who(actor)
    key = digest({**who, "act": act, "target": subject.target, "outcome": refusal.outcome})
    entry = plain({**who, "act": act, "subject": asdict(subject), "outcome": refusal.outcome})
    rows = Flood.objects.select_for_update()
    flood, first = rows.get_or_create(key=key, defaults={"since": now, "entry": entry})
    if not first and flood.since > now - WINDOW:
        Flood.objects.filter(pk=key).update(more=F("more") + 1)
        return
    followers, began = flood.more, flood.since
    Flood.objects.filter(pk=key).update(since=now, more=0)
    if followers:
        _append_followers(flood.entry, followers, began)
    append(
        actor=actor,
        act=act,
        subject=subject,
        outcome=refusal.outcome,
        reason=reason[:LONGEST],
        details=_details(refusal),
    )


@transaction.atomic(durable=True)
def settle(now: datetime | None = None, limit: int = 200) -> int:
    """Write what was counted in windows that are over; returns how many entries were written."""
    over = (now or timezone.now()) - WINDOW
    rows = Flood.objects.select_for_update(skip_locked=True).filter(since__lte=over)
    floods = list(rows.order_by("since")[:limit])
    Flood.objects.filter(pk__in=[flood.pk for flood in floods]).delete()
    counted = [flood for flood in floods if flood.more]
    for flood in counted:
        _append_followers(flood.entry, flood.more, flood.since)
    return len(counted)


def _append_followers(entry: dict[str, Any], followers: int, began: datetime) -> None:
    account = User.objects.filter(pk=entry["account"]).first()
    append(
        actor=account or System(name=entry["name"]),
        act=entry["act"],
        subject=Subject(**entry["subject"]),
        outcome=Outcome(entry["outcome"]),
        details={"repeated": followers, "after": began.isoformat()},
    )


def _who(actor: Actor) -> dict[str, Any]:
    account = account_of(actor)
    return {"account": account.pk if account else None, "name": name_of(actor)}


def _details(refusal: Refusal) -> dict[str, Any]:
    details: dict[str, Any] = {"why": refusal.sentence}
    if isinstance(refusal, Invalid):
        details["errors"] = [list(error) for error in refusal.errors[:_MOST_ERRORS]]
    if isinstance(refusal, Changed):
        details["in_force"] = {"version": refusal.escalation.version, "digest": refusal.escalation.digest}
    return details
