"""What was really done, from the books: the outputs of cashier and correspondent are held against them. Reads only."""

from decimal import Decimal

from opsconsole.shipped.refund_desk import books, policy, terms
from opsconsole.shipped.refund_desk.contracts import (
    Closed,
    Finding,
    Paid,
    Payment,
    Promise,
    Reviewed,
    Sent,
    Settled,
    Settling,
)
from runs.errors import DataError


def accept_paid(given: Reviewed, paid: Paid) -> None:
    """Every order that is due is accounted for, once, as the book of refunds has it. Raises DataError."""
    due = {finding.order: finding for finding in given.brief.findings if finding.amount}
    told = [payment.order for payment in paid.payments]
    if sorted(told) != sorted(due):
        missing = f"Due are {', '.join(sorted(due))}; told is how it ended for {', '.join(told) or 'none'}."
        raise DataError(missing, where="payments")
    for payment in paid.payments:
        if payment.entry is None:
            _not_paid(payment, due[payment.order])
        else:
            _paid(payment, payment.entry)


def _paid(payment: Payment, number: int) -> None:
    entered = books.refund(number)
    if entered is None or (entered.order, entered.amount) != (payment.order, payment.amount):
        raise DataError(
            f"The book of refunds has no {payment.amount} for {payment.order} under {number}.",
            where="payments",
        )


def _not_paid(payment: Payment, finding: Finding) -> None:
    """What was free when the case was checked is free still."""
    if payment.amount:
        raise DataError(
            f"{payment.amount} for {payment.order} without an entry of the book.", where="payments"
        )
    for entry in books.refunds().entries():
        if entry.content.order == finding.order and set(entry.content.items) & set(finding.items):
            raise DataError(
                f"{finding.order} counts as not paid, and it is entry {entry.number} of the book.",
                where="payments",
            )


def accept_sent(given: Reviewed, sent: Sent) -> None:
    """What counts as sent stands in the outbox, what does not does not. Raises DataError."""
    answers = given.brief.message.message_id
    if sent.sent:
        mail = books.reply(sent.entry) if sent.entry else None
        if mail is None or mail.in_reply_to != answers:
            raise DataError(f"The outbox has no answer to this message under {sent.entry}.", where="entry")
        return
    for entry in books.outbox().entries():
        if (entry.content.in_reply_to, entry.content.body) == (answers, given.letter.body):
            raise DataError(
                f"The letter counts as not sent, and it is {entry.number} of the outbox.", where="sent"
            )


def settle(given: Settling) -> Settled:
    """What was paid against what the letter says."""
    reviewed, paid = given.reviewed, given.paid
    amounts = {payment.order: payment.amount for payment in paid.payments if payment.entry is not None}
    planned = {one.order: one.amount for one in reviewed.brief.findings if one.amount}
    if amounts == planned:
        brief = reviewed.brief.model_copy(update={"settled": True})
        return Settled(reviewed=reviewed.model_copy(update={"brief": brief}), changed=False)
    brief = policy.settled(reviewed.brief, amounts, terms.current())
    return Settled(reviewed=reviewed.model_copy(update={"brief": brief}), changed=True)


def closed(reviewed: Reviewed, sent: Sent) -> Closed:
    """The run's output. Only what was settled counts as refunded."""
    brief = reviewed.brief
    paid = brief.findings if brief.settled else ()
    return Closed(
        kind=brief.kind,
        refunds=tuple(
            Promise(order=one.order, amount=one.amount, currency=one.currency)
            for one in paid
            if one.amount != Decimal("0.00")
        ),
        replied=sent.sent,
        reply=sent.entry,
        reason=sent.reason,
    )
