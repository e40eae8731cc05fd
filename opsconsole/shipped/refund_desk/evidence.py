"""What our code establishes about a case before anybody pays or answers. Pure; finds, and decides nothing."""

from collections.abc import Sequence

from opsconsole.shipped.refund_desk import signs
from opsconsole.shipped.refund_desk.contracts import Case, Check, CustomerMessage, Finding, Order
from opsconsole.shipped.refund_desk.terms import Terms

EARLIER_DAYS = "A-6.4"


def of_message(message: CustomerMessage) -> tuple[Check, ...]:
    """What the words of a message are, besides its matter."""
    return (_steering(message), _threat(message))


def answered(known: bool) -> Check:
    """Whether our terms answer a question."""
    if known:
        return Check(ok=True, name="no_clause", title="Our terms answer it")
    return Check(ok=False, name="no_clause", title="No clause of our terms answers this question")


def earlier(orders: Sequence[Order], case: Case, terms: Terms) -> Check:
    """How many refunds the customer has had lately."""
    days, most = terms.days(EARLIER_DAYS), terms.count(EARLIER_DAYS)
    lately = [
        (f"{refund.on}", f"{refund.amount} {order.currency} of {order.number}")
        for order in orders
        for refund in order.refunds
        if 0 <= (case.message.received - refund.on).days <= days
    ]
    if len(lately) >= most:
        title = f"The customer has had {len(lately)} refunds within {days} days"
        return Check(ok=False, name="frequent", title=title, details=tuple(lately))
    return Check(ok=True, name="frequent", title="Few refunds before", details=tuple(lately))


def of_findings(
    case: Case, orders: Sequence[Order], findings: Sequence[Finding], terms: Terms
) -> tuple[Check, ...]:
    """How old the goods are that are to be paid, what the carrier says, and what the customer asks for."""
    paid = {finding.order for finding in findings if finding.amount}
    meant = [order for order in orders if order.number in paid]
    return (_age(case, meant, terms), _receipt(case, meant), _asked(case, findings))


def _steering(message: CustomerMessage) -> Check:
    passages = signs.steering(message.text)
    if not passages:
        return Check(ok=True, name="steering", title="The message gives our staff and programs no orders")
    details = tuple(("Reads like an order", passage) for passage in passages)
    return Check(
        ok=False, name="steering", title="The message tries to steer who works on it", details=details
    )


def _threat(message: CustomerMessage) -> Check:
    passages = signs.threats(message.text)
    if not passages:
        return Check(ok=True, name="threat", title="The message threatens nobody")
    details = tuple(("Reads like a threat", passage) for passage in passages)
    return Check(ok=False, name="threat", title="The message threatens", details=details)


def _age(case: Case, orders: Sequence[Order], terms: Terms) -> Check:
    days = terms.days("A-6.2")
    old = [
        (
            order.number,
            f"delivered on {order.delivered}, {(case.message.received - order.delivered).days} days ago",
        )
        for order in orders
        if order.delivered and (case.message.received - order.delivered).days > days
    ]
    if old:
        title = f"Delivered more than {days} days ago"
        return Check(ok=False, name="age", title=title, details=tuple(old))
    return Check(ok=True, name="age", title=f"Delivered at most {days} days ago")


def _receipt(case: Case, orders: Sequence[Order]) -> Check:
    signed = [
        (order.number, f"delivered on {order.delivered}, the carrier says")
        for order in orders
        if case.triaged.cause == "not_arrived" and order.delivered
    ]
    if signed:
        title = "The carrier says it was delivered, the customer says it was not"
        return Check(ok=False, name="receipt", title=title, details=tuple(signed))
    return Check(ok=True, name="receipt", title="Nothing speaks against where the parcel is said to be")


def _asked(case: Case, findings: Sequence[Finding]) -> Check:
    """For the reader only: what the customer asks for never changes what is paid."""
    due = tuple((f"Due for {finding.order}", f"{finding.amount} {finding.currency}") for finding in findings)
    asked = case.triaged.asked
    if asked is None:
        return Check(ok=True, name="asked", title="The customer names no amount", details=due)
    details = (("Asked for", f"{asked.amount} {asked.currency}"), *due)
    return Check(ok=True, name="asked", title="The amount is ours, not the customer's", details=details)
