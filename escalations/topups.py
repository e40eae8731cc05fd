"""Topping up: allowing more than a limit does, on one account, for the card that asked or without one.

The limit itself stays as it is. Above what one person may allow alone (the settings' amounts, as for limits: the cap
with every top-up that holds) it is proposed, and an admin other than who proposed it must agree. What a run does with
its room is the engine's business: the same call asks again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet

from escalations import decisions, locked, proposals, top_up_plans
from escalations.audit.record import Subject, about_escalation, append
from escalations.audit.refused import Given, Named, recorded
from escalations.claims import on_escalation
from escalations.expected import IllegalMove, Invalid, NotAllowed
from escalations.models import Decision, Escalation, ProposalState, TopUpProposal
from escalations.roles import Act, Actor, Role, name_of, require, roles_of
from escalations.texts import cut_text, given_text
from escalations.top_up_plans import Place, TopUpPlan, about
from runs.engine import answers
from runs.engine.record import now
from runs.engine.spend import budgets
from runs.models import Question, QuestionState, Verb

EXPIRED = "top up proposal expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """Nothing has changed yet: an admin must agree."""

    proposal: TopUpProposal


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """How much more is allowed on an account, in its kind's unit; `until` None: as long as it counts."""

    account: int
    amount: int
    until: datetime | None


def _on_account(given: Given) -> Named:
    return Act.TOP_UP_BUDGET, about(given["account_id"])


def _on_proposal(act: Act) -> Callable[[Given], Named]:
    def named(given: Given) -> Named:
        found = TopUpProposal.objects.filter(pk=given["proposal_id"]).first()
        known = about(found.account_id) if found else None
        return act, known or Subject(target=f"top-up proposal {given['proposal_id']}")

    return named


@recorded(on_escalation(Act.TOP_UP))
@transaction.atomic(durable=True)
def top_up(
    *, actor: Actor, escalation_id: int, version: int, digest: str, amount: str, until: str = "", reason: str
) -> Decision | Proposed:
    """Answer the card of a used-up cap: `amount` more, in the kind's unit as people write it, at least what the call
    lacks; `until` a moment (UTC), empty for as long as the account counts. The run goes on at the same call.

    Raises NotAllowed, NotThere, AlreadyDecided, Changed, IllegalMove (held by somebody else, too late, its period is
    over, proposed already), Invalid with every wrong field.
    """
    require(actor, Act.TOP_UP)
    escalation, question = decisions.ready(actor, escalation_id, version, digest)
    locked.must_be_in_time(escalation, question)
    decisions.must_answer(question, Verb.TOP_UP)
    place = top_up_plans.place_asked(question)
    plan = top_up_plans.written(place, amount, until, reason)
    _must_cover_the_call(plan)
    if plan.needs_another:
        return _propose(actor, plan, question, about_escalation(escalation))
    return _answered(actor, escalation, plan)


@recorded(_on_account)
@transaction.atomic(durable=True)
def top_up_budget(
    *, actor: Actor, account_id: int, amount: str, until: str = "", reason: str, seen: str = ""
) -> Added | Proposed:
    """Allow more on an account before anybody asks. Cards about it that have room then are taken back by themselves.
    `seen` is the number of the newest top-up that the form showed, so that a form sent twice adds once; without it
    nothing is compared.

    Raises NotAllowed, NotThere, IllegalMove (nothing is enforced there, its period is over, or it was topped up since),
    Invalid.
    """
    require(actor, Act.TOP_UP_BUDGET)
    place = top_up_plans.place_of(account_id)
    top_up_plans.must_be_as_seen(account_id, seen)
    plan = top_up_plans.written(place, amount, until, reason)
    if plan.needs_another:
        return _propose(actor, plan, None, about(account_id))
    plan.perform(made_by=name_of(actor))
    _reconsider_later()
    subject = about(account_id)
    append(actor=actor, act=Act.TOP_UP_BUDGET, subject=subject, reason=plan.reason, details=plan.details)
    return Added(account=account_id, amount=plan.amount, until=plan.until)


@recorded(_on_proposal(Act.AGREE_TOP_UP))
@transaction.atomic(durable=True)
def agree(*, actor: Actor, proposal_id: int, digest: str, reason: str = "") -> Decision | Added:
    """Let happen what somebody else proposed, exactly as it was shown.

    Raises NotAllowed, NotThere, IllegalMove (one's own, closed, expired, its card is closed, or it would come to other
    than was shown).
    """
    require(actor, Act.AGREE_TOP_UP)
    reason = given_text("reason", reason)
    proposal = proposals.still_open(TopUpProposal, proposal_id, now())
    _must_be_anothers(proposal, actor)
    escalation = _escalation_of(proposal)
    if escalation is None:
        place = top_up_plans.place_of(proposal.account_id)
    else:
        place = top_up_plans.place_asked(escalation.question)
    # last: whoever proposes holds the account before it
    proposal = proposals.still_open(TopUpProposal, proposal_id, now(), lock=True)
    proposals.must_be_as_shown(proposal, digest)
    plan = _plan_of(proposal, place)
    proposals.close(proposal, ProposalState.AGREED, actor, now())
    if escalation is not None:
        return _answered(actor, escalation, plan, proposal=proposal, text=reason)
    plan.perform(made_by=name_of(proposal.by), agreed_by=name_of(actor))
    _reconsider_later()
    details = plan.details | proposals.agreed_details(proposal)
    subject = about(proposal.account_id)
    append(actor=actor, act=Act.AGREE_TOP_UP, subject=subject, reason=reason, details=details)
    return Added(account=proposal.account_id, amount=plan.amount, until=plan.until)


@recorded(_on_proposal(Act.DECLINE_TOP_UP))
@transaction.atomic(durable=True)
def decline(*, actor: Actor, proposal_id: int, reason: str = "") -> TopUpProposal:
    """Close a proposal without doing it: an admin's, or whose it is. Needs no reason.

    Raises NotAllowed, NotThere, IllegalMove when it is closed.
    """
    require(actor, Act.DECLINE_TOP_UP)
    reason = cut_text(reason)
    proposal = proposals.still_open(TopUpProposal, proposal_id, now(), lock=True)
    if proposal.by != actor and Role.ADMIN not in roles_of(actor):
        raise NotAllowed(
            f"{name_of(actor)} may not decline what {name_of(proposal.by)} proposed: admins may."
        )
    proposals.close(proposal, ProposalState.DECLINED, actor, now())
    append(
        actor=actor,
        act=Act.DECLINE_TOP_UP,
        subject=about(proposal.account_id),
        reason=reason,
        details=proposals.closed_details(proposal),
    )
    return proposal


@transaction.atomic(durable=True)
def expire() -> int:
    """Close proposals that nobody agreed to in time, and those whose card is closed; how many. Called by the clock."""
    waiting = proposals.open_of(TopUpProposal)
    _overtake(waiting, now())
    return _expire(waiting, now(), skip_locked=True)


def _expire(waiting: QuerySet[TopUpProposal], at: datetime, *, skip_locked: bool = False) -> int:
    late = waiting.filter(expires_at__lte=at).order_by("pk")
    rows = late.select_for_update(of=("self",), skip_locked=skip_locked)
    return proposals.expire(rows, act=EXPIRED, about=lambda proposal: about(proposal.account_id))


def _overtake(waiting: QuerySet[TopUpProposal], at: datetime) -> None:
    """Close those whose card is closed."""
    overtaken = waiting.exclude(question=None).exclude(question__state=QuestionState.OPEN)
    overtaken.update(state=ProposalState.OVERTAKEN, closed_at=at)


def _must_cover_the_call(plan: TopUpPlan) -> None:
    standing = plan.place.standing
    if plan.amount < standing.lacks:
        least = standing.words(standing.lacks)
        raise Invalid([("amount", f"At least {least}: so much does this call lack now.")])


def _plan_of(proposal: TopUpProposal, place: Place) -> TopUpPlan:
    """What was proposed, now. Raises IllegalMove when its time has passed, or it comes to other than was shown."""
    plan = TopUpPlan(place=place, amount=proposal.amount, until=proposal.until, reason=proposal.reason)
    if plan.until is not None and plan.until <= now():
        raise IllegalMove("The time for which more was proposed has passed: decline it.")
    if place.account.pk != proposal.account_id or plan.allows != proposal.allows:
        raise IllegalMove(
            f"It would now allow {plan.allows}, and was shown to allow {proposal.allows}: decline it, and it can be "
            "proposed again. Nothing was done."
        )
    return plan


def _answered(
    actor: Actor,
    escalation: Escalation,
    plan: TopUpPlan,
    *,
    proposal: TopUpProposal | None = None,
    text: str = "",
) -> Decision:
    """The amount is there and its card is answered, both or neither; with `proposal`, by who agrees to it."""
    question, me = escalation.question, name_of(actor)
    if proposal is None:
        plan.perform(made_by=me, question=question)
    else:
        plan.perform(made_by=name_of(proposal.by), agreed_by=me, question=question)
    answer = {"amount": plan.amount, "until": plan.until.isoformat() if plan.until else None}
    answers.answer(question, verb=Verb.TOP_UP, answer=answer, text=plan.reason, by=me)
    _reconsider_later()
    before, after = plan.cap
    return decisions.closed(
        actor,
        escalation,
        question,
        text=text or plan.reason,
        before={"cap": before},
        after={"cap": after},
        act=Act.AGREE_TOP_UP if proposal else None,
        more=plan.details | (proposals.agreed_details(proposal) if proposal else {}),
    )


def _propose(actor: Actor, plan: TopUpPlan, question: Question | None, subject: Subject) -> Proposed:
    require(actor, Act.PROPOSE_TOP_UP)
    assert isinstance(actor, User), "the role table lets only signed-in people propose"
    at, account = now(), plan.place.account
    standing = proposals.open_of(TopUpProposal, account=account)
    _overtake(standing.exclude(expires_at__lte=at), at)
    _expire(standing, at)  # before the clock does: what stood there ends with an entry all the same
    proposal = proposals.opened(
        TopUpProposal(
            account=account,
            question=question,
            amount=plan.amount,
            until=plan.until,
            allows=plan.allows,
            reason=plan.reason,
            by=actor,
        ),
        standing,
        at,
        says="to top this up: an admin must agree to that or decline it first.",
    )
    details = plan.details | proposals.opened_details(proposal)
    append(actor=actor, act=Act.PROPOSE_TOP_UP, subject=subject, reason=plan.reason, details=details)
    return Proposed(proposal=proposal)


def _escalation_of(proposal: TopUpProposal) -> Escalation | None:
    """The open card that a proposal is about, its run's row locked; None when it is about none."""
    if proposal.question_id is None:
        return None
    number = Escalation.objects.values_list("pk", flat=True).get(question=proposal.question_id)
    escalation, question = locked.with_run(number)
    locked.must_be_open(escalation)
    locked.must_be_in_time(escalation, question)
    return escalation


def _must_be_anothers(proposal: TopUpProposal, actor: Actor) -> None:
    """Two people, the one an admin now, the other still one who may top up."""
    proposals.must_be_anothers(proposal, actor)
    require(proposal.by, Act.PROPOSE_TOP_UP, "propose top-ups any more")


def _reconsider_later() -> None:
    """After the commit: cards that have room now are taken back. The sweep does it too, whatever happens here."""

    def look() -> None:
        budgets.reconsider()

    transaction.on_commit(look, robust=True)
