"""What people answer in a trial. Who may answer is the people's side and has no part here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import transaction

from runs.engine import answers, edits
from runs.engine.record import now
from runs.engine.verifying import decided, open_numbers
from runs.models import Question, QuestionKind, Verb
from runs.models.question import EDITABLE, verbs_of
from runs.testing.faults import CannotAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer. `verb`: approve, reject, respond, look, edit, or expire (nobody answers in time)."""

    verb: str
    text: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    by: str = "Marta"


def approve(*, by: str = "Marta") -> Answer:
    """Yes, exactly as it is shown; for an error: try again."""
    return Answer(verb=Verb.APPROVE, by=by)


def reject(reason: str, *, by: str = "Marta") -> Answer:
    """No. An approval is denied and the agent hears the reason; anything else ends the step."""
    return Answer(verb=Verb.REJECT, text=reason, by=by)


def respond(words: str, *, by: str = "Marta") -> Answer:
    """Neither: the agent is told these words."""
    return Answer(verb=Verb.RESPOND, text=words, by=by)


def edit(values: Mapping[str, Any], *, by: str = "Marta") -> Answer:
    """Yes, with these values in place of the proposed ones; the others stay. They meet the same contract.

    Edits and approves at once. On the console's pages an edit makes a new version, which is then approved.
    """
    return Answer(verb="edit", values=values, by=by)


def look(*, by: str = "Marta") -> Answer:
    """Let the tool look again whether an effect happened; only for a tool that states a look."""
    return Answer(verb=Verb.LOOK, by=by)


def drop(*, by: str = "Marta") -> Answer:
    """Leave out the claims that do not stand, and go on with the others."""
    return Answer(verb=Verb.DROP, by=by)


def confirm(reason: str, *, by: str = "Marta") -> Answer:
    """Let the claims stand though nothing shows them."""
    return Answer(verb=Verb.CONFIRM, text=reason, by=by)


def expire() -> Answer:
    """Nobody answers before the question's deadline, which denies it."""
    return Answer(verb="expire")


def give(question_id: int, said: Answer) -> None:
    """Answer an open question as the engine obeys it. Raises CannotAnswer for an answer that this question does not
    take, edits.Broken for values that break the contract."""
    if said.verb == "expire":
        Question.objects.filter(pk=question_id).update(expires_at=now() - timedelta(seconds=1))
        answers.expire(question_id)
        return
    with transaction.atomic():
        question = answers.lock(question_id)
        _must_fit(question, said)
        verb = Verb.APPROVE if said.verb == "edit" else Verb(said.verb)
        action = _action(question, said) if verb in (Verb.APPROVE, Verb.CONFIRM, Verb.DROP) else None
        answers.answer(question, verb=verb, answer=action, text=said.text, by=said.by)


def _must_fit(question: Question, said: Answer) -> None:
    if said.verb == "edit" and (question.step is None or question.kind not in EDITABLE):
        raise CannotAnswer(
            f"This question cannot be edited; answer {_others(question)}. It is: {question.title}"
        )
    if question.step is None and said.verb == Verb.RESPOND:
        raise CannotAnswer(
            f"This question is about the run itself; answer {_others(question)}. It is: {question.title}"
        )

    if said.verb in (Verb.DROP, Verb.CONFIRM) and said.verb not in verbs_of(question):
        raise CannotAnswer(f"These are no claims; answer {_others(question)}. It is: {question.title}")
    if question.kind == QuestionKind.CLAIMS and said.verb not in _of_claims(question):
        raise CannotAnswer(f"Answer drop, confirm, edit or reject. It is: {question.title}")
    if said.verb == Verb.LOOK and Verb.LOOK not in verbs_of(question):
        raise CannotAnswer(
            f"There is nothing here that a tool could look at; answer {_others(question)}. It is: {question.title}"
        )


def _of_claims(question: Question) -> set[str]:
    """As an agent gave them, claims that do not stand cannot be approved."""
    return {"edit", *verbs_of(question)} - {Verb.APPROVE}


def _others(question: Question) -> str:
    return "approve or reject" if question.step is None else "approve, reject or respond"


def _action(question: Question, said: Answer) -> dict[str, Any]:
    """What is agreed to. A value that broke its contract cannot be approved as it is."""
    action: dict[str, Any] = question.action
    if said.verb in (Verb.DROP, Verb.CONFIRM):
        return decided(action, () if said.verb == Verb.DROP else open_numbers(action))
    if said.verb != "edit" and question.kind != QuestionKind.CONTRACT:
        return action
    present = action.get("arguments", action.get("value"))
    edited = edits.check(question, {**(present if isinstance(present, dict) else {}), **said.values})
    if question.kind == QuestionKind.CLAIMS and open_numbers(edited):
        raise CannotAnswer("An edited claim does not stand either: its evidence does not show it.")
    return edited
