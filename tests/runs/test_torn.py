"""One step of many, its settlement lost with its connection: it alone is found and given back, the others go on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.db.models import F

from runs.engine import lanes, sweep
from runs.engine.advance import advance
from runs.engine.claim import claim
from runs.engine.outcomes import Lost, Output
from runs.engine.perform import perform
from runs.engine.record import lock_run
from runs.engine.settle import settle
from runs.engine.spend import permits
from runs.engine.spend.wanted import Wanted
from runs.engine.turn import POISON_AFTER, SUSPECT_AFTER
from runs.engine.worker import heart
from runs.engine.worker.runtime import Runtime
from runs.engine.worker.torn import Torn
from runs.models import CallKind, Event, Run, Step
from tests import patience
from tests.runs import teams
from tests.runs.conftest import advanced, only, start
from tests.runs.test_fanned import task, under_way
from tests.runs.test_patterns import output

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    teams.GO.clear()
    yield
    teams.GO.set()


def lose_one(monkeypatch: pytest.MonkeyPatch, *, recorded: bool) -> Callable[[], bool]:
    """The first settlement of a task loses its connection, before or after its commit. Says whether it has."""
    real, lost = lanes.row, threading.Event()

    def row(sql: str, values: Any, **more: Any) -> Any:
        if "runs_task_done" not in sql or lost.is_set():
            return real(sql, values, **more)
        if recorded:
            real(sql, values, **more)
        lost.set()
        raise OperationalError("the server closed the connection unexpectedly")

    monkeypatch.setattr(lanes, "row", row)
    return lost.is_set


def beaten(runtime: Runtime, true: Callable[[], bool]) -> None:
    """Until it is so; the heart beats."""

    def beat() -> bool:
        runtime.beat()
        return true()

    patience.until(beat)


def given_back(run: Run) -> list[int]:
    return list(Event.objects.filter(run=run, kind="given back").values_list("step__place", flat=True))


@pytest.mark.parametrize(
    ("recorded", "lost"),
    [(False, 3), (True, 4)],
    ids=["the step itself", "what was claimed with its record"],
)
def test_what_was_lost_goes_on_and_what_is_performed_beside_it_is_not_disturbed(
    recorded: bool, lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = Runtime("torn", "agents")
    gone = lose_one(monkeypatch, recorded=recorded)
    run = start("chores_many", does=["waits"] * 3 + ["done"] * 3)
    look = threading.Thread(target=_advance_and_close, args=(run, runtime))
    look.start()
    patience.until(gone)
    beaten(runtime, lambda: bool(given_back(run)))
    assert given_back(run) == [lost]
    assert [flight.lost for flight in runtime.in_flight()] == [False] * 3
    assert sweep.due_beside("torn") == [run.pk]
    again = threading.Thread(target=_advance_and_close, args=(run, runtime))
    again.start()
    patience.until(lambda: run.steps.filter(state="done").count() == 4)  # the plan and three tasks
    teams.GO.set()
    patience.joined(look)
    patience.joined(again)
    run.refresh_from_db()
    assert output(run)["done"] == 6
    assert not Event.objects.filter(run=run, kind__in=["voided", "worker lost"]).exists()
    assert Event.objects.filter(run=run, kind="step done").count() == 8
    assert (run.fence, set(run.steps.values_list("losses", flat=True))) == (1, {0})


def _advance_and_close(run: Run, runtime: Runtime) -> None:
    advance(run.pk, runtime)
    connection.close()


def test_a_step_that_was_given_back_is_not_settled_by_who_had_it(runtime: Runtime) -> None:
    (claimed, *_), outcome = under_way(runtime)
    assert heart.give_back_steps(runtime.name, claimed.run.pk, claimed.fence, {claimed.step.pk})
    assert settle(claimed, outcome).why == "dropped"  # type: ignore[union-attr]
    assert task(claimed.run, 0).get().state == "running"
    voided = Event.objects.get(run=claimed.run, kind="voided")
    assert voided.data["why"] == "the step was given back"


def test_an_attempt_of_which_nobody_knows_how_it_ended_does_not_cut_the_others(runtime: Runtime) -> None:
    (claimed, *_), _ = under_way(runtime)
    assert settle(claimed, Lost(why="the database could not be reached")).why == "lost"  # type: ignore[union-attr]
    assert task(claimed.run, 0).get().state == "running"


def test_a_step_that_can_never_be_settled_asks_a_person_in_the_end(runtime: Runtime) -> None:
    (claimed, *_), _ = under_way(runtime)
    run = claimed.run
    for _ in range(heart.ACCIDENTS + POISON_AFTER):
        assert not run.questions.exists()
        assert heart.give_back_steps(runtime.name, run.pk, claimed.fence, {claimed.step.pk})
        claim(run.pk, worker=runtime.name)
        others = (
            task(run, 0).get().parent.tasks.filter(state="running").exclude(place=0)
        )  # a suspect is alone
        if task(run, 0).get().losses >= SUSPECT_AFTER:
            others.update(state="done", output=F("input"), fence=0)
            claim(run.pk, worker=runtime.name)
    assert run.questions.get().step_id == claimed.step.pk


def test_steps_are_given_back_by_who_holds_the_run_alone(runtime: Runtime) -> None:
    (claimed, *_), _ = under_way(runtime)
    steps = {claimed.step.pk}
    assert heart.performed("stranger", claimed.run.pk, claimed.fence) is None
    heart.give_back_steps("stranger", claimed.run.pk, claimed.fence, steps)
    heart.give_back_steps(runtime.name, claimed.run.pk, claimed.fence - 1, steps)
    assert given_back(claimed.run) == []


def test_a_step_with_an_effect_that_may_be_on_its_way_is_not_given_back(runtime: Runtime) -> None:
    (claimed, *_), _ = under_way(runtime)
    wanted = Wanted(kind=CallKind.TOOL, name="send", key="send", request={}, effect="irreversible")
    permits.permit(claimed, wanted)
    steps = {claimed.step.pk}
    assert heart.give_back_steps(runtime.name, claimed.run.pk, claimed.fence, steps) is False
    assert given_back(claimed.run) == []


def test_a_row_that_others_have_is_not_waited_for_long(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    (claimed, *_), _ = under_way(runtime)
    monkeypatch.setattr(heart, "PATIENCE_SECONDS", 0.05)
    found: list[bool | None] = []

    def give_back() -> None:
        found.append(heart.give_back_steps(runtime.name, claimed.run.pk, claimed.fence, {claimed.step.pk}))
        connection.close()

    with transaction.atomic():
        lock_run(claimed.run.pk)
        thread = threading.Thread(target=give_back)
        thread.start()
        thread.join()
    assert found == [None]
    assert given_back(claimed.run) == []


# the two looks


def test_what_is_idle_at_both_looks_and_never_flew_between_is_lost() -> None:
    torn = Torn()
    torn.tore(1, 5)
    torn.first_look(1, 5, {10, 11, 12}, 100.0)
    torn.took_off(1, 11)  # it was between its claim and its flight
    assert torn.second_look(1, 5, {10, 11}) == {10}  # 12 was settled meanwhile
    assert torn.runs() == []


def test_what_tears_again_between_the_looks_is_looked_at_anew() -> None:
    torn = Torn()
    torn.tore(1, 5)
    torn.first_look(1, 5, {10}, 100.0)
    torn.tore(1, 6)
    assert torn.second_look(1, 5, {10}) == set()
    assert torn.runs() == [(1, 6, None)]


def test_a_thread_that_claims_since_before_the_first_look_is_waited_for(runtime: Runtime) -> None:
    claims, _ = under_way(runtime)
    run = claims[0].run
    flight = runtime.take_off(run.pk, run.workflow, claims[0].fence, step_id=claims[0].step.pk)
    try:
        with runtime.looking():  # it has claimed the other three
            runtime.tore(run.pk, claims[0].fence)
            for _ in range(3):
                runtime.beat()
            assert given_back(run) == []
            others = [
                runtime.take_off(run.pk, run.workflow, one.fence, step_id=one.step.pk) for one in claims[1:]
            ]
        runtime.beat()
        assert given_back(run) == []
        for one in others:
            runtime.land(one)
    finally:
        runtime.land(flight)


def test_a_run_of_which_nothing_else_is_performed_is_given_back_as_a_whole() -> None:
    runtime = Runtime("torn", "agents")
    run = start("plain", text="abc")
    claimed = only(claim(run.pk, worker="torn"))
    with runtime.fly(0, "", 0) as flight:
        outcome = perform(claimed, flight)
    assert isinstance(outcome, Output)
    runtime.tore(run.pk, claimed.fence)
    beaten(runtime, lambda: Run.objects.get(pk=run.pk).state == "ready")
    assert Step.objects.get(run=run).fence == 0
    assert advanced(run, runtime).state == "done"
