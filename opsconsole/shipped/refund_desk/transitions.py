"""The rules of the refund desk: which step follows which, and what it is given. Pure; no agent is asked.

read -> triage -> look_up | check -> draft <-> review -> pay -> settle -> (draft again) -> send -> end
"""

from opsconsole.shipped.refund_desk import outcomes
from opsconsole.shipped.refund_desk.contracts import (
    Brief,
    Case,
    Closed,
    Drafted,
    Paid,
    Reviewed,
    Sent,
    Settled,
    Settling,
    Triaged,
)
from runs.definitions import END, Edge, Trail

MOST_REDRAFTS = 2


def names_orders(triaged: Triaged) -> bool:
    return triaged.wants == "refund" and bool(triaged.orders)


def has_remarks(reviewed: Reviewed) -> bool:
    return bool(reviewed.remarks)


def owes(reviewed: Reviewed) -> bool:
    return reviewed.brief.kind == "refund" and not reviewed.brief.settled


def changed(settled: Settled) -> bool:
    return settled.changed


def case(trail: Trail) -> Case:
    return Case(message=trail.last("read"), triaged=trail.last("triage"))


def drafted(trail: Trail) -> Drafted:
    return Drafted(brief=_brief(trail), letter=trail.last("draft"))


def again(trail: Trail) -> Brief:
    """The brief once more, with what our style had against the last letter."""
    reviewed: Reviewed = trail.last("review")
    return reviewed.brief.model_copy(update={"remarks": reviewed.remarks})


def settling(trail: Trail) -> Settling:
    paid: Paid = trail.last("pay")
    return Settling(reviewed=trail.last("review"), paid=paid)


def as_paid(trail: Trail) -> Brief:
    settled: Settled = trail.last("settle")
    return settled.reviewed.brief


def to_send(trail: Trail) -> Reviewed:
    """The newest letter: the one that was reviewed, with what was paid since."""
    reviewed: Reviewed = trail.last("review")
    return reviewed.model_copy(update={"brief": _brief(trail)})


def closed(trail: Trail) -> Closed:
    sent: Sent = trail.last("send")
    return outcomes.closed(to_send(trail), sent)


def _brief(trail: Trail) -> Brief:
    if trail.outputs.get("settle"):
        return as_paid(trail)
    found: Brief = trail.last("check" if trail.outputs.get("check") else "look_up")
    return found


EDGES = (
    Edge(source="read", target="triage"),
    Edge(source="triage", target="check", when=names_orders, hand=case, says="a refund of named orders"),
    Edge(source="triage", target="look_up", hand=case, says="anything else"),
    Edge(source="look_up", target="draft"),
    Edge(source="check", target="draft"),
    Edge(source="draft", target="review", hand=drafted),
    Edge(source="review", target="draft", when=has_remarks, hand=again, most=MOST_REDRAFTS, says="again"),
    Edge(source="review", target="pay", when=owes, says="money is due"),
    Edge(source="review", target="send", hand=to_send, says="nothing to pay"),
    Edge(source="pay", target="settle", hand=settling),
    Edge(source="settle", target="draft", when=changed, hand=as_paid, most=1, says="a person changed it"),
    Edge(source="settle", target="send", hand=to_send, says="as drafted"),
    Edge(source="send", target=END, hand=closed),
)
