"""Topping up: allowing more than a limit does, on one account, for the card that asked or without one.

The limit itself stays as it is. Above what one person may allow alone (the settings' amounts, as for limits: the cap
with every top-up that holds) it is proposed, and an admin other than who proposed it must agree. What a run does with
its room is the engine's business: the same call asks again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from escalations import decisions, locked
from escalations.audit.record import Subject, about_escalation, append
from escalations.audit.refused import Given, Named, recorded
from escalations.changes import Change
from escalations.claims import on_escalation
from escalations.expected import IllegalMove, Invalid, NotAllowed, NotThere, clock
from escalations.models import Decision, Escalation, ProposalState, TopUpProposal
from escalations.roles import Act, Actor, Role, name_of, require, roles_of
from escalations.texts import cut_text, given_text
from runs.canonical import digest as digest_of
from runs.engine import answers, budgets, limits, room
from runs.engine.record import now
from runs.engine.room import Standing
from runs.limits.kinds import TABLE, LimitKind
from runs.limits.rows import moment_words
from runs.limits.units import MOST, WrongValue, read
from runs.models import Account, Question, QuestionState, TopUp, Verb

MOST_EXPIRED = 50  # proposals that are closed in one turn
EXPIRED = "top up proposal expired"
WHY = "Say why more is allowed."


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A top-up as it was written."""

    amount: int
    until: datetime | None
    reason: str


def _on_account(given: Given) -> Named:
    return Act.TOP_UP_BUDGET, about_account(given["account_id"])


def _on_proposal(act: Act) -> Callable[[Given], Named]:
    def named(given: Given) -> Named:
        found = TopUpProposal.objects.filter(pk=given["proposal_id"]).first()
        known = about_account(found.account_id) if found else None
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
    standing, account = _locked_account(question)
    wanted = _read(standing, amount, until, reason)
    if wanted.amount < standing.lacks:
        least = standing.words(standing.lacks)
        raise Invalid([("amount", f"At least {least}: so much does this call lack now.")])
    if above(standing, wanted.amount):
        return _propose(actor, standing, account, wanted, question, about_escalation(escalation))
    return _answered(actor, escalation, question, standing, account, wanted)


@recorded(_on_account)
@transaction.atomic(durable=True)
def top_up_budget(
    *, actor: Actor, account_id: int, amount: str, until: str = "", reason: str
) -> Added | Proposed:
    """Allow more on an account before anybody asks. Cards about it that have room then are taken back by themselves.

    Raises NotAllowed, NotThere, IllegalMove (nothing is enforced there, or its period is over), Invalid.
    """
    require(actor, Act.TOP_UP_BUDGET)
    account = _account(account_id)
    standing = standing_of(account)
    wanted = _read(standing, amount, until, reason)
    if above(standing, wanted.amount):
        return _propose(actor, standing, account, wanted, None, about_account(account.pk))
    _add(account, wanted, made_by=name_of(actor))
    _reconsider_later()
    append(
        actor=actor,
        act=Act.TOP_UP_BUDGET,
        subject=about_account(account.pk),
        reason=wanted.reason,
        details=_details(standing, account, wanted),
    )
    return Added(account=account.pk, amount=wanted.amount, until=wanted.until)


@recorded(_on_proposal(Act.AGREE_TOP_UP))
@transaction.atomic(durable=True)
def agree(*, actor: Actor, proposal_id: int, digest: str, reason: str = "") -> Decision | Added:
    """Let happen what somebody else proposed, exactly as it was shown.

    Raises NotAllowed, NotThere, IllegalMove (one's own, closed, expired, its card is closed, or it would come to other
    than was shown).
    """
    require(actor, Act.AGREE_TOP_UP)
    reason = given_text("reason", reason)
    proposal = _open_proposal(proposal_id)
    _must_be_anothers(proposal, actor)
    escalation = _escalation_of(proposal)
    if escalation is None:
        account = _account(proposal.account_id)
        standing = standing_of(account)
    else:
        standing, account = _locked_account(escalation.question)
    proposal = _open_proposal(proposal_id, lock=True)  # last: whoever proposes holds the account before it
    if digest != proposal.digest or digest != sealed(proposal):
        raise IllegalMove("This is not the proposal that was shown. Nothing was done.")
    wanted = _Wanted(amount=proposal.amount, until=proposal.until, reason=proposal.reason)
    if wanted.until is not None and wanted.until <= now():
        raise IllegalMove("The time for which more was proposed has passed: decline it.")
    if account.pk != proposal.account_id or allows(standing, wanted.amount) != proposal.allows:
        told = allows(standing, wanted.amount)
        raise IllegalMove(
            f"It would now allow {told}, and was shown to allow {proposal.allows}: decline it, and it can be proposed "
            "again. Nothing was done."
        )
    _close(proposal, ProposalState.AGREED, actor)
    asked = {"proposal": proposal.pk, "proposed_by": name_of(proposal.by)}
    if escalation is not None:
        return _agreed(actor, escalation, standing, account, wanted, proposal, reason, asked)
    _add(account, wanted, made_by=name_of(proposal.by), agreed_by=name_of(actor))
    _reconsider_later()
    details = _details(standing, account, wanted) | asked | {"proposed_because": proposal.reason}
    subject = about_account(account.pk)
    append(actor=actor, act=Act.AGREE_TOP_UP, subject=subject, reason=reason, details=details)
    return Added(account=account.pk, amount=wanted.amount, until=wanted.until)


@recorded(_on_proposal(Act.DECLINE_TOP_UP))
@transaction.atomic(durable=True)
def decline(*, actor: Actor, proposal_id: int, reason: str = "") -> TopUpProposal:
    """Close a proposal without doing it: an admin's, or whose it is. Needs no reason.

    Raises NotAllowed, NotThere, IllegalMove when it is closed.
    """
    require(actor, Act.DECLINE_TOP_UP)
    reason = cut_text(reason)
    proposal = _open_proposal(proposal_id, lock=True)
    if proposal.by != actor and Role.ADMIN not in roles_of(actor):
        raise NotAllowed(
            f"{name_of(actor)} may not decline what {name_of(proposal.by)} proposed: admins may."
        )
    _close(proposal, ProposalState.DECLINED, actor)
    append(
        actor=actor,
        act=Act.DECLINE_TOP_UP,
        subject=about_account(proposal.account_id),
        reason=reason,
        details={"proposal": proposal.pk, "proposed_by": name_of(proposal.by)},
    )
    return proposal


@transaction.atomic(durable=True)
def expire() -> int:
    """Close proposals that nobody agreed to in time, and those whose card is closed; how many. Called by the clock."""
    waiting = TopUpProposal.objects.filter(state=ProposalState.OPEN)
    late = waiting.filter(expires_at__lte=now())
    overtaken = waiting.exclude(question=None).exclude(question__state=QuestionState.OPEN)
    overtaken.update(state=ProposalState.OVERTAKEN, closed_at=now())
    closed = list(late.select_for_update(of=("self",), skip_locked=True).order_by("pk")[:MOST_EXPIRED])
    for proposal in closed:
        _close(proposal, ProposalState.EXPIRED, None)
    for proposal in closed:
        details = {"proposal": proposal.pk, "proposed_by": name_of(proposal.by)}
        append(actor=None, act=EXPIRED, subject=about_account(proposal.account_id), details=details)
    return len(closed)


def standing_of(account: Account) -> Standing:
    """How an account stands now. Raises IllegalMove when no limit is enforced there, or its period is over."""
    found = room.of_account(account, limits.current(), now())
    if found is None:
        raise IllegalMove("What this account counted is over: a new one began. Nothing was done.")
    if found.row is None:
        raise IllegalMove("No limit is enforced there: there is nothing to top up.")
    return found


def above(standing: Standing, amount: int) -> bool:
    """Whether nobody may allow it alone: the cap, with what was added already and this, passes the settings' amount."""
    what = (standing.kind, standing.window)
    most = settings.LIMITS_ALONE.get(what, TABLE[standing.kind].alone.get(standing.window))
    return most is not None and (standing.cap or 0) + amount > most


def allows(standing: Standing, amount: int) -> str:
    """What a top-up comes to, as a clause: "turns of this run: from 12 to 20"."""
    cap = standing.cap or 0
    return f"{standing.what} of {standing.scope_words}: from {standing.words(cap)} to {standing.words(cap + amount)}"


def about_account(account_id: int) -> Subject:
    """The subject of an entry about an account that may not exist."""
    found = Account.objects.filter(pk=account_id).first()
    if found is None:
        return Subject(target=f"account {account_id}")
    named = found.scope if found.scope_kind != "organisation" else ""
    run = f" of run {found.run_id}" if found.run_id else ""
    target = f"account {found.pk}: {found.kind} a {found.window} of {found.scope_kind} {named}".strip() + run
    return Subject(
        target=target,
        run_id=found.run_id or None,
        workflow=named if found.scope_kind == "workflow" else "",
        team=named if found.scope_kind == "team" else "",
    )


def sealed(proposal: TopUpProposal) -> str:
    """The digest of what a second person agrees to."""
    made: str = digest_of(
        {
            "account": proposal.account_id,
            "question": proposal.question_id,
            "amount": proposal.amount,
            "until": proposal.until.isoformat() if proposal.until else None,
            "allows": proposal.allows,
            "reason": proposal.reason,
            "by": proposal.by_id,
        }
    )
    return made


def _locked_account(question: Question) -> tuple[Standing, Account]:
    """The account that a card is about, its row locked: two top-ups are added up one after the other."""
    budgets.lock_accounts()
    try:
        number = room.begun(question)
    except LookupError as why:
        raise IllegalMove(
            "The time over which this was counted is over: the run goes on by itself, or look again."
        ) from why
    account = Account.objects.select_for_update().get(pk=number)
    standing = room.of_question(question, limits.current(), now())
    if standing.row is None:
        raise IllegalMove("This is not limited any more: look again, and the run goes on.")
    return standing, account


def _account(account_id: int) -> Account:
    budgets.lock_accounts()
    account = Account.objects.select_for_update().filter(pk=account_id).first()
    if account is None:
        raise NotThere(f"There is no account {account_id}.")
    return account


def _read(standing: Standing, amount: str, until: str, reason: str) -> _Wanted:
    """What was written. Raises Invalid with every wrong field."""
    errors: list[tuple[str, str]] = []
    value, ends = 0, None
    try:
        value = read(TABLE[LimitKind(standing.kind)].unit, amount)
    except WrongValue as why:
        errors.append(("amount", str(why)))
    if not errors and not 0 < value <= MOST:
        errors.append(("amount", f"More than nothing, and at most {standing.words(MOST)}."))
    try:
        ends = _moment(until)
    except Invalid as wrong:
        errors += wrong.errors
    try:
        reason = given_text("reason", reason, required=WHY)
    except Invalid as wrong:
        errors += wrong.errors
    if errors:
        raise Invalid(errors)
    return _Wanted(amount=value, until=ends, reason=reason)


def _moment(given: str) -> datetime | None:
    if not given.strip():
        return None
    try:
        found = datetime.fromisoformat(given.strip())
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as why:
        raise Invalid([("until", "Write a day and a time, such as 2026-12-31 18:00 (UTC).")]) from why
    if found <= now():
        raise Invalid([("until", "That has passed: a top-up holds until a moment to come.")])
    return found


def _add(
    account: Account, wanted: _Wanted, *, made_by: str, agreed_by: str = "", question: Question | None = None
) -> None:
    TopUp.objects.create(
        account=account,
        amount=wanted.amount,
        until=wanted.until,
        made_by=made_by,
        agreed_by=agreed_by,
        reason=wanted.reason,
        question=question,
    )


def _answered(
    actor: Actor,
    escalation: Escalation,
    question: Question,
    standing: Standing,
    account: Account,
    wanted: _Wanted,
    *,
    made_by: str = "",
    act: Act | None = None,
    text: str = "",
    more: dict[str, Any] | None = None,
) -> Decision:
    """The amount is there and its card is answered, both or neither."""
    agreed_by = name_of(actor) if made_by else ""
    _add(account, wanted, made_by=made_by or name_of(actor), agreed_by=agreed_by, question=question)
    answer = {"amount": wanted.amount, "until": wanted.until.isoformat() if wanted.until else None}
    answers.answer(question, verb=Verb.TOP_UP, answer=answer, text=wanted.reason, by=name_of(actor))
    _reconsider_later()
    details = _details(standing, account, wanted)
    return decisions.closed(
        actor,
        escalation,
        question,
        text=text or wanted.reason,
        before={"cap": standing.words(standing.cap)},
        after={"cap": standing.words((standing.cap or 0) + wanted.amount)},
        act=act,
        more={**details, **(more or {})},
    )


def _agreed(
    actor: Actor,
    escalation: Escalation,
    standing: Standing,
    account: Account,
    wanted: _Wanted,
    proposal: TopUpProposal,
    reason: str,
    asked: dict[str, Any],
) -> Decision:
    return _answered(
        actor,
        escalation,
        escalation.question,
        standing,
        account,
        wanted,
        made_by=name_of(proposal.by),
        act=Act.AGREE_TOP_UP,
        text=reason,
        more=asked | {"proposed_because": proposal.reason},
    )


def _details(standing: Standing, account: Account, wanted: _Wanted) -> dict[str, Any]:
    """For the journal: what the cap was and what it comes to."""
    told: list[Change] = [
        {
            "field": "cap",
            "before": standing.words(standing.cap),
            "after": standing.words((standing.cap or 0) + wanted.amount),
        }
    ]
    return {
        "account": account.pk,
        "what": f"{standing.what} of {standing.scope_words}",
        "limit": standing.row.id if standing.row else 0,
        "added": standing.words(wanted.amount),
        "until": moment_words(wanted.until),
        "used": standing.words(standing.used),
        "changes": told,
    }


def _propose(
    actor: Actor,
    standing: Standing,
    account: Account,
    wanted: _Wanted,
    question: Question | None,
    subject: Subject,
) -> Proposed:
    require(actor, Act.PROPOSE_TOP_UP)
    assert isinstance(actor, User), "the role table lets only signed-in people propose"
    moment = now()
    there = TopUpProposal.objects.filter(account=account, state=ProposalState.OPEN)
    there.filter(expires_at__lte=moment).update(state=ProposalState.EXPIRED, closed_at=moment)
    closed = there.exclude(question=None).exclude(question__state=QuestionState.OPEN)
    closed.update(state=ProposalState.OVERTAKEN, closed_at=moment)
    other = there.select_related("by").first()
    if other is not None:
        who = "You have" if other.by == actor else f"{name_of(other.by)} has"
        raise IllegalMove(f"{who} proposed to top this up: an admin must agree to that or decline it first.")
    proposal = TopUpProposal(
        account=account,
        question=question,
        amount=wanted.amount,
        until=wanted.until,
        allows=allows(standing, wanted.amount),
        reason=wanted.reason,
        by=actor,
        expires_at=moment + timedelta(hours=settings.LIMITS_PROPOSAL_HOURS),
    )
    proposal.digest = sealed(proposal)
    proposal.save()
    asked = {"proposal": proposal.pk, "expires": proposal.expires_at.isoformat(timespec="seconds")}
    details = _details(standing, account, wanted) | asked
    append(actor=actor, act=Act.PROPOSE_TOP_UP, subject=subject, reason=wanted.reason, details=details)
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


def _open_proposal(proposal_id: int, *, lock: bool = False) -> TopUpProposal:
    rows = TopUpProposal.objects.select_related("by", "closed_by")
    if lock:
        rows = rows.select_for_update(of=("self",))
    proposal = rows.filter(pk=proposal_id).first()
    if proposal is None:
        raise NotThere(f"There is no proposal {proposal_id}.")
    if proposal.state != ProposalState.OPEN:
        by = f" by {name_of(proposal.closed_by)}" if proposal.closed_by else ""
        raise IllegalMove(f"This proposal was {proposal.state}{by} already.")
    if proposal.expires_at <= now():
        raise IllegalMove(f"This proposal expired at {clock(proposal.expires_at)}: propose it again.")
    return proposal


def _must_be_anothers(proposal: TopUpProposal, actor: Actor) -> None:
    """Two people, the one an admin now, the other still one who may top up."""
    if proposal.by == actor:
        raise IllegalMove("You proposed this yourself: another admin must agree.")
    require(proposal.by, Act.PROPOSE_TOP_UP, "propose top-ups any more")


def _close(proposal: TopUpProposal, state: ProposalState, actor: Actor | None) -> None:
    """Give an open proposal its end; `actor` None is the clock."""
    proposal.state, proposal.closed_at = state, now()
    proposal.closed_by = actor if isinstance(actor, User) else None
    proposal.save(update_fields=["state", "closed_at", "closed_by"])


def _reconsider_later() -> None:
    """After the commit: cards that have room now are taken back. The sweep does it too, whatever happens here."""

    def look() -> None:
        budgets.reconsider()

    transaction.on_commit(look, robust=True)
