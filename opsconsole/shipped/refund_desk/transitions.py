"""The rules of the refund desk: which step follows which, and what it is given. Pure; no agent is asked.

read -> triage -> look_up | check -> phrases -> draft <-> review -> verify -> pay -> settle -> (phrases again) -> send
"""

from opsconsole.shipped.refund_desk import letters, outcomes, wording
from opsconsole.shipped.refund_desk import phrases as house
from opsconsole.shipped.refund_desk.contracts import (
    Brief,
    Case,
    Closed,
    Drafted,
    Occasion,
    Paid,
    Phrases,
    Reviewed,
    Sent,
    Settled,
    Settling,
    Triaged,
    Wording,
)
from runs.definitions import END, Edge, Trail

MOST_REDRAFTS = 2


def names_orders(triaged: Triaged) -> bool:
    return triaged.wants == "refund" and bool(triaged.orders)


def has_remarks(reviewed: Reviewed) -> bool:
    return bool(reviewed.remarks)


def owes(verified: Wording) -> bool:
    return verified.owed


def changed(settled: Settled) -> bool:
    return settled.changed


def case(trail: Trail) -> Case:
    return Case(message=trail.last("read"), triaged=trail.last("triage"))


def occasion(trail: Trail) -> Occasion:
    return house.occasion(_brief(trail))


def to_draft(trail: Trail) -> Brief:
    return _with_phrases(_brief(trail), trail)


def drafted(trail: Trail) -> Drafted:
    return Drafted(brief=_brief(trail), letter=trail.last("draft"))


def again(trail: Trail) -> Brief:
    """The brief once more, with what our style had against the last letter."""
    reviewed: Reviewed = trail.last("review")
    return _with_phrases(reviewed.brief.model_copy(update={"remarks": reviewed.remarks}), trail)


def to_verify(trail: Trail) -> Wording:
    """Every sentence of the letter, before money or the letter leaves."""
    reviewed: Reviewed = trail.last("review")
    return wording.sentences(to_draft(trail), reviewed.letter, _found_by(trail))


def verified(trail: Trail) -> Reviewed:
    """What was reviewed, with the sentences that stand; the style is looked at again where a person changed them."""
    reviewed: Reviewed = trail.last("review")
    letter = wording.together(reviewed.letter, trail.last("verify"))
    if letter.body == reviewed.letter.body.strip():
        return reviewed
    return Reviewed(brief=reviewed.brief, letter=letter, remarks=letters.remarks(reviewed.brief, letter))


def settling(trail: Trail) -> Settling:
    paid: Paid = trail.last("pay")
    return Settling(reviewed=verified(trail), paid=paid)


def as_paid(trail: Trail) -> Brief:
    settled: Settled = trail.last("settle")
    return settled.reviewed.brief


def to_send(trail: Trail) -> Reviewed:
    """The newest letter: the one that was verified, with what was paid since."""
    return verified(trail).model_copy(update={"brief": _brief(trail)})


def closed(trail: Trail) -> Closed:
    sent: Sent = trail.last("send")
    return outcomes.closed(to_send(trail), sent)


def _brief(trail: Trail) -> Brief:
    if trail.outputs.get("settle"):
        return as_paid(trail)
    found: Brief = trail.last(_found_by(trail))
    return found


def _found_by(trail: Trail) -> str:
    return "check" if trail.outputs.get("check") else "look_up"


def _with_phrases(brief: Brief, trail: Trail) -> Brief:
    told: Phrases = trail.last("phrases")
    return brief.model_copy(update={"phrases": told.phrases})


EDGES = (
    Edge(source="read", target="triage"),
    Edge(source="triage", target="check", when=names_orders, hand=case, says="a refund of named orders"),
    Edge(source="triage", target="look_up", hand=case, says="anything else"),
    Edge(source="look_up", target="phrases", hand=occasion),
    Edge(source="check", target="phrases", hand=occasion),
    Edge(source="phrases", target="draft", hand=to_draft),
    Edge(source="draft", target="review", hand=drafted),
    Edge(source="review", target="draft", when=has_remarks, hand=again, most=MOST_REDRAFTS, says="again"),
    Edge(source="review", target="verify", hand=to_verify),
    Edge(source="verify", target="pay", when=owes, hand=verified, says="money is due"),
    Edge(source="verify", target="send", hand=to_send, says="nothing to pay"),
    Edge(source="pay", target="settle", hand=settling),
    Edge(source="settle", target="phrases", when=changed, hand=occasion, most=1, says="a person changed it"),
    Edge(source="settle", target="send", hand=to_send, says="as drafted"),
    Edge(source="send", target=END, hand=closed),
)
