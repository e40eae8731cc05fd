"""Whose answer lets the same failing call be sent again: that of the person who was asked about it, when it says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runs.engine.again import Again
from runs.engine.claimed import Claimed
from runs.engine.record import now
from runs.engine.spend import permits
from runs.engine.spend.wanted import Result, Wanted
from runs.errors import ErrorClass, ReasoningError
from runs.models import CallKind, CallState, Question, Step
from tests.spend.conftest import at_work

pytestmark = pytest.mark.django_db(transaction=True)
REFUSED = Result(state=CallState.FAILED, error="no such name", error_class=ErrorClass.DATA)


def failed_twice() -> Claimed:
    claimed = at_work()
    claimed.run.retries = 1
    for n in range(2):
        wanted = Wanted(kind=CallKind.TOOL, name="post.send", key=f"k{n}", request={"to": "anna"}, digest="d")
        permits.record(claimed, permits.permit(claimed, wanted), REFUSED)
    return claimed


def another(claimed: Claimed) -> Step:
    """A step of the same run beside this one."""
    return Step.objects.create(run=claimed.run, seq=9, node="second", input_id=claimed.step.input_id)


def answered(claimed: Claimed, step: Step, verb: str) -> None:
    Question.objects.create(
        run=claimed.run,
        step=step,
        kind="error",
        state="answered",
        title="it failed",
        reason="it failed",
        digest="x",
        expires_at=now(),
        verb=verb,
        answered_by="Marta",
        answered_at=now(),
    )


def is_sent(claimed: Claimed) -> bool:
    try:
        Again(claimed=claimed).tool("post.send", "d")
    except ReasoningError:
        return False
    return True


@pytest.mark.parametrize("verb", ["approve", "respond"])
def test_a_person_who_lets_the_step_try_again_lets_the_call_be_sent(verb: str) -> None:
    claimed = failed_twice()
    assert not is_sent(claimed)
    answered(claimed, claimed.step, verb)
    assert is_sent(claimed)


@pytest.mark.parametrize(("own", "verb"), [(False, "reject"), (False, "approve"), (True, "reject")])
def test_an_answer_about_something_else_or_a_no_does_not(own: bool, verb: str) -> None:
    claimed = failed_twice()
    answered(claimed, claimed.step if own else another(claimed), verb)
    assert not is_sent(claimed)


def test_what_another_step_was_let_try_again_is_not_held_against_this_one() -> None:
    claimed = failed_twice()
    other = replace(claimed, step=another(claimed))
    assert not is_sent(other)
    answered(claimed, claimed.step, "approve")
    assert is_sent(other)


def test_who_lets_a_step_try_again_forgives_what_earlier_steps_met_too() -> None:
    claimed = failed_twice()
    other = replace(claimed, step=another(claimed))
    answered(claimed, other.step, "approve")
    assert is_sent(other)
