"""Booking spends of which nobody knows what they came to: a crash before the answer, a reply without figures.

Until then all that was reserved stays reserved. What nobody books is booked in full after a time (the settings say how
long).
"""

from __future__ import annotations

from django.db import transaction

from escalations.audit.record import Subject, about_run, append
from escalations.audit.refused import Given, Named, recorded
from escalations.expected import IllegalMove, Invalid, NotThere
from escalations.roles import Act, Actor, require
from escalations.texts import given_text
from runs.engine.spend import budgets
from runs.limits.units import MOST, Unit, WrongValue, read, shown
from runs.models import Call, Run


def _on_call(given: Given) -> Named:
    return Act.BOOK, Subject(target=f"call {given['call_id']}")


@recorded(_on_call)
@transaction.atomic(durable=True)
def book(*, actor: Actor, call_id: int, amount: str, reason: str) -> None:
    """Say what a call of which nobody knows has cost, in dollars; an empty `amount`: all that is reserved for it. Its
    tokens are booked as they were reserved.

    Raises NotAllowed, NotThere, IllegalMove when it is not uncertain any more, Invalid with every wrong field.
    """
    require(actor, Act.BOOK)
    cost, reason = _read(amount, reason)
    call = Call.objects.only("run_id", "name", "model", "state").filter(pk=call_id).first()
    if call is None:
        raise NotThere(f"There is no call {call_id}.")
    if not budgets.reconcile(call_id, call.run_id, used=None if cost is None else {"cost": cost}):
        raise IllegalMove(f"What call {call_id} used is not uncertain (any more). Nothing was done.")
    run = Run.objects.select_related("team").get(pk=call.run_id)
    booked = Call.objects.values_list("cost_micros", flat=True).get(pk=call_id)
    append(
        actor=actor,
        act=Act.BOOK,
        subject=about_run(run),
        reason=reason,
        details={
            "call": call_id,
            "model": call.model,
            "booked": shown(Unit.MONEY, booked or 0),
            "as": "all that was reserved" if cost is None else "a person says",
        },
    )


def _read(amount: str, reason: str) -> tuple[int | None, str]:
    errors: list[tuple[str, str]] = []
    cost = None
    try:
        cost = read(Unit.MONEY, amount) if amount.strip() else None
    except WrongValue as why:
        errors.append(("amount", str(why)))
    if cost is not None and cost > MOST:
        errors.append(("amount", f"At most {shown(Unit.MONEY, MOST)}."))
    try:
        reason = given_text("reason", reason, required="Say how you know, or why all of it is booked.")
    except Invalid as wrong:
        errors += wrong.errors
    if errors:
        raise Invalid(errors)
    return cost, reason
