"""What our terms say about a case: which orders, which items, how much, by which clause. Pure, in decimals.

Days are counted to the day on which the message was received. Every figure comes from a clause of the terms; the
message is only asked what it is about, never how much.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from opsconsole.shipped.book import Entry
from opsconsole.shipped.refund_desk import evidence
from opsconsole.shipped.refund_desk.contracts import (
    Brief,
    Case,
    Check,
    Clause,
    CustomerMessage,
    Finding,
    Line,
    Order,
    Refund,
    Triaged,
)
from opsconsole.shipped.refund_desk.orders import Orders
from opsconsole.shipped.refund_desk.terms import Terms

NOTHING = Decimal("0.00")
PAYMENT = "payment"  # what a second payment is entered as in the book of refunds

_NOT_TAKEN_BACK = {"clearance": "R-2.3", "food": "R-2.3", "care": "R-2.3", "voucher": "R-2.5"}
_ANSWERS = {
    "returns": "R-2.1",
    "sale": "R-2.3",
    "damage": "D-3.1",
    "delivery": "D-3.3",
    "downloads": "S-4.1",
    "vouchers": "R-2.5",
}


def look_up(case: Case, *, orders: Orders, terms: Terms) -> Brief:
    """What to answer where no refund of a named order is asked for: a clause, a fact, or a question back."""
    wants = case.triaged.wants
    checks = evidence.of_message(case.message)
    if wants == "thanks":
        return _brief(case, "thanks", terms=terms, checks=checks)
    if wants == "question":
        clause = _ANSWERS.get(case.triaged.topic)
        return _brief(
            case,
            "answer",
            terms=terms,
            clauses=[clause] if clause else [],
            facts=_whereabouts(case, orders),
            checks=(*checks, evidence.answered(bool(clause))),
        )
    return _brief(case, "ask_back", terms=terms, clauses=["G-1.1"], checks=checks)


def assess(case: Case, *, orders: Orders, terms: Terms, paid: Sequence[Entry[Refund]]) -> Brief:
    """What is refunded of the orders that a message names. Raises TermsIncomplete."""
    sender = case.message.sender
    known = [(number, orders.order(number)) for number in case.triaged.orders]
    strange = [number for number, order in known if order is None or order.customer != sender]
    own = [order for _, order in known if order is not None and order.customer == sender]
    checks = (*evidence.of_message(case.message), evidence.earlier(orders.of(sender), case, terms))
    if strange or not own:
        facts = tuple(f"{number} is no order of the address you write from." for number in strange)
        return _brief(case, "ask_back", terms=terms, clauses=["G-1.2"], facts=facts, checks=checks)
    findings = tuple(_Question(case=case, order=order, terms=terms, paid=paid).finding() for order in own)
    kind, clauses = _kind(findings), list(dict.fromkeys(finding.clause for finding in findings))
    return _brief(
        case,
        kind,
        terms=terms,
        clauses=clauses,
        findings=findings,
        checks=(*checks, *evidence.of_findings(case, own, findings, terms)),
    )


def settled(brief: Brief, amounts: dict[str, Decimal], terms: Terms) -> Brief:
    """The brief after payment: what was paid for each order is what the letter tells. `amounts` by order number."""
    findings = tuple(_as_paid(finding, amounts.get(finding.order, NOTHING)) for finding in brief.findings)
    return brief.model_copy(
        update={
            "kind": "refund" if any(finding.amount for finding in findings) else "refuse",
            "findings": findings,
            "clauses": _clauses([finding.clause for finding in findings], terms),
            "settled": True,
            "remarks": (),
        }
    )


def _as_paid(finding: Finding, amount: Decimal) -> Finding:
    if finding.amount == amount:
        return finding
    return finding.model_copy(update={"amount": amount, "clause": "A-6.5", "why": "a person has decided"})


def _kind(findings: Sequence[Finding]) -> str:
    if any(finding.amount for finding in findings):
        return "refund"
    return "ask_back" if any(finding.clause == "P-5.2" for finding in findings) else "refuse"


def _brief(
    case: Case,
    kind: str,
    *,
    terms: Terms,
    clauses: Sequence[str] = (),
    findings: tuple[Finding, ...] = (),
    facts: tuple[str, ...] = (),
    checks: tuple[Check, ...] = (),
) -> Brief:
    return Brief.model_validate(
        {
            "message": case.message,
            "triaged": case.triaged,
            "kind": kind,
            "findings": findings,
            "clauses": _clauses(clauses, terms),
            "facts": facts,
            "checks": checks,
            "limit": terms.money("A-6.1"),
        }
    )


def _clauses(numbers: Sequence[str], terms: Terms) -> tuple[Clause, ...]:
    return tuple(terms.clause(number) for number in dict.fromkeys(numbers))


def _whereabouts(case: Case, orders: Orders) -> tuple[str, ...]:
    """Where the sender's own orders are, of those that the message names."""
    named = [orders.order(number) for number in case.triaged.orders]
    own = [order for order in named if order and order.customer == case.message.sender]
    return tuple(_whereabout(order) for order in own)


def _whereabout(order: Order) -> str:
    if order.delivered:
        return f"{order.number} was delivered on {order.delivered}."
    return f"{order.number} was sent on {order.sent}." if order.sent else f"{order.number} is being packed."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """One order of a case, and what is known of it."""

    case: Case
    order: Order
    terms: Terms
    paid: Sequence[Entry[Refund]]

    @property
    def triaged(self) -> Triaged:
        return self.case.triaged

    @property
    def message(self) -> CustomerMessage:
        return self.case.message

    def finding(self) -> Finding:
        match self.triaged.cause:
            case "charged_twice":
                return self._charged_twice()
            case "not_arrived":
                return self._not_arrived()
            case "damaged" | "wrong_item":
                return self._damaged()
            case _:
                return self._unwanted()

    def _charged_twice(self) -> Finding:
        payments = self.order.payments
        if PAYMENT in self._refunded():
            return self._nothing("R-2.4", "the second payment was refunded before")
        if len(payments) < 2 or payments[0] != payments[1]:
            return self._nothing("P-5.2", "our books show one payment")
        return self._of(payments[1], (PAYMENT,), "P-5.1", "it was paid twice")

    def _not_arrived(self) -> Finding:
        order, items = self.order, tuple(line.item for line in self.order.lines)
        if set(items) & self._refunded():
            return self._nothing("R-2.4", "it was refunded before")
        if order.delivered:
            return self._of(order.total, items, "D-3.4", "the carrier says delivered, the customer has none")
        if order.sent is None or self._days_since(order.sent) < self.terms.days("D-3.3"):
            return self._nothing("D-3.3", f"sent {order.sent or 'not yet'}; it does not count as lost yet")
        return self._of(order.total, items, "D-3.3", f"sent on {order.sent} and lost")

    def _damaged(self) -> Finding:
        lines = self._lines_left()
        if not lines:
            return self._nothing("R-2.4", "it was refunded before")
        if self._days_since(self._had_it()) > self.terms.days("D-3.1"):
            return self._nothing(
                "D-3.1", f"delivered on {self._had_it()}, {self._days_since(self._had_it())} days ago"
            )
        amount = sum((line.price * self._pieces(line, lines) for line in lines), NOTHING)
        whole = all(line in lines and self._pieces(line, lines) == line.quantity for line in self.order.lines)
        amount += self.order.shipping if whole else NOTHING
        return self._of(amount, _items(lines), "D-3.1", "it arrived damaged, or is not what was ordered")

    def _unwanted(self) -> Finding:
        lines = self._lines_left()
        if not lines:
            return self._nothing("R-2.4", "it was refunded before")
        refused = {line.item: number for line in lines if (number := self._not_taken_back(line))}
        taken = [line for line in lines if line.item not in refused]
        if not taken:
            return self._nothing(next(iter(refused.values())), "it is not taken back")
        amount = sum((line.price * self._pieces(line, taken) for line in taken), NOTHING)
        downloads = all(line.category == "download" for line in taken)
        amount -= NOTHING if downloads else self.terms.money("R-2.2")
        if amount <= 0:
            return self._nothing("R-2.2", "the parcel costs more than it is worth")
        return self._of(amount, _items(taken), "S-4.1" if downloads else "R-2.2", "it is not wanted any more")

    def _not_taken_back(self, line: Line) -> str | None:
        """The clause by which a line is not taken back just because it is not wanted; None when it is."""
        if line.category == "download":
            if line.downloaded:
                return "S-4.2"
            late = self._days_since(self.order.ordered) > self.terms.days("S-4.1")
            return "S-4.1" if late else None
        if number := _NOT_TAKEN_BACK.get(line.category):
            return number
        late = self._days_since(self._had_it()) > self.terms.days("R-2.1")
        return "R-2.1" if late else None

    def _lines_left(self) -> list[Line]:
        """The lines the message is about (all, when it names none of them), less what was refunded before."""
        named = [line for line in self.order.lines if line.item in self.triaged.items]
        return [line for line in named or self.order.lines if line.item not in self._refunded()]

    def _pieces(self, line: Line, lines: Sequence[Line]) -> int:
        """How many of a line are meant. A number that the message names is only clear where one line is concerned."""
        meant = self.triaged.pieces
        if meant is None or len(lines) > 1 or len(self.triaged.orders) > 1:
            return line.quantity
        return min(meant, line.quantity)

    def _refunded(self) -> set[str]:
        before = {item for refund in self.order.refunds for item in refund.items}
        ours = (entry.content for entry in self.paid if entry.content.order == self.order.number)
        return before | {item for refund in ours for item in refund.items}

    def _had_it(self) -> date:
        """The day from which the customer had it: of a download, the day of the order."""
        return self.order.delivered or self.order.ordered

    def _days_since(self, day: date) -> int:
        return (self.message.received - day).days

    def _nothing(self, clause: str, why: str) -> Finding:
        return self._of(NOTHING, (), clause, why)

    def _of(self, amount: Decimal, items: tuple[str, ...], clause: str, why: str) -> Finding:
        return Finding(
            order=self.order.number,
            amount=amount,
            currency=self.order.currency,
            items=items,
            clause=clause,
            why=why,
        )


def _items(lines: Sequence[Line]) -> tuple[str, ...]:
    return tuple(line.item for line in lines)
