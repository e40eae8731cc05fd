"""Model calls, the length of the history, failing models: each said once, by its figure and its own limit."""

from __future__ import annotations

import pytest

from runs.guards.breakers import Breakers
from runs.guards.findings import Guard, Limits, WrongLimit, limits_of
from tests.guards.made import Steps, message, thought
from tests.guards.watching import found, steps_of


def thoughts(count: int) -> Steps:
    return [thought(f"Thought number {number} of this run.") for number in range(count)]


def failures(count: int) -> Steps:
    return [thought("") | {"error": "no answer", "error_kind": "provider"} for _ in range(count)]


def test_the_first_model_call_above_the_limit_is_said_once() -> None:
    assert found(thoughts(20), Guard.TURNS) == []
    findings = found(thoughts(25), Guard.TURNS)
    assert [(one.step, one.figure) for one in findings] == [(20, "21 of 20")]
    assert steps_of(found(thoughts(25), Guard.TURNS, limits=Limits(turns=3))) == [3]


def test_the_step_that_makes_the_history_too_long_is_said_once() -> None:
    lengths = (400, 16_000, 16_001, 9_000, 17_000)
    steps = [message(f"Message number {n}.") | {"context_tokens": length} for n, length in enumerate(lengths)]
    findings = found(steps, Guard.CONTEXT)
    assert [(one.step, one.figure) for one in findings] == [(2, "16,001 of 16,000 tokens")]
    assert steps_of(found(steps, Guard.CONTEXT, limits=Limits(context=300))) == [0]


def test_a_breaker_opens_at_its_own_threshold_and_says_so_of_every_failure_after() -> None:
    assert found(failures(4), Guard.BREAKER) == []
    assert steps_of(found(failures(7), Guard.BREAKER)) == [4, 5, 6]
    assert steps_of(found(failures(2), Guard.BREAKER, limits=Limits(failures=2))) == [1]


def test_an_answer_closes_the_count() -> None:
    assert found([*failures(4), thought("Here I am."), *failures(4)], Guard.BREAKER) == []


def test_a_breaker_counts_over_runs_and_by_model() -> None:
    breakers = Breakers(limits=Limits(failures=3))
    for run in range(2):
        assert found(failures(1), Guard.BREAKER, breakers=breakers, run_id=f"one-{run}") == []
    assert found(failures(1), Guard.BREAKER, breakers=breakers, model="made/two") == []
    assert not breakers.is_open("made/one")
    third = found(failures(1), Guard.BREAKER, breakers=breakers)
    assert [(one.scope, one.figure) for one in third] == [("model made/one", "3 of 3 failures")]
    assert breakers.is_open("made/one")


def test_an_error_in_what_a_model_said_is_no_failure_of_its_provider() -> None:
    steps = [thought("print(1)") | {"error": "exit code 1", "error_kind": "exitcode"} for _ in range(9)]
    assert found(steps, Guard.BREAKER) == []


def test_limits_are_set_by_name() -> None:
    assert limits_of(["turns=7", "context=900"]) == Limits(turns=7, context=900)


@pytest.mark.parametrize(
    "setting",
    ["turns", "turns=", "turns=x", "turns=-1", "turns=0", "repeats=1", "wings=2", "turns=9999999999"],
)
def test_a_limit_that_cannot_be_is_refused_with_what_can(setting: str) -> None:
    with pytest.raises(WrongLimit, match=r"give KIND=VALUE|whole number"):
        limits_of([setting])
