"""The tools `refunds.pay` and `mail.send`: one line in a book each, through the gate. Asks nobody."""

from typing import Any

from opsconsole.shipped.book import Entry, looked
from opsconsole.shipped.refund_desk import approval, books
from opsconsole.shipped.refund_desk.agents import PAY, SEND
from opsconsole.shipped.refund_desk.contracts import Mail, Refund
from runs.definitions import Effect, EffectGate, NotKnown, Tool

_SECONDS = 10.0


def pay(refund: Refund, gate: EffectGate) -> dict[str, Any]:
    """Enter the refund, once for the gate's key. Raises what `books.pay` raises, and the gate's refusal."""
    seconds = min(_SECONDS, gate.seconds_left)
    return _paid(books.pay(refund, key=gate.key, hand_over=gate.hand_over, seconds=seconds))


def look_for_payment(refund: Refund, key: str) -> dict[str, Any] | NotKnown | None:
    """What `pay` returned for this key, if it happened; the book knows, unless it is damaged or says something else."""
    return looked(books.refunds(), refund, key, _paid)


def payment(refund: Refund) -> str:
    items = ", ".join(refund.items)
    return f"Refund {refund.amount} {refund.currency} of order {refund.order} ({items}) the way it was paid"


def send(mail: Mail, gate: EffectGate) -> dict[str, Any]:
    """Put the reply into the outbox, once for the gate's key. Raises what `books.send` and the gate raise."""
    seconds = min(_SECONDS, gate.seconds_left)
    return _posted(books.send(mail, key=gate.key, hand_over=gate.hand_over, seconds=seconds))


def look_for_reply(mail: Mail, key: str) -> dict[str, Any] | NotKnown | None:
    """What `send` returned for this key, if it happened; see `look_for_payment`."""
    return looked(books.outbox(), mail, key, _posted)


def reply(mail: Mail) -> str:
    return f"Send “{mail.subject}” to {mail.to}"


def _paid(entry: Entry[Refund]) -> dict[str, Any]:
    refund = entry.content
    return {"entry": entry.number, "amount": str(refund.amount), "paid_at": entry.written_at.isoformat()}


def _posted(entry: Entry[Mail]) -> dict[str, Any]:
    return {"entry": entry.number, "sent_at": entry.written_at.isoformat()}


def rehearse_payment(refund: Refund) -> dict[str, Any]:
    return {"entry": books.rehearse(refund), "amount": str(refund.amount), "paid_at": "rehearsed"}


def rehearse_reply(mail: Mail) -> dict[str, Any]:
    return {"entry": books.rehearse(mail), "sent_at": "rehearsed"}


PAYING = Tool(
    name=PAY,
    description="Pay money of an order back the way it was paid. Cannot be undone.",
    arguments=Refund,
    perform=pay,
    sentence=payment,
    effect=Effect.IRREVERSIBLE,
    egress=True,
    approval=approval.of_refund,
    look=look_for_payment,
    rehearse=rehearse_payment,
)

SENDING = Tool(
    name=SEND,
    description="Send a reply to a customer. Cannot be called back.",
    arguments=Mail,
    perform=send,
    sentence=reply,
    effect=Effect.IRREVERSIBLE,
    egress=True,
    approval=approval.of_reply,
    look=look_for_reply,
    rehearse=rehearse_reply,
)
