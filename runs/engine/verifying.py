"""A verify step: claims held against their evidence by us, then by somebody independent. What does not stand goes to
a person and to nobody else. Routes nothing; what quotations are worth is `runs.guards.grounding`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from runs.canonical import plain
from runs.claims import Claims, Passage, Statement, ToVerify, Verdict, Verdicts, a_person, without
from runs.definitions import Agent, Node, Verifies
from runs.engine import agent_turns, contracts, evidence, isolated
from runs.engine.claimed import Claimed
from runs.engine.outcomes import Asked, Failed, Outcome, Output
from runs.engine.questions import Asking
from runs.engine.worker.flights import Flight
from runs.errors import ContractBroken
from runs.guards.grounding import Evidence, Lack, lacking
from runs.models import QuestionKind, Step
from runs.models.question import BACK_TO

OPEN = "open"  # in the action: the claims that do not stand, by their number from 0
_MOST_EVENTS = 20  # of one verify step; the card has all


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A claim that does not stand, and what is missing: in its quotations, or in the eyes of the verifier."""

    number: int
    text: str
    lacks: tuple[Lack, ...] = ()
    why: str = ""

    @property
    def data(self) -> dict[str, Any]:
        lacks = [{"source": one.source, "quote": one.quote, "why": one.why} for one in self.lacks]
        return {"number": self.number, "text": self.text, "lacks": lacks, "why": self.why}

    @property
    def says(self) -> str:
        found = self.lacks[0] if self.lacks else Lack(why=self.why)
        quoted = f" “{found.quote[:120]}” of {found.source[:80]}:" if found.quote else ""
        return f"Claim {self.number + 1}, “{self.text[:160]}”:{quoted} {found.why}"


def perform(claimed: Claimed, flight: Flight, given: BaseModel) -> Outcome:
    """How a verify step's attempt ended. Raises what its function raises."""
    value = given
    if claimed.stand_in.refused:
        again = agent_turns.perform(claimed, flight, _agent(claimed), given)
        if not isinstance(again, Output):
            return _without_value(again)
        value = again.value
    assert isinstance(value, Claims), "a check refuses other contracts"
    known = evidence.of(claimed.step, _verifies(claimed.node))
    lacks = [lacking(claim, known) for claim in value.claims]
    judged = _judged(claimed, flight, _to_verify(value, lacks, known))
    if not isinstance(judged, Verdicts):
        return judged
    doubts = _doubts(value, lacks, judged.verdicts)
    if not doubts:
        return Output(value=contracts.accepted(claimed, value))
    return Asked(asking=_asking(claimed, value, doubts))


def doubted(
    step: Step, node: Node, value: Claims, before: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The claims of a person's edit that do not stand. What the verifier said holds on for a claim that was left as it
    was (`before`: the doubts on the card)."""
    known = evidence.of(step, _verifies(node))
    said = {one["text"]: str(one["why"]) for one in before}
    found = [
        Doubt(number=number, text=claim.text, lacks=lacking(claim, known), why=said.get(claim.text, ""))
        for number, claim in enumerate(value.claims)
    ]
    return [one.data for one in found if one.lacks or one.why]


def open_numbers(action: Mapping[str, Any]) -> tuple[int, ...]:
    """The claims of an action that do not stand, by their number."""
    return tuple(one["number"] for one in action.get(OPEN, ()))


def decided(action: Mapping[str, Any], confirmed: Collection[int]) -> dict[str, Any]:
    """The action when of the open claims these are confirmed and the others dropped."""
    dropped = [number for number in open_numbers(action) if number not in confirmed]
    return {**action, "value": without(action["value"], dropped)}


def _verifies(node: Node) -> Verifies:
    assert node.verifies is not None, "only verify steps come here"
    return node.verifies


def _agent(claimed: Claimed) -> Agent:
    assert isinstance(claimed.work, Agent), "claims are sent back to agents only"
    return claimed.work


def _to_verify(value: Claims, lacks: Sequence[tuple[Lack, ...]], known: Evidence) -> ToVerify:
    """The claims whose quotations occur, with what stands round them."""
    return ToVerify(
        statements=tuple(
            Statement(
                number=number,
                text=claim.text,
                claim=claim.model_dump(mode="json"),
                passages=tuple(
                    Passage(
                        source=quote.source, quote=quote.text, text=_passage(known, quote.source, quote.text)
                    )
                    for quote in claim.quotes
                ),
            )
            for number, claim in enumerate(value.claims)
            if not lacks[number]
        )
    )


def _passage(known: Evidence, name: str, quote: str) -> str:
    return next(filter(None, (one.passage(quote) for one in known.named(name))), "")


def _judged(claimed: Claimed, flight: Flight, asked: ToVerify) -> Verdicts | Outcome:
    """What the verifier says of every statement. It is not asked when there is nothing left to say."""
    if not asked.statements:
        return Verdicts(verdicts=())
    work = claimed.node.work if claimed.stand_in.refused else claimed.work
    if isinstance(work, Agent):
        ended = agent_turns.answer(
            claimed, flight, work, asked, Verdicts, lambda found: _one_each(asked, found)
        )
        if isinstance(ended, Output):
            return _as_verdicts(ended.value)
        return _without_value(ended)
    said = isolated.perform(claimed, flight, work, asked) if claimed.node.isolated else work(asked)
    with contracts.telling(claimed, f"node {claimed.node.name}"):
        found = contracts.as_contract(Verdicts, said, what="verdicts")
        _one_each(asked, found)
    return _as_verdicts(found)


def _without_value(ended: Outcome) -> Outcome:
    """No person mends a broken answer here: it would pass for verified."""
    return replace(ended, rejected=None) if isinstance(ended, Failed) else ended


def _as_verdicts(value: BaseModel) -> Verdicts:
    assert isinstance(value, Verdicts)
    return value


def _one_each(asked: ToVerify, found: BaseModel) -> None:
    """Raise ContractBroken unless every statement has exactly one verdict."""
    numbers = sorted(one.number for one in _as_verdicts(found).verdicts)
    wanted = sorted(one.number for one in asked.statements)
    if numbers != wanted:
        raise ContractBroken(
            f"verdicts: they are about claims {numbers}, asked was {wanted}", where="verdicts"
        )


def _doubts(
    value: Claims, lacks: Sequence[tuple[Lack, ...]], verdicts: Sequence[Verdict]
) -> tuple[Doubt, ...]:
    against = {
        one.number: one.why or "The verifier does not see it there." for one in verdicts if not one.holds
    }
    return tuple(
        Doubt(number=number, text=claim.text, lacks=lacks[number], why=against.get(number, ""))
        for number, claim in enumerate(value.claims)
        if lacks[number] or number in against
    )


def _many(doubts: Sequence[Doubt], value: Claims) -> str:
    number = len(value.claims)
    return f"{len(doubts)} of {number} claims" if number != 1 else "The only claim"


def _need(doubts: Sequence[Doubt], node: Node) -> str:
    if node.work is a_person and not any(one.lacks for one in doubts):
        return "must be verified by a person"
    return "cannot be verified"


def _asking(claimed: Claimed, value: Claims, doubts: tuple[Doubt, ...]) -> Asking:
    node, verifies = claimed.node, _verifies(claimed.node)
    back_to, first = verifies.back_to, doubts[0]
    where = f"claims.{first.number}"
    return Asking(
        kind=QuestionKind.CLAIMS,
        title=f"{_many(doubts, value)} of {', '.join(verifies.nodes)} {_need(doubts, node)}",
        reason=f"{node.name} lets no claim go on that its evidence does not show",
        action={
            "contract": node.name,
            "value": plain(value),
            OPEN: [one.data for one in doubts],
            "where": where,
            "error": first.says,
            BACK_TO: back_to.name if back_to else "",
        },
        contract=node.name,
        group=f"Claims to verify: {node.name}",
        priority=verifies.priority,
        deadline_seconds=verifies.deadline_seconds,
        found=tuple(
            {
                "guard": "verify",
                "mode": "enforce",
                "scope": f"node {node.name}",
                "limit": 0,
                "cap": 0,
                "value": len(doubts),
                "says": one.says,
            }
            for one in doubts[:_MOST_EVENTS]
        ),
    )
