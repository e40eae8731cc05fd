"""One escalation under its locks, in the one order, and what must hold of it before an act. Changes nothing."""

from __future__ import annotations

from typing import Any

from django.db import connection

from escalations.expected import AlreadyDecided, Changed, IllegalMove, NotThere, clock
from escalations.models import Decision, Escalation, EscalationState
from escalations.roles import Actor, name_of
from runs.engine.questions import shown_digest
from runs.engine.record import at_once, now
from runs.engine.rows import Rows
from runs.models import Question, Run, Step, Team

WAS = {
    "approve": "approved",
    "reject": "rejected",
    "respond": "answered",
    "migrate": "migrated",
    "look": "sent to be looked at again",
    "confirm": "confirmed",
    "drop": "decided (its claims dropped)",
    "top up": "topped up",
}


# Both rows in one message to the server, in the one order. What is read afterwards is as it is behind these locks.
_LOCK = """
    SELECT FROM runs_run
    WHERE id = (SELECT run_id FROM escalations_escalation WHERE id = %(id)s) FOR NO KEY UPDATE;
    SELECT FROM escalations_escalation WHERE id = %(id)s FOR NO KEY UPDATE
"""

# The people who hold it or have edited it are fetched when somebody asks for them, behind the same locks.
_ESCALATION, _QUESTION, _RUN, _TEAM, _STEP = (
    Rows(Escalation),
    Rows(Question),
    Rows(Run),
    Rows(Team),
    Rows(Step),
)
_READ = f"""
    SELECT {_ESCALATION.columns("escalation")}, {_QUESTION.columns("question")}, {_RUN.columns("run")},
        {_TEAM.columns("team")}, {_STEP.columns("step")}
    FROM escalations_escalation escalation
    JOIN runs_question question ON question.id = escalation.question_id
    JOIN runs_run run ON run.id = escalation.run_id
    JOIN runs_team team ON team.id = run.team_id
    LEFT JOIN runs_step step ON step.id = question.step_id
    WHERE escalation.id = %s
"""


def with_run(escalation_id: int) -> tuple[Escalation, Question]:
    """The escalation and its question, fresh: run row locked first, then the escalation. Raises NotThere."""
    at_once(_LOCK, {"id": escalation_id})
    with connection.cursor() as cursor:
        cursor.execute(_READ, [escalation_id])
        row = cursor.fetchone()
    if row is None:
        raise NotThere(f"There is no escalation E-{escalation_id}.")
    values = iter(row)
    escalation, question = _ESCALATION.next_of(values), _QUESTION.next_of(values)
    run = _RUN.next_of(values)
    run.team = _TEAM.next_of(values)
    question.run, question.step = run, _STEP.next_or_none(values)
    escalation.run, escalation.question = run, question
    if escalation.team_id == run.team_id:
        escalation.team = run.team
    return escalation, question


def alone(escalation_id: int) -> Escalation:
    """The escalation, fresh, its own row locked; for acts that leave the run as it is. Raises NotThere.

    Two statements: one that waits for the lock and joins at once would bring the row as it is after the wait,
    but the joined people as they were before it (a holder who has just come would be missing).
    """
    rows = Escalation.objects.filter(pk=escalation_id)
    if not rows.select_for_update(no_key=True).values_list("pk").first():
        raise NotThere(f"There is no escalation E-{escalation_id}.")
    return rows.select_related("run", "team", "taken_by", "edited_by").get()


def must_be_open(escalation: Escalation) -> None:
    """Raise AlreadyDecided, saying who did what and when."""
    if escalation.state == EscalationState.OPEN:
        return
    decision = Decision.objects.select_related("by").filter(escalation=escalation).first()
    if decision:
        what = WAS.get(decision.verb, decision.verb)
        raise AlreadyDecided(escalation, decision, who=name_of(decision.by), what=what)
    if escalation.state == EscalationState.EXPIRED:
        raise AlreadyDecided(escalation, None, who="its deadline", what="denied")
    raise AlreadyDecided(escalation, None, who="its run", what="withdrawn")


def must_be_current(escalation: Escalation, *, version: int, digest: str) -> None:
    """Raise Changed unless exactly this version, with exactly this action and evidence, was shown."""
    if (escalation.version, escalation.digest) != (version, digest):
        raise Changed(escalation, seen=version)


def must_be_sealed(escalation: Escalation, question: Question) -> None:
    """Raise IllegalMove when what is in force is not what the digest was made of, whoever changed it and why."""
    if shown_digest(in_force(escalation, question), question.evidence) == escalation.digest:
        return
    raise IllegalMove(
        f"What {escalation.name} would let happen is not what its digest was made of: it was changed outside of "
        "the console. Reject it, and tell an admin."
    )


def must_be_in_time(escalation: Escalation, question: Question) -> None:
    """Raise IllegalMove when the deadline has passed, even if nobody has noticed yet: it was shown as the end.

    The clock of a held run stands still.
    """
    if question.run.hold or question.expires_at > now():
        return
    raise IllegalMove(
        f"The deadline of {escalation.name} passed at {clock(question.expires_at)}; it is denied."
    )


def must_be_free(escalation: Escalation, actor: Actor) -> None:
    """Raise IllegalMove, naming the holder, when somebody else has taken it."""
    holder = escalation.taken_by
    if holder is None or holder == actor:
        return
    since = f" since {clock(escalation.taken_at)}" if escalation.taken_at else ""
    raise IllegalMove(
        f"{name_of(holder)} holds {escalation.name}{since}: ask for it; an admin may take it over."
    )


def in_force(escalation: Escalation, question: Question) -> dict[str, Any]:
    """The action that an approval would let happen: the draft if there is one, else the agent's."""
    action: dict[str, Any] = question.action if escalation.draft is None else escalation.draft
    return action
