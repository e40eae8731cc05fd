"""Setting, changing and ending limits, agreeing to what one admin may not allow alone: admins' acts.

What a change allows is `runs.limits.increasing`; what comes of it is `limit_changes`. Lowering needs the database and
nothing else: no reason, no second admin, no definition of a workflow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet

from escalations import drafted, limit_changes, proposals, rehearsed
from escalations.audit.record import Subject, append
from escalations.audit.refused import Given, Named, recorded
from escalations.changes import changes
from escalations.expected import IllegalMove, Invalid, NotAllowed, NotThere
from escalations.limit_changes import NOTHING, Plan, Wish, plan_of
from escalations.limit_lines import Line, Moved, about, about_new, line_of, terms, version_of
from escalations.models import LimitProposal, ProposalState
from escalations.roles import Act, Actor, allowed, name_of, require
from escalations.texts import cut_text, given_text
from runs import registry
from runs.canonical import plain
from runs.engine import limits as in_force
from runs.engine.record import now
from runs.limits import fixed, written
from runs.limits.increasing import Increase
from runs.limits.kinds import LimitScope, Mode
from runs.limits.names import names_of
from runs.limits.rows import Row
from runs.models import Limit, Run, Team

EXPIRED = "limit proposal expired"
_CHANGED_BY_FORM = ("value", "mode", "since", "until", "then")


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The limit is as it was asked for. `more` says what agents may do now that they might not before."""

    line: int
    more: tuple[Increase, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """Nothing has changed yet: another admin must agree."""

    line: int
    proposal: LimitProposal
    more: tuple[Increase, ...]


def on_new(given: Given) -> Named:
    return Act.SET_LIMIT, about_new(given["given"])


def on_line(act: Act) -> Callable[[Given], Named]:
    return lambda given: (act, about(given["line"]))


def _on_proposal(act: Act) -> Callable[[Given], Named]:
    def named(given: Given) -> Named:
        found = LimitProposal.objects.filter(pk=given["proposal_id"]).first()
        return act, about(found.line_id) if found else Subject(target=f"proposal {given['proposal_id']}")

    return named


@recorded(on_new)
def set_limit(*, actor: Actor, given: Mapping[str, str], reason: str = "", unrehearsed: bool = False) -> Done:
    """Begin a limit, from what somebody wrote (`runs.limits.written.new_limit` names the fields). It can only lower.

    One that is enforced must have been rehearsed; where that was in vain, `unrehearsed` with a reason does
    (`rehearsed.asked_for`). Raises NotAllowed, NotRehearsed, Invalid with every wrong field, IllegalMove when there is
    such a limit at that time.
    """
    return set_now(actor=actor, given=given, reason=reason, unrehearsed=unrehearsed)


@transaction.atomic(durable=True)
def set_now(*, actor: Actor, given: Mapping[str, str], reason: str, unrehearsed: bool) -> Done:
    """The same, without an entry about what was refused: that is the caller's."""
    require(actor, Act.SET_LIMIT)
    reason = given_text("reason", reason)
    in_force.lock()
    moment = now()
    row = drafted.read(lambda: written.new_limit(plain(dict(given)), at=moment))
    must_exist(row)
    _must_not_replace(row)
    _must_be_alone(row)
    saw: dict[str, Any] = {}
    if row.mode is Mode.ENFORCE:
        saw = rehearsed.asked_for(drafted.alone(row).digest, moment, unrehearsed=unrehearsed, reason=reason)
    made = limit_changes.begin(row, None, by=name_of(actor), reason=reason)
    details = {"limit": made.pk, "changes": changes({}, terms([row]))} | saw
    append(actor=actor, act=Act.SET_LIMIT, subject=about(made.pk), reason=reason, details=details)
    return Done(line=made.pk, more=())


@recorded(on_line(Act.CHANGE_LIMIT))
def change(
    *,
    actor: Actor,
    line: int,
    seen: str,
    given: Mapping[str, str],
    reason: str = "",
    unrehearsed: bool = False,
) -> Done | Proposed:
    """Give a limit another value, mode or time. `seen` is the version that was shown (`limit_lines.Line.version`).

    Lowering is done at once. What allows more needs a reason, above the settings' amount another admin too: then it is
    proposed. With an end, what was planned goes on after it unless `then` is NOTHING. What was not enforced and shall
    be must have been rehearsed, as in `set_limit`; a limit that is enforced is lowered without, and if exactly that was
    rehearsed, the entry says so.
    Raises NotAllowed, NotThere, Moved (somebody was first), NotRehearsed, Invalid with every wrong field.
    """
    return change_now(actor=actor, line=line, seen=seen, given=given, reason=reason, unrehearsed=unrehearsed)


@transaction.atomic(durable=True)
def change_now(
    *, actor: Actor, line: int, seen: str, given: Mapping[str, str], reason: str, unrehearsed: bool
) -> Done | Proposed:
    """The same, without an entry about what was refused: that is the caller's."""
    require(actor, Act.CHANGE_LIMIT)
    in_force.lock()
    moment = now()
    found = _current(line, seen, moment)
    wished = wish(found, given, moment)
    new, saw = wished.new, None
    if new and new.mode is Mode.ENFORCE:
        digest = drafted.alone(new, found).digest
        if found.rows[0].mode is Mode.ENFORCE:
            saw = rehearsed.seen(digest, moment)
        else:
            saw = rehearsed.asked_for(digest, moment, unrehearsed=unrehearsed, reason=reason)
    return _do(actor, found, wished, reason, moment, saw)


@recorded(on_line(Act.END_LIMIT))
@transaction.atomic(durable=True)
def end(*, actor: Actor, line: int, seen: str, reason: str = "") -> Done | Proposed:
    """End a limit now, with everything that was planned for it. As `change`, it may have to be proposed.

    Raises NotAllowed, NotThere, Moved, Invalid without a reason where one is needed.
    """
    require(actor, Act.END_LIMIT)
    in_force.lock()
    moment = now()
    return _do(actor, _current(line, seen, moment), Wish(act=Act.END_LIMIT, new=None), reason, moment)


@recorded(_on_proposal(Act.AGREE_LIMIT))
@transaction.atomic(durable=True)
def agree(*, actor: Actor, proposal_id: int, digest: str, reason: str = "") -> Done:
    """Let happen what another admin proposed, exactly as it was shown.

    Raises NotAllowed, NotThere, Moved (the limit has changed), IllegalMove (closed, expired, one's own, past, or it
    would allow other than was shown).
    """
    require(actor, Act.AGREE_LIMIT)
    reason = given_text("reason", reason)
    in_force.lock()
    moment = now()
    proposal = proposals.still_open(LimitProposal, proposal_id, moment)
    _must_be_anothers(proposal, actor)
    proposals.must_be_as_shown(proposal, digest)
    found = _current(proposal.line_id, proposal.seen, moment)
    plan = plan_of(found, limit_changes.wish_of(proposal, found, moment), moment)
    _must_allow_what_was_shown(proposal, plan)
    proposals.close(proposal, ProposalState.AGREED, actor, moment)
    by, agreed_by = name_of(proposal.by), name_of(actor)
    limit_changes.perform(plan, moment, by=by, agreed_by=agreed_by, reason=proposal.reason)
    details = plan.details | proposals.agreed_details(proposal)
    append(actor=actor, act=Act.AGREE_LIMIT, subject=about(found.line), reason=reason, details=details)
    return Done(line=found.line, more=plan.more)


@recorded(_on_proposal(Act.DECLINE_LIMIT))
@transaction.atomic(durable=True)
def decline(*, actor: Actor, proposal_id: int, reason: str = "") -> LimitProposal:
    """Close a proposal without doing it; whoever proposed it may take it back so. Needs no reason.

    Raises NotAllowed, NotThere, IllegalMove when it is closed.
    """
    require(actor, Act.DECLINE_LIMIT)
    reason = cut_text(reason)
    in_force.lock()
    moment = now()
    proposal = proposals.still_open(LimitProposal, proposal_id, moment)
    proposals.close(proposal, ProposalState.DECLINED, actor, moment)
    append(
        actor=actor,
        act=Act.DECLINE_LIMIT,
        subject=about(proposal.line_id),
        reason=reason,
        details=proposals.closed_details(proposal),
    )
    return proposal


@transaction.atomic(durable=True)
def expire() -> int:
    """Close proposals that nobody agreed to in time, each with an entry; returns how many. Called by the clock."""
    late = _late(now())
    if not late.exists():
        return 0
    in_force.lock()
    return _expire(late)


def _late(at: datetime, **about: Any) -> QuerySet[LimitProposal]:
    return (
        proposals.open_of(LimitProposal, expires_at__lte=at, **about)
        .select_related("by")
        .order_by("expires_at")
    )


def _expire(late: QuerySet[LimitProposal]) -> int:
    return proposals.expire(late, act=EXPIRED, about=lambda proposal: about(proposal.line_id))


def wish(found: Line, given: Mapping[str, str], at: datetime) -> Wish:
    """A change as it was written. Raises Invalid with every wrong field."""
    kept = {name: str(plain(str(given.get(name, "")))) for name in _CHANGED_BY_FORM}
    new = drafted.read(lambda: written.changed(found.rows[0], kept, at=at))
    then_as_before = kept["then"] != NOTHING
    return Wish(act=Act.CHANGE_LIMIT, new=new, then_as_before=then_as_before, written=kept)


def _do(
    actor: Actor, found: Line, wished: Wish, reason: str, at: datetime, saw: dict[str, Any] | None = None
) -> Done | Proposed:
    plan = plan_of(found, wished, at)
    if plan.changes_nothing(at):
        raise Invalid([("value", "Nothing was changed.")])
    if not plan.more:
        reason = cut_text(reason)
    elif not isinstance(actor, User):
        raise NotAllowed(f"{name_of(actor)} may only lower limits: {plan.more[0].says} is for an admin.")
    else:
        reason = given_text("reason", reason, required=f"Say why: it allows more ({plan.more[0].says}).")
    if plan.needs_another:
        return _propose(actor, plan, wished, reason, at, saw or {})
    overtaken = list(proposals.open_of(LimitProposal, line=found.line).values_list("pk", flat=True))
    limit_changes.perform(plan, at, by=name_of(actor), agreed_by="", reason=reason)
    ends = {"overtakes": overtaken} if overtaken else {}  # nothing else says how those proposals ended
    details = plan.details | (saw or {}) | ends
    append(actor=actor, act=wished.act, subject=about(found.line), reason=reason, details=details)
    return Done(line=found.line, more=plan.more)


def _propose(
    actor: Actor, plan: Plan, wished: Wish, reason: str, at: datetime, saw: dict[str, Any]
) -> Proposed:
    assert isinstance(actor, User), "the role table lets only signed-in people change limits"
    line = plan.found.line
    _expire(_late(at, line=line))  # before the clock does: what stood there ends with an entry all the same
    proposal = proposals.opened(
        LimitProposal(
            line_id=line,
            seen=plan.found.version,
            after=wished.written,
            increases=[one.says for one in plan.more],
            reason=reason,
            by=actor,
        ),
        proposals.open_of(LimitProposal, line=line),
        at,
        says="another change of this limit: it must be agreed to or declined first.",
    )
    details = plan.details | proposals.opened_details(proposal) | saw
    append(actor=actor, act=Act.PROPOSE_LIMIT, subject=about(line), reason=reason, details=details)
    return Proposed(line=line, proposal=proposal, more=plan.more)


def _current(line: int, seen: str, at: datetime) -> Line:
    """The limit's open rows, if they are those that were shown. Raises NotThere, Moved, IllegalMove."""
    found = line_of(line, at)
    if found is None:
        raise NotThere(f"There is no limit {line}.")
    if found.version != version_of(seen):
        raise Moved(found, seen=version_of(seen))
    if not found.rows:
        raise IllegalMove(f"Limit {line} is over already.")
    return found


def _must_be_anothers(proposal: LimitProposal, actor: Actor) -> None:
    """Two admins, both of them admins now."""
    proposals.must_be_anothers(proposal, actor)
    if not allowed(proposal.by, Act.CHANGE_LIMIT):
        raise IllegalMove(f"{name_of(proposal.by)}, who proposed this, may not change limits any more.")


def _must_allow_what_was_shown(proposal: LimitProposal, plan: Plan) -> None:
    """Other limits may have come or gone since it was proposed."""
    now_allows = [one.says for one in plan.more]
    if now_allows != proposal.increases:
        told = "; ".join(now_allows) or "nothing more"
        raise IllegalMove(
            f"It would now allow {told}, and was shown to allow {'; '.join(proposal.increases)}: decline it and "
            "propose it again. Nothing was done."
        )


def _must_be_alone(row: Row) -> None:
    """One limit a scope, kind, window and mode: a second one would only hide the first."""
    same = Limit.objects.filter(
        kind=row.kind, window=row.window, mode=row.mode, scope_kind=row.scope_kind, scope=row.scope
    )
    for limit in same:
        other = limit.row
        if other.since == other.until:
            continue
        if (other.until is None or row.since < other.until) and (
            row.until is None or other.since < row.until
        ):
            raise IllegalMove(
                f"There is such a limit: {limit} (number {limit.line}, set by {limit.set_by}). Change that one."
            )


def _must_not_replace(row: Row) -> None:
    """What is built into a guard gives way to a row that only tells: that allows more, so it is a change of a limit
    that is enforced, with everything that such a change asks for. Raises Invalid."""
    built_in = any((one.kind, one.window) == (row.kind, row.window) for one in fixed.built_in())
    if built_in and row.mode is not Mode.ENFORCE:
        raise Invalid(
            [
                (
                    "mode",
                    f"Set {row.what} to enforce first, then change that limit's mode: to be told instead allows more "
                    "than what is built in, so it asks for a reason and another admin.",
                )
            ]
        )


def must_exist(row: Row) -> None:
    """A limit on what does not exist would limit nothing, and look as if it did. Raises Invalid."""
    scope_kind, scope = row.scope_kind, row.scope
    if scope_kind is LimitScope.ORGANISATION or _is_known(scope_kind, scope):
        return
    there = "run under way with the number" if scope_kind is LimitScope.RUN else f"{scope_kind.value} called"
    raise Invalid([("scope", f"There is no {there} {scope!r}.")])


def _is_known(scope_kind: LimitScope, scope: str) -> bool:
    if scope_kind is LimitScope.RUN:
        return Run.objects.filter(pk=int(scope), finished_at__isnull=True).exists()
    installed = names_of((one for one, _ in registry.versions()), settings.MODEL_PRICES)
    if scope in installed[scope_kind]:
        return True
    if scope_kind is LimitScope.WORKFLOW:
        return Run.objects.filter(workflow=scope).exists()
    if scope_kind is LimitScope.TEAM:
        return Team.objects.filter(name=scope).exists()
    return scope_kind is LimitScope.PROVIDER and scope in {one.name for one in settings.MODEL_PROVIDERS}
