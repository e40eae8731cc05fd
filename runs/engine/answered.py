"""What a step does with a person's answer, or with a deadline that denied. Claims by the turn; performs nothing."""

from __future__ import annotations

from runs import bodies
from runs.engine import askings, contracts, noted
from runs.engine.endings import ask_at, end_step, settle_step
from runs.engine.found import GUARD
from runs.engine.record import event, move_attempt, now
from runs.engine.turn import Turn
from runs.errors import ContractBroken
from runs.models import Attempt, AttemptState, Question, QuestionKind, QuestionState, Step, StepState, Verb
from runs.models.question import BACK_TO
from runs.verdicts import back_to

_SAME_ATTEMPT = (QuestionKind.APPROVAL, QuestionKind.UNKNOWN)  # which the answer lets go on


def obey(turn: Turn, step: Step) -> bool:
    """A person has answered, or the deadline has denied: what the step does with it. True when it is settled."""
    question = step.questions.order_by("-pk").first()
    if question is None:
        return False
    if question.kind in _SAME_ATTEMPT or _room_given(question):
        return _go_on(turn, step)
    if question.state != QuestionState.ANSWERED or question.verb == Verb.REJECT:
        end_step(turn.closing, step, StepState.ENDED, question.answer_text or "denied", turn.moment)
        return True
    if question.kind == QuestionKind.CLAIMS:
        return _claims_answered(turn, step, question)
    if question.kind == QuestionKind.CONTRACT and question.verb == Verb.APPROVE:
        return _person_output(turn, step, question)
    if turn.has_room(step):
        turn.begin_anew(step, note=question.answer_text)
    return False


def settles(step: Step) -> bool:
    """Whether `obey` will settle it, unless a person's own value is refused. Changes nothing."""
    question = step.questions.order_by("-pk").first()
    if question is None or question.kind in _SAME_ATTEMPT or _room_given(question):
        return False
    if question.state != QuestionState.ANSWERED or question.verb == Verb.REJECT:
        return True
    if question.kind == QuestionKind.CLAIMS:
        return question.verb != Verb.RESPOND
    return question.kind == QuestionKind.CONTRACT and question.verb == Verb.APPROVE


def _claims_answered(turn: Turn, step: Step, question: Question) -> bool:
    """The claims that a person lets stand are the step's output; or another agent makes them anew."""
    if question.verb != Verb.RESPOND:
        _close_attempt(step, AttemptState.DONE)
        return _person_output(turn, step, question)
    if turn.has_room(step):
        _refuse_claims(step, question)
        turn.begin_anew(step, by=back_to(str(question.action[BACK_TO])), note=question.answer_text)
    return False


def _go_on(turn: Turn, step: Step) -> bool:
    if turn.has_room(step):
        turn.begin(step)
    return False


def _person_output(turn: Turn, step: Step, question: Question) -> bool:
    """The value a person gave is the step's output; it meets the contract like any other, or is asked for again."""
    value = (question.answer or {}).get("value")
    try:
        checked = contracts.checked(turn.workflow, step, value, by_person=True)
    except ContractBroken as error:
        if isinstance(error, contracts.PlanTooLarge):
            event(turn.run, GUARD, step=step, **error.found.data)
        ask_at(turn.closing, step, askings.given_again(step, value, error))
        return False
    settle_step(turn.run, step, checked, turn.moment, by=question.answered_by)
    noted.write(turn.run, noted.plan(turn.run, turn.workflow, step, checked, turn.moment), step=step)
    return True


def _refuse_claims(step: Step, question: Question) -> None:
    """What the next attempt is told was wrong, with the claims as they were."""
    attempt = _close_attempt(step, AttemptState.FAILED)
    if attempt is not None:
        attempt.error, attempt.error_class = question.action["error"], "data"
        attempt.error_where = question.action["where"]
        attempt.rejected_output = bodies.store({name: question.action[name] for name in ("value", "open")})
        attempt.save()


def _close_attempt(step: Step, state: AttemptState) -> Attempt | None:
    """Close the attempt that asked a person; None when it is closed already."""
    attempt = step.attempts.order_by("-number").first()
    if attempt is None or attempt.state != AttemptState.ASKED:
        return None
    move_attempt(attempt, state)
    attempt.finished_at = now()
    attempt.save()
    return attempt


def _room_given(question: Question) -> bool:
    """Whether a used-up limit has room again: somebody gave it, or a sweep saw that there is some."""
    if question.kind != QuestionKind.LIMIT:
        return False
    given = question.state == QuestionState.ANSWERED and question.verb != Verb.REJECT
    return given or question.state == QuestionState.WITHDRAWN
