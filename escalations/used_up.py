"""What the card of a used-up cap shows beside the rest: figures now, proposals of amounts, who else is blocked. Reads
only; topping up is `topups`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from escalations import proposals, top_up_plans
from escalations.models import Escalation, EscalationState, TopUpProposal
from runs.engine import limits
from runs.engine.spend import room
from runs.engine.spend.room import Standing
from runs.limits.kinds import TABLE, LimitKind, Window
from runs.limits.kinds import used_up as clause
from runs.limits.units import EXAMPLES, shown
from runs.models import Question, QuestionKind, QuestionState
from runs.shown import counted

MOST_BESIDE = 50  # cards of the same cause that one form tops up


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """An amount to choose: as it is sent, and why one would."""

    amount: str
    words: str
    alone: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedUp:
    """A used-up cap as it stands now. `blocked`: runs that wait for the same account, this one among them, counted to
    counted.MOST; `beside`: other open cards of the same cause, each of which has an account of its own."""

    standing: Standing
    offers: tuple[Offer, ...]
    proposal: TopUpProposal | None
    blocked: int
    beside: tuple[Escalation, ...]
    alone: str
    example: str

    @property
    def shared(self) -> bool:
        """Whether other runs count against the same account."""
        return self.standing.window is not Window.RUN

    @property
    def most(self) -> int:
        """The end of the bar: whatever is larger, the cap or what is used with what is needed."""
        return max(self.standing.cap or 0, self.standing.used + self.standing.need, 1)

    @property
    def looked_for(self) -> str:
        """The words by which the inbox finds the others."""
        return clause(self.standing.kind, self.standing.what, self.standing.scope_words)

    @property
    def seen(self) -> str:
        """The other cards with what was shown of them, for the form: "12:1:digest 13:1:digest"."""
        return " ".join(f"{one.pk}:{one.version}:{one.digest}" for one in self.beside)


def added(question: Question) -> str:
    """How much more the card's answer allowed, as people read it; empty when it was another answer, or none yet."""
    amount = question.answer.get("amount") if isinstance(question.answer, dict) else None
    if question.kind != QuestionKind.LIMIT or not isinstance(amount, int):
        return ""
    return shown(TABLE[LimitKind(question.action["guard"])].unit, amount)


def used_up(escalation: Escalation, at: datetime) -> UsedUp:
    """Of the open card of a used-up cap; its question, run and team are loaded. About six queries."""
    question = escalation.question
    standing = room.of_question(question, limits.current(), at)
    most = top_up_plans.most_alone(standing)
    unit = TABLE[standing.kind].unit
    return UsedUp(
        standing=standing,
        offers=_offers(standing),
        proposal=_proposal(standing, at),
        blocked=_blocked(question, standing),
        beside=_beside(escalation) if standing.window is Window.RUN else (),
        alone="" if most is None else shown(unit, most),
        example=EXAMPLES[unit].rpartition("such as ")[2],
    )


def seen_beside(given: str) -> tuple[Mapping[str, int | str], ...]:
    """The other cards that a form showed, as the acts take them. What is no such text is nothing."""
    found: list[Mapping[str, int | str]] = []
    for part in given.split()[:MOST_BESIDE]:
        number, _, rest = part.partition(":")
        version, _, digest = rest.partition(":")
        if number.isdecimal() and version.isdecimal() and len(number) < 19 and len(version) < 9:
            found.append({"escalation_id": int(number), "version": int(version), "digest": digest[:64]})
    return tuple(found)


def _offers(standing: Standing) -> tuple[Offer, ...]:
    """What this call lacks, that with nine such calls more, a quarter of the cap, as much again: each once, and enough
    for the call."""
    if standing.row is None:
        return ()
    cap, least = standing.row.value, max(standing.lacks, 1)
    found: dict[int, str] = {least: "what this call lacks"}
    ten = least + 9 * standing.need
    others = ((ten, "for ten such calls"), (-(-cap // 4), "a quarter of the limit"), (cap, "as much again"))
    for amount, words in others:
        if amount >= least:
            found.setdefault(amount, words)
    return tuple(
        Offer(amount=standing.words(amount), words=words, alone=not top_up_plans.above(standing, amount))
        for amount, words in sorted(found.items())
    )


def _proposal(standing: Standing, at: datetime) -> TopUpProposal | None:
    if standing.account is None:
        return None
    return proposals.waiting(TopUpProposal, at).filter(account=standing.account).first()


def _blocked(question: Question, standing: Standing) -> int:
    if standing.window is Window.RUN:
        return 1
    asked = Question.objects.filter(kind=QuestionKind.LIMIT, state=QuestionState.OPEN, group=question.group)
    return counted.up_to(runs=asked)["runs"]


def _beside(escalation: Escalation) -> tuple[Escalation, ...]:
    same = Escalation.objects.filter(
        state=EscalationState.OPEN,
        question__kind=QuestionKind.LIMIT,
        question__state=QuestionState.OPEN,
        question__group=escalation.question.group,
        run__workflow=escalation.run.workflow,
    )
    return tuple(same.exclude(pk=escalation.pk).order_by("pk")[:MOST_BESIDE])
