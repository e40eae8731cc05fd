"""A person's answers to an escalation: approve, edit, reject, respond, look again, migrate, confirm or drop claims.
Each one transaction, one entry.

Every answer names the version and the digest that were shown; what has changed since is not answered. What
the run does with the answer is the engine's business (`runs.engine.answers`), which also wakes it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from psycopg.types.json import Jsonb

from escalations import locked
from escalations.audit.record import about_escalation, append
from escalations.audit.refused import recorded
from escalations.changes import changes
from escalations.claims import hold, on_escalation
from escalations.expected import IllegalMove, Invalid
from escalations.models import Decision, Escalation, EscalationState
from escalations.roles import Act, Actor, name_of, require
from escalations.texts import given_text
from runs.engine import answers, edits, migrating, verifying
from runs.engine.questions import shown_digest
from runs.engine.record import at_once, now
from runs.models import Question, QuestionKind, Verb
from runs.models.question import EDITABLE, verbs_of

# The decision and its escalation's end in one message: somebody waits for what comes of it.
_CLOSED = """
    INSERT INTO escalations_decision (escalation_id, verb, by_id, at, version, digest, reason, before, after)
        VALUES (%(escalation)s, %(verb)s, %(by)s, statement_timestamp(), %(version)s, %(digest)s, %(reason)s,
            %(before)s, %(after)s)
        RETURNING id, at;
    UPDATE escalations_escalation SET state = %(state)s, closed_at = %(closed)s, taken_by_id = %(holder)s,
        taken_at = %(taken)s WHERE id = %(escalation)s
"""
ACTS = {
    Verb.APPROVE: Act.APPROVE,
    Verb.REJECT: Act.REJECT,
    Verb.RESPOND: Act.RESPOND,
    Verb.LOOK: Act.LOOK,
    Verb.MIGRATE: Act.MIGRATE,
    Verb.CONFIRM: Act.CONFIRM,
    Verb.DROP: Act.DROP,
    Verb.TOP_UP: Act.TOP_UP,
}


@recorded(on_escalation(Act.APPROVE))
@transaction.atomic(durable=True)
def approve(*, actor: Actor, escalation_id: int, version: int, digest: str, reason: str = "") -> Decision:
    """Let happen exactly what was shown: the draft if there is one, else the agent's action.

    Raises NotAllowed, NotThere, AlreadyDecided, Changed, IllegalMove (held by somebody else, too late), Invalid.
    """
    require(actor, Act.APPROVE)
    reason = given_text("reason", reason)
    escalation, question = ready(actor, escalation_id, version, digest)
    locked.must_be_in_time(escalation, question)
    locked.must_be_sealed(escalation, question)
    if question.kind == QuestionKind.CONTRACT and escalation.draft is None:
        raise Invalid(
            [("value", "The agent's value breaks the contract: edit it first, then approve the edit.")]
        )
    if question.kind == QuestionKind.CLAIMS:
        _must_stand(escalation, question)
    return _decide(actor, escalation, question, Verb.APPROVE, text=reason)


@recorded(on_escalation(Act.DROP))
@transaction.atomic(durable=True)
def drop(*, actor: Actor, escalation_id: int, version: int, digest: str, reason: str = "") -> Decision:
    """Leave out the claims that do not stand; the run goes on with the others.

    Raises NotAllowed, NotThere, AlreadyDecided, Changed, IllegalMove (held by somebody else, too late), Invalid.
    """
    require(actor, Act.DROP)
    reason = given_text("reason", reason)
    return _of_claims(actor, escalation_id, version, digest, Verb.DROP, (), reason)


@recorded(on_escalation(Act.CONFIRM))
@transaction.atomic(durable=True)
def confirm(
    *, actor: Actor, escalation_id: int, version: int, digest: str, numbers: Collection[int], reason: str
) -> Decision:
    """Let these claims stand though nothing shows them, by their numbers from 0; the others that do not stand are
    dropped.

    Raises NotAllowed, NotThere, AlreadyDecided, Changed, IllegalMove (held by somebody else, too late), Invalid.
    """
    require(actor, Act.CONFIRM)
    reason = given_text("reason", reason, required="Say how you know: a claim is confirmed by you alone.")
    return _of_claims(actor, escalation_id, version, digest, Verb.CONFIRM, numbers, reason)


@recorded(on_escalation(Act.REJECT))
@transaction.atomic(durable=True)
def reject(*, actor: Actor, escalation_id: int, version: int, digest: str, reason: str) -> Decision:
    """Refuse what is proposed; the run receives the reason.

    Raises NotAllowed, NotThere, AlreadyDecided, Changed, IllegalMove (held by somebody else), Invalid.
    """
    require(actor, Act.REJECT)
    reason = given_text("reason", reason, required="Say why: the run receives the reason.")
    escalation, question = ready(actor, escalation_id, version, digest)
    return _decide(actor, escalation, question, Verb.REJECT, text=reason)


@recorded(on_escalation(Act.RESPOND))
@transaction.atomic(durable=True)
def respond(*, actor: Actor, escalation_id: int, version: int, digest: str, text: str) -> Decision:
    """Answer with words instead of a yes or no; what they do depends on the kind (`runs.models.question.VERBS`).

    Raises NotAllowed, NotThere, AlreadyDecided, Changed, IllegalMove, Invalid.
    """
    require(actor, Act.RESPOND)
    text = given_text("text", text, required="Write what the run should know.")
    escalation, question = ready(actor, escalation_id, version, digest)
    locked.must_be_in_time(escalation, question)
    return _decide(actor, escalation, question, Verb.RESPOND, text=text)


@recorded(on_escalation(Act.LOOK))
@transaction.atomic(durable=True)
def look(*, actor: Actor, escalation_id: int, version: int, digest: str) -> Decision:
    """Let the tool look at what may have happened. The run goes on by itself when it is sure; else somebody is asked
    again, with what was seen.

    Raises NotAllowed, NotThere, AlreadyDecided, Changed, IllegalMove (held by somebody else, too late, or
    the tool cannot look).
    """
    require(actor, Act.LOOK)
    escalation, question = ready(actor, escalation_id, version, digest)
    locked.must_be_in_time(escalation, question)
    return _decide(actor, escalation, question, Verb.LOOK, text="")


@recorded(on_escalation(Act.MIGRATE))
@transaction.atomic(durable=True)
def migrate(
    *, actor: Actor, escalation_id: int, version: int, digest: str, place: str, reason: str = ""
) -> Decision:
    """Let a run whose version is gone go on with another one, at a place that was shown (`Place.key`).

    Raises NotAllowed, NotThere, AlreadyDecided, Changed, Invalid (no place was chosen), and IllegalMove: held by
    somebody else, too late, or the run cannot go on there (any more).
    """
    require(actor, Act.MIGRATE)
    reason = given_text("reason", reason)
    if not place:
        raise Invalid([("place", "Choose where the run goes on.")])
    escalation, question = ready(actor, escalation_id, version, digest)
    locked.must_be_in_time(escalation, question)
    must_answer(question, Verb.MIGRATE)
    try:
        migrated = migrating.migrate(question, place, by=name_of(actor), reason=reason)
    except migrating.CannotMigrate as why:
        raise IllegalMove(f"Run {question.run_id} was not migrated. {why}") from why
    escalation.run = question.run
    return closed(actor, escalation, question, text=reason, before=migrated.before, after=migrated.after)


@recorded(on_escalation(Act.EDIT))
@transaction.atomic(durable=True)
def edit(
    *, actor: Actor, escalation_id: int, version: int, digest: str, value: Mapping[str, Any]
) -> Escalation:
    """Replace what would happen by a value that meets the same contract. Nothing happens until it is approved.

    Raises NotAllowed, NotThere, AlreadyDecided, Changed, IllegalMove, and Invalid with every wrong field.
    """
    require(actor, Act.EDIT)
    escalation, question = ready(actor, escalation_id, version, digest)
    locked.must_be_in_time(escalation, question)
    locked.must_be_sealed(escalation, question)
    before = locked.in_force(escalation, question)
    after = _checked(question, value)
    if after == before and (escalation.draft is not None or question.kind == QuestionKind.APPROVAL):
        raise Invalid([("", "Nothing was changed.")])
    seen = {"version": escalation.version, "digest": escalation.digest}
    escalation.draft = after
    escalation.edited_by = _person(actor)
    escalation.version += 1
    escalation.digest = shown_digest(after, question.evidence)
    hold(escalation, actor)
    escalation.save()
    append(
        actor=actor,
        act=Act.EDIT,
        subject=about_escalation(escalation),
        details={
            "seen": seen,
            "version": escalation.version,
            "digest": escalation.digest,
            "changes": changes(before, after),
        },
    )
    return escalation


def _of_claims(
    actor: Actor,
    escalation_id: int,
    version: int,
    digest: str,
    verb: Verb,
    confirmed: Collection[int],
    reason: str,
) -> Decision:
    escalation, question = ready(actor, escalation_id, version, digest)
    locked.must_be_in_time(escalation, question)
    locked.must_be_sealed(escalation, question)
    must_answer(question, verb)
    before = locked.in_force(escalation, question)
    known = verifying.open_numbers(before)
    if not set(confirmed) <= set(known) or (verb == Verb.CONFIRM and not confirmed):
        raise Invalid([("claims", "Mark at least one of the claims that do not stand.")])
    after = verifying.decided(before, confirmed)
    _checked(question, after["value"])
    answers.answer(question, verb=verb, answer=after, text=reason, by=name_of(actor))
    told = {one["number"]: one["text"] for one in before[verifying.OPEN]}
    stand = [told[number] for number in known if number in confirmed]
    fall = [told[number] for number in known if number not in confirmed]
    more = {name: texts for name, texts in (("confirmed", stand), ("dropped", fall)) if texts}
    return closed(actor, escalation, question, text=reason, before=question.action, after=after, more=more)


def _must_stand(escalation: Escalation, question: Question) -> None:
    """Raise Invalid while a claim does not stand: it is confirmed by name, or dropped."""
    if escalation.draft is None or verifying.open_numbers(locked.in_force(escalation, question)):
        raise Invalid([("claims", "There are claims that do not stand: confirm, drop or edit them.")])


def ready(actor: Actor, escalation_id: int, version: int, digest: str) -> tuple[Escalation, Question]:
    """The escalation and its question, locked, as they were shown. Raises as the acts say."""
    escalation, question = locked.with_run(escalation_id)
    locked.must_be_open(escalation)
    locked.must_be_current(escalation, version=version, digest=digest)
    locked.must_be_free(escalation, actor)
    return escalation, question


def _decide(actor: Actor, escalation: Escalation, question: Question, verb: Verb, *, text: str) -> Decision:
    must_answer(question, verb)
    before, after = question.action, locked.in_force(escalation, question)
    approved = after if verb == Verb.APPROVE else None
    answers.answer(question, verb=verb, answer=approved, text=text, by=name_of(actor))
    return closed(actor, escalation, question, text=text, before=before, after=approved)


def must_answer(question: Question, verb: Verb) -> None:
    """Raise IllegalMove when this is no answer to such a question."""
    if verb not in verbs_of(question):
        raise IllegalMove(f"{QuestionKind(question.kind).label}: this cannot be answered with {verb.label}.")


def closed(
    actor: Actor,
    escalation: Escalation,
    question: Question,
    *,
    text: str,
    before: dict[str, Any],
    after: dict[str, Any] | None,
    act: Act | None = None,
    more: Mapping[str, Any] | None = None,
) -> Decision:
    """Close the escalation of an answered question: what was in force, what is now, who said so. `act` and `more`: the
    entry's, where they are other than the verb says."""
    verb = Verb(question.verb)
    escalation.state = EscalationState.DECIDED
    moment = question.answered_at or now()
    escalation.closed_at = moment
    hold(escalation, actor, moment)
    decision = Decision(
        escalation=escalation,
        verb=verb,
        by=_person(actor),
        version=escalation.version,
        digest=escalation.digest,
        reason=text,
        before=before,
        after=after or {},
    )
    _write(escalation, decision)
    details: dict[str, Any] = {"kind": question.kind, "version": escalation.version}
    details |= {"digest": escalation.digest, **(more or {})}
    if after is not None and after != before:
        details["changes"] = changes(before, after)
    append(
        actor=actor,
        act=act or ACTS[verb],
        subject=about_escalation(escalation),
        reason=text,
        details=details,
    )
    return decision


def _write(escalation: Escalation, decision: Decision) -> None:
    written = at_once(
        _CLOSED,
        {
            "escalation": escalation.pk,
            "verb": str(decision.verb),
            "by": decision.by_id,
            "version": decision.version,
            "digest": decision.digest,
            "reason": decision.reason,
            "before": Jsonb(decision.before),
            "after": Jsonb(decision.after),
            "state": str(escalation.state),
            "closed": escalation.closed_at,
            "holder": escalation.taken_by_id,
            "taken": escalation.taken_at,
        },
    )
    assert written is not None
    decision.pk, decision.at = written
    decision._state.adding = False


def _checked(question: Question, value: Mapping[str, Any]) -> dict[str, Any]:
    if question.kind not in EDITABLE:
        raise IllegalMove(f"{QuestionKind(question.kind).label}: there is nothing to edit.")
    try:
        return edits.check(question, value)
    except edits.Broken as broken:
        raise Invalid(broken.errors) from broken
    except LookupError as why:
        raise IllegalMove(str(why)) from why


def _person(actor: Actor) -> User:
    assert isinstance(actor, User), "the role table lets only signed-in people decide"
    return actor
