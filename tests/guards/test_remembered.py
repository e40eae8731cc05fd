"""What a worker remembers of what a run has read is what it would read again: no more, no less."""

from __future__ import annotations

from typing import Any

import pytest

from runs.engine import remembered, sources
from runs.engine.claimed import Claimed
from runs.engine.worker.runtime import Runtime
from runs.guards.taint import Taint
from runs.models import Question, QuestionState, Run
from tests.guards.flows import WORLD
from tests.runs.conftest import advanced, start

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quick")]


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime("remembering-worker", "agents")


def _sends_at_each_visit(visits: int) -> None:
    WORLD.script = lambda number: (
        ("post.send", {"to": f"anna{WORLD.asked}@friends.example"}) if not number else None
    )
    WORLD.outputs = [f"again {number}" for number in range(visits)]


def _knows(taint: Taint) -> tuple[Any, ...]:
    return taint.known, taint.sure, taint.used, taint.origins._leaves, taint.origins.cut


def test_at_every_visit_it_knows_what_reading_all_anew_would_tell(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[bool] = []
    provenance = remembered.provenance

    def both(claimed: Claimed, prompts: tuple[str, ...]) -> Taint:
        compared.append(bool(remembered._memories))
        found = provenance(claimed, prompts)
        assert _knows(found) == _knows(remembered._read(claimed, prompts)[0])
        found.told("what is said to this attempt alone")
        found.read(99, "the attempt", {}, "what it has read by itself")
        return found

    monkeypatch.setattr(remembered, "provenance", both)
    _sends_at_each_visit(4)
    run = advanced(start("watched_round", ask="anna1@friends.example"), runtime, times=40)
    assert (run.state, len(WORLD.sent)) == ("done", 5)
    assert compared == [False, True, True, True, True]


def test_of_a_run_that_goes_on_only_what_is_new_is_read(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    tell = sources.tell

    def told(claimed: Claimed, taint: Taint, since: Any = None) -> Any:
        asked.append(since.seq if since else 0)
        return tell(claimed, taint, since)

    monkeypatch.setattr(sources, "tell", told)
    _sends_at_each_visit(3)
    advanced(start("watched_round", ask="a"), runtime, times=40)
    assert asked == [0]  # every step of it was performed here, one after the other
    asked.clear()
    monkeypatch.setattr(remembered, "handed_on", lambda *step: None)  # as if others had performed them
    _sends_at_each_visit(3)
    advanced(start("watched_round", ask="a"), runtime, times=40)
    assert asked == [0, 1, 3, 5]


def test_what_people_write_meanwhile_bears_on_all_that_was_read(runtime: Runtime) -> None:
    _sends_at_each_visit(0)
    run = advanced(start("watched_round", ask="a"), runtime, times=40)
    ((memory,),) = (of_run.values() for of_run in remembered._memories.values())
    Question.objects.create(
        run=run,
        step=run.steps.get(),
        kind="approval",
        state=QuestionState.ANSWERED,
        verb="approve",
        action={"to": "x"},
        answer={"to": "carla@elsewhere.example"},
        reason="looked at",
        expires_at=run.deadline_at,
    )
    assert sources.tell(_at(run), memory.taint.copy(), memory.upto) is None


def _at(run: Run) -> Claimed:
    from runs import registry

    workflow = registry.workflow("watched_round", 1)
    assert workflow is not None
    step = run.steps.get()
    return Claimed(
        run=run,
        workflow=workflow,
        node=workflow.node("act"),
        step=step,
        attempt=step.attempts.get(),
        fence=run.fence,
        worker="w",
        seconds_left=60.0,
    )


def test_no_more_is_remembered_than_a_process_may_keep(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "MOST_RUNS", 1)
    for _ in range(2):
        _sends_at_each_visit(0)
        last = advanced(start("watched_round", ask="a"), runtime, times=40)
    assert list(remembered._memories) == [last.pk]
    remembered._memories.clear()
    monkeypatch.setattr(remembered, "MOST_CHARACTERS", 0)
    _sends_at_each_visit(1)
    advanced(start("watched_round", ask="a"), runtime, times=40)
    assert not any(remembered._memories.values())
