"""An approval in the middle of an attempt: the run parks, and goes on from exactly there, whatever the answer was."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runs import bodies
from runs.engine.worker.runtime import Runtime
from runs.models import CallKind, Run
from tests.runs import flows, teams
from tests.runs.conftest import advanced, answered, question_of, start

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["teams"]


def parked(workflow: str, runtime: Runtime) -> Run:
    order = {"amount": 500} if workflow == "delegating" else {"amount": 500, "plan": "well", "text": "hello"}
    run = advanced(start(workflow, **order), runtime)
    assert run.state == "waiting"
    return run


def edited(run: Run) -> dict[str, Any]:
    action = question_of(run).action
    return {**action, "arguments": {**action["arguments"], "amount": 450}}


def said_to_the_agent(run: Run) -> Any:
    """What the agent that asked for the payment was answered."""
    calls = run.calls.filter(kind=CallKind.MODEL).order_by("pk")
    for call in reversed(calls):
        last = bodies.load(call.request)["messages"][-1]
        if last["role"] == "tool":
            answer = json.loads(last["text"])
            if "said" not in answer:
                return answer
    raise AssertionError("nobody was answered")


@pytest.mark.parametrize("workflow", ["paying", "delegating"])
@pytest.mark.parametrize(
    ("verb", "edits", "paid", "answer"),
    [
        ("approve", False, [500], {"paid": 500}),
        ("approve", True, [450], {"paid": 450}),
        ("reject", False, [], {"denied": "too much"}),
        ("respond", False, [], {"answer": "too much"}),
    ],
)
def test_it_goes_on_from_there_after_every_answer_and_a_restart(
    runtime: Runtime, workflow: str, verb: str, edits: bool, paid: list[int], answer: dict[str, Any]
) -> None:
    run = parked(workflow, runtime)
    sent_before = list(run.calls.values_list("pk", flat=True))
    text = "" if verb == "approve" else "too much"
    answered(run, verb, text, edited(run) if edits else None)
    run = advanced(run, Runtime("another process", "agents"))
    assert run.state == "done", run.ending
    assert [amount for _, amount in flows.CASHBOX.paid] == paid
    told = said_to_the_agent(run)
    assert {key: told[key] for key in answer} == answer
    assert ("edited_by_operator" in told) == edits
    assert run.steps.last().attempts.count() == 1  # type: ignore[union-attr]
    new = run.calls.exclude(pk__in=sent_before)
    keys = list(run.calls.filter(kind=CallKind.MODEL).values_list("key", flat=True))
    assert len(keys) == len(set(keys)), "a recorded model call was sent again"
    assert new.filter(kind=CallKind.TOOL).count() == 1


def test_what_was_said_so_far_is_stored_when_it_parks(runtime: Runtime) -> None:
    run = parked("delegating", runtime)
    (attempt,) = run.steps.get().attempts.all()
    assert attempt.history is not None
    stored = bodies.load(attempt.history)
    assert [one["agent"] for one in stored] == ["manager", "clerk"]
    assert [one["messages"][-1]["tool_calls"][0]["name"] for one in stored] == ["ask_clerk", "cashbox.pay"]
