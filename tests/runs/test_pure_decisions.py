"""Routing, verdicts, the tables of moves, canonical JSON: no database."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.canonical import canonical, digest, plain
from runs.definitions import Agent, Another, Ask, End, ErrorPolicy, Fallback, Repair, Retry
from runs.engine.record import IllegalMove, move_attempt, move_run, move_step
from runs.errors import ErrorClass, RecoverableError, classify
from runs.models import Attempt, AttemptState, CallState, Run, RunState, Step, StepState
from runs.models.run import FINAL, MOVES, may_move
from runs.models.step import ATTEMPT_MOVES, CALL_MOVES, STEP_MOVES
from runs.routing import Finish, Go, Visited, route
from runs.verdicts import Escalate, Failure, Stop, TryAgain, Verdict, judge
from tests.runs import flows


def test_a_pipeline_starts_at_its_first_node_with_the_runs_input() -> None:
    step = route(flows.PLAIN, {"a": 1}, [])
    assert isinstance(step, Go)
    assert [(visit.node, visit.input) for visit in step.visits] == [("first", {"a": 1})]


@given(done=st.integers(min_value=1, max_value=3), output=st.integers())
def test_a_pipeline_hands_the_last_output_to_the_next_node_or_finishes(done: int, output: int) -> None:
    names = [node.name for node in flows.PLAIN.nodes]
    history = [Visited(node=name, output=output) for name in names[:done]]
    step = route(flows.PLAIN, {}, history)
    if done == len(names):
        assert step == Finish(output=output)
        return
    assert isinstance(step, Go)
    assert [(visit.node, visit.input) for visit in step.visits] == [(names[done], output)]


@given(text=st.text())
def test_no_output_of_an_agent_changes_the_route_of_a_pipeline(text: str) -> None:
    hostile = {"next": "third", "node": text, "goto": text}
    step = route(flows.PLAIN, {}, [Visited(node="first", output=hostile)])
    assert isinstance(step, Go)
    assert step.visits[0].node == "second"


def failure(error_class: ErrorClass, **more: object) -> Failure:
    return Failure(error_class=error_class, message="it broke", **more)  # type: ignore[arg-type]


@given(tries=st.integers(0, 20), jitter=st.floats(0, 0.999), asked=st.none() | st.floats(0, 100))
def test_a_retry_waits_no_longer_than_its_cap_nor_shorter_than_asked(
    tries: int, jitter: float, asked: float | None
) -> None:
    rule = Retry(times=30, base_seconds=1.0, cap_seconds=30.0)
    verdict = judge(
        ErrorPolicy(recoverable=rule),
        failure(ErrorClass.RECOVERABLE, retry_after=asked),
        tries=tries,
        budget_left=1,
        jitter=jitter,
    )
    assert isinstance(verdict, TryAgain)
    assert (asked or 0.0) <= verdict.after_seconds <= max(30.0, asked or 0.0)


@pytest.mark.parametrize("tries", [0, 1, 2, 3])
def test_retries_end_at_their_number(tries: int) -> None:
    policy = ErrorPolicy(recoverable=Retry(times=2, then=End()))
    verdict = judge(policy, failure(ErrorClass.RECOVERABLE), tries=tries, budget_left=9, jitter=0.5)
    assert isinstance(verdict, TryAgain if tries < 2 else Stop)


def test_retries_end_with_the_runs_budget_and_the_reason_says_so() -> None:
    verdict = judge(ErrorPolicy(), failure(ErrorClass.RECOVERABLE), tries=1, budget_left=0, jitter=0.5)
    assert isinstance(verdict, Escalate)
    assert "used up" in verdict.reason


def test_without_a_word_nobody_is_given_its_own_broken_output_again() -> None:
    for error_class in (ErrorClass.DATA, ErrorClass.REASONING):
        verdict = judge(
            ErrorPolicy(), failure(error_class, where="total"), tries=0, budget_left=9, jitter=0.5
        )
        assert isinstance(verdict, Escalate)


def test_a_repair_tells_the_agent_the_failing_path() -> None:
    policy = ErrorPolicy(data=Repair(times=1, then=Ask()))
    verdict = judge(policy, failure(ErrorClass.DATA, where="total"), tries=0, budget_left=9, jitter=0.5)
    assert isinstance(verdict, TryAgain)
    assert "total" in verdict.note
    assert "it broke" in verdict.note


@given(st.sampled_from([Retry(), Repair(), Ask(), End()]))
def test_what_nobody_foresaw_always_goes_to_a_person(rule: Retry | Repair | Ask | End) -> None:
    policy = ErrorPolicy(recoverable=rule, data=rule, reasoning=rule)
    verdict = judge(policy, failure(ErrorClass.UNFORESEEN), tries=0, budget_left=9, jitter=0.5)
    assert isinstance(verdict, Escalate)


@pytest.mark.parametrize(
    ("error", "error_class"),
    [
        (RecoverableError("x"), ErrorClass.RECOVERABLE),
        (TimeoutError(), ErrorClass.RECOVERABLE),
        (ConnectionResetError(), ErrorClass.RECOVERABLE),
        (KeyError("x"), ErrorClass.UNFORESEEN),
    ],
)
def test_errors_have_a_class(error: Exception, error_class: ErrorClass) -> None:
    assert classify(error) == error_class


@pytest.mark.parametrize(("old", "new"), list(itertools.product(RunState, RunState)))
def test_runs_move_by_the_table_alone(old: RunState, new: RunState) -> None:
    run = Run(pk=1, state=old)
    if old == new or new in MOVES[old]:
        move_run(run, new)
        assert run.state == new
        return
    with pytest.raises(IllegalMove, match=f"{old}, it cannot become {new}"):
        move_run(run, new)
    assert run.state == old


@pytest.mark.parametrize(("old", "new"), list(itertools.product(StepState, StepState)))
def test_steps_move_by_the_table_alone(old: StepState, new: StepState) -> None:
    step = Step(pk=1, run_id=1, seq=1, state=old)
    if old == new or new in STEP_MOVES[old]:
        move_step(step, new)
        assert step.state == new
        return
    with pytest.raises(IllegalMove):
        move_step(step, new)
    assert step.state == old


@pytest.mark.parametrize(("old", "new"), list(itertools.product(AttemptState, AttemptState)))
def test_attempts_move_by_the_table_alone(old: AttemptState, new: AttemptState) -> None:
    attempt = Attempt(pk=1, step_id=1, number=1, state=old)
    if old == new or new in ATTEMPT_MOVES[old]:
        move_attempt(attempt, new)
        assert attempt.state == new
        return
    with pytest.raises(IllegalMove):
        move_attempt(attempt, new)
    assert attempt.state == old


def test_every_state_stands_in_its_table_and_final_ones_lead_nowhere() -> None:
    assert set(MOVES) == set(RunState)
    assert set(STEP_MOVES) == set(StepState)
    assert set(ATTEMPT_MOVES) == set(AttemptState)
    assert set(CALL_MOVES) == set(CallState)
    assert all(not MOVES[state] for state in FINAL)
    assert not may_move(RunState.ENDED, RunState.READY)


nested = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(nested)
def test_canonical_json_is_stable_and_survives_its_own_reading(value: object) -> None:
    import json

    once = canonical(value)
    assert canonical(json.loads(once)) == once
    assert digest(json.loads(once)) == digest(value)
    once.encode()


@given(st.text())
def test_plain_text_can_be_kept_by_postgresql(text: str) -> None:
    kept = plain(text)
    assert "\x00" not in kept
    kept.encode()


def test_numbers_that_json_lacks_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical({"x": float("nan")})


CHAIN = Retry(
    times=2,
    base_seconds=1.0,
    then=Fallback(
        models=("simulated/b", "simulated/c"),
        then=Another(
            agent=Agent(name="other", model="simulated/o", prompt="", prompt_version="1"),
            then=Repair(times=2, then=End()),
        ),
    ),
)


@pytest.mark.parametrize(
    ("tries", "wanted"),
    [
        (0, TryAgain(after_seconds=0.5)),
        (1, TryAgain(after_seconds=1.0)),
        (2, TryAgain(after_seconds=0.0, by="model:simulated/b")),
        (3, TryAgain(after_seconds=0.0, by="model:simulated/c")),
        (4, TryAgain(after_seconds=0.0, by="agent:other")),
        (7, Stop(reason="no (a recoverable error, tried 8 times)")),
    ],
)
def test_each_link_of_a_chain_is_used_up_before_the_next(tries: int, wanted: Verdict) -> None:
    policy = ErrorPolicy(recoverable=CHAIN)
    failure = Failure(error_class=ErrorClass.RECOVERABLE, message="no")
    assert judge(policy, failure, tries=tries, budget_left=9, jitter=0.5) == wanted


def test_a_chain_goes_to_its_end_when_the_run_has_no_retries_left() -> None:
    failure = Failure(error_class=ErrorClass.RECOVERABLE, message="no")
    verdict = judge(ErrorPolicy(recoverable=CHAIN), failure, tries=1, budget_left=0, jitter=0.5)
    assert isinstance(verdict, Stop)
    assert "the run's retries are used up" in verdict.reason


def test_a_repair_in_a_chain_is_told_what_was_wrong() -> None:
    failure = Failure(error_class=ErrorClass.RECOVERABLE, message="no", where="total")
    verdict = judge(ErrorPolicy(recoverable=CHAIN), failure, tries=5, budget_left=9, jitter=0.5)
    assert isinstance(verdict, TryAgain)
    assert verdict.by is None
    assert "at total: no" in verdict.note
