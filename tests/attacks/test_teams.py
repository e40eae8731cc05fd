"""Supervisors, workers and people that do their worst at the same moment, through the engine and the database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

from runs import bodies
from runs.agents.door import ModelReply, ModelRequest
from runs.agents.simulated import calls, says
from runs.definitions import Results
from runs.engine.advance import advance
from runs.engine.runtime import Runtime
from runs.models import Attempt, Call, Event, Run, Step
from tests.attacks import gangs, rogues
from tests.attacks.gangs import Errand, Told
from tests.runs.conftest import advanced, start

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE = 20.0


@pytest.fixture(autouse=True)
def _nothing_told() -> Iterator[None]:
    rogues.DONE.clear()
    gangs.DOES["does"] = lambda errand: Told(words="done")
    yield
    gangs.forget()


class Latch:
    """Something that a test lets happen: until then whoever comes here waits."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go = threading.Event()

    def hold(self) -> None:
        self.reached.set()
        assert self.go.wait(PATIENCE)


def planned(*errands: tuple[str, str]) -> Callable[[ModelRequest], ModelReply]:
    """A supervisor's reply: (worker, what it does) for each task."""
    tasks = [
        {"worker": worker, "input": {"does": does, "number": n}} for n, (worker, does) in enumerate(errands)
    ]
    return lambda request: says(request, {"tasks": tasks})


def of(workflow: str, *errands: tuple[str, str]) -> Run:
    """A new run with that plan."""
    gangs.PLANS["this"] = planned(*errands)
    return start(workflow, plan="this")


def looking_at(run: Run, runtime: Runtime) -> threading.Thread:
    """A thread that advances the run."""

    def look() -> None:
        advance(run.pk, runtime)
        connection.close()

    thread = threading.Thread(target=look)
    thread.start()
    return thread


def joined(*threads: threading.Thread) -> None:
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def fresh(run: Run) -> Run:
    return Run.objects.get(pk=run.pk)


def ending(run: Run) -> tuple[str, Any]:
    run = fresh(run)
    return run.state, bodies.load(run.output) if run.output else run.ending


def tasks(run: Run) -> list[str]:
    return list(run.steps.filter(parent__isnull=False).order_by("place").values_list("state", flat=True))


def consistent(run: Run) -> None:
    """What must be true of a run at rest, however it came there."""
    run = fresh(run)
    steps = Step.objects.filter(run=run)
    events = Event.objects.filter(run=run)
    assert list(events.order_by("seq").values_list("seq", flat=True)) == list(range(1, run.event_seq + 1))
    for step in steps.filter(state="done"):
        assert events.filter(step=step, kind="step done").count() == 1
    for call in Call.objects.filter(run=run, step__finished_at__isnull=False).select_related("step"):
        assert call.step.finished_at is not None
        assert call.permitted_at <= call.step.finished_at, "a call was permitted after its step was over"
    if run.final:
        assert not steps.filter(state__in=("ready", "running", "sleeping", "waiting")).exists()
        assert not Attempt.objects.filter(step__run=run, state__in=("running", "asked", "cut")).exists()
        assert not run.questions.filter(state="open").exists()
        assert run.due_at is None
    elif not run.hold:
        assert run.due_at is not None or run.questions.filter(state="open").exists(), "nobody will look again"


# what is not needed any more


def test_a_task_that_is_taken_up_in_the_turn_that_ends_the_rest_is_not_performed(runtime: Runtime) -> None:
    begun: list[int] = []

    def notes(errand: Errand) -> Told:
        begun.append(errand.number)
        return Told(words="done")

    gangs.DOES["notes"] = notes
    gangs.DOES["late"] = notes
    run = advanced(of("first_of_gang", ("run", "does"), *[("run", "late")] * 5), runtime)
    assert run.state == "done", run.ending
    assert tasks(run).count("done") + tasks(run).count("ended") == 6
    done = Step.objects.filter(run=run, parent__isnull=False, state="done").count()
    assert len(begun) <= done + 1  # beside the first at most one was under way
    consistent(run)


def test_a_task_under_way_that_is_not_needed_any_more_gets_no_permit_and_disturbs_nobody(
    runtime: Runtime,
) -> None:
    late, gather = Latch(), Latch()

    def spend_late(request: ModelRequest) -> ModelReply:
        if request.messages[-1].role == "tool":
            return calls(request, "bank.transfer", {"amount": 5})
        return calls(request, "hold", {"name": "late"})

    def gathers(results: Results) -> Told:
        gather.hold()
        return Told(words="gathered")

    def after_it(errand: Errand) -> Told:
        assert late.reached.wait(PATIENCE)
        return Told(words="done")

    gangs.HOLDS["late"], gangs.BEHAVES["spends late"] = late.hold, spend_late
    gangs.GATHERS["this"], gangs.DOES["after it"] = gathers, after_it
    run = of("first_of_gang", ("boy", "spends late"), ("run", "after it"))
    look = looking_at(run, runtime)
    assert gather.reached.wait(PATIENCE)  # the join is met, the node after it is under way
    late.go.set()
    _until(lambda: Event.objects.filter(run=run, kind="voided").exists())
    gather.go.set()
    joined(look)
    assert ending(run) == ("done", {"words": "gathered", "extra": None})
    assert rogues.DONE == []
    assert fresh(run).fence == 1, "nobody lost the run over it"
    consistent(run)


def _until(true: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.02)):
        if true():
            return
        pause.wait(0.02)
    raise AssertionError("it did not become so")
