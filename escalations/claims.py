"""Taking an escalation and giving it back. A claim changes nothing about the run and binds nobody's decision."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from django.contrib.auth.models import User
from django.db import transaction

from escalations import locked
from escalations.audit.record import Subject, about_escalation, append
from escalations.audit.refused import Given, Named, recorded
from escalations.expected import IllegalMove
from escalations.models import Escalation
from escalations.roles import Act, Actor, allowed, name_of, require
from runs.engine.record import now


def on_escalation(act: Act) -> Callable[[Given], Named]:
    """How a refused attempt at `act` is named: by the escalation it was on, if there is one."""

    def named(given: Given) -> Named:
        return act, subject_of(given["escalation_id"])

    return named


def subject_of(escalation_id: int) -> Subject:
    """The subject of an entry about an escalation that may not exist."""
    found = Escalation.objects.select_related("run", "team").filter(pk=escalation_id).first()
    return about_escalation(found) if found else Subject(target=f"E-{escalation_id}")


@recorded(on_escalation(Act.TAKE))
@transaction.atomic(durable=True)
def take(*, actor: Actor, escalation_id: int) -> Escalation:
    """Hold an escalation. An admin takes over what another person holds.

    Raises NotAllowed, NotThere, AlreadyDecided, and IllegalMove naming the holder.
    """
    require(actor, Act.TAKE)
    escalation = locked.alone(escalation_id)
    locked.must_be_open(escalation)
    holder = escalation.taken_by
    if holder and holder != actor:
        _require_take_over(actor, escalation)
    act = Act.TAKE_OVER if holder and holder != actor else Act.TAKE
    hold(escalation, actor)
    escalation.save(update_fields=["taken_by", "taken_at"])
    details = {"from": name_of(holder) if holder else None, "version": escalation.version}
    append(actor=actor, act=act, subject=about_escalation(escalation), details=details)
    return escalation


def _require_take_over(actor: Actor, escalation: Escalation) -> None:
    """Only an admin may; everybody else is told who holds it, which is a conflict and not a lack of rights."""
    if not allowed(actor, Act.TAKE_OVER):
        locked.must_be_free(escalation, actor)


@recorded(on_escalation(Act.GIVE_BACK))
@transaction.atomic(durable=True)
def release(*, actor: Actor, escalation_id: int) -> Escalation:
    """Give an escalation back. An admin may release another person's.

    Raises NotAllowed, NotThere, AlreadyDecided, and IllegalMove when nobody, or somebody else, holds it.
    """
    require(actor, Act.GIVE_BACK)
    escalation = locked.alone(escalation_id)
    locked.must_be_open(escalation)
    holder = escalation.taken_by
    if holder is None:
        raise IllegalMove(f"Nobody holds {escalation.name}.")
    if holder != actor:
        _require_take_over(actor, escalation)
    escalation.taken_by, escalation.taken_at = None, None
    escalation.save(update_fields=["taken_by", "taken_at"])
    details = {"from": name_of(holder), "version": escalation.version}
    append(actor=actor, act=Act.GIVE_BACK, subject=about_escalation(escalation), details=details)
    return escalation


def hold(escalation: Escalation, actor: Actor, moment: datetime | None = None) -> None:
    """Make the actor the holder of a locked escalation, which the caller saves. No change when it is already."""
    assert isinstance(actor, User), "the role table lets only signed-in people hold an escalation"
    if escalation.taken_by != actor:
        escalation.taken_by, escalation.taken_at = actor, moment or now()
