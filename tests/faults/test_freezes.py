"""A worker that stands still past its lease and wakes up: what it then says is too late, and nothing happens twice."""

from __future__ import annotations

import time

import pytest
from django.db import transaction

from runs.definitions import Workflow
from runs.engine import holds
from runs.engine.record import now
from runs.models import Call, Question, Run, Step
from tests.faults import workflows
from tests.faults.broker import Broker
from tests.faults.conftest import fresh, start
from tests.faults.fleet import NEVER, Fleet, Process, SinkProcess, until


@pytest.mark.parametrize(
    ("failpoint", "workflow", "arrivals"),
    [
        ("after_claim", workflows.SEND, 1),
        ("after_effect_before_record", workflows.SEND_REPEATABLE, 2),
        ("after_effect_before_record", workflows.SEND_FOUND, 1),
    ],
    ids=["after the claim", "after a repeatable effect", "after an effect that can be found"],
)
def test_a_worker_that_wakes_up_after_its_lease_changes_nothing(
    failpoint: str,
    workflow: Workflow,
    arrivals: int,
    fleet: Fleet,
    broker: Broker,
    sink: SinkProcess,
) -> None:
    fleet.env = sink.env
    run = start(workflow.name)
    sleeper = _frozen_at(failpoint, run, fleet, broker)
    _done_by_another(run, fleet, broker)
    outputs = _outputs(run)
    sleeper.thaw()
    until(lambda: run.events.filter(kind="voided").exists(), "the late outcome is on record as voided")
    assert _outputs(run) == outputs
    assert len(sink.keys()) == arrivals
    assert len(set(sink.keys())) == 1
    assert fresh(run).state == "done"
    assert not sleeper.ended()


def test_a_worker_frozen_inside_its_settlement_does_not_keep_the_run(fleet: Fleet, broker: Broker) -> None:
    """It holds the run's row and the gate. PostgreSQL ends its transaction for it."""
    run = start(workflows.CHAIN.name)
    sleeper = _frozen_at("mid_settle", run, fleet, broker)
    _done_by_another(run, fleet, broker)
    outputs = _outputs(run)
    sleeper.thaw()
    idle = start(workflows.CHAIN.name)  # it is a worker again, on a fresh connection
    broker.hint(idle.pk)
    until(lambda: fresh(idle).state == "done", "the next run is done")
    assert _outputs(run) == outputs


def test_a_worker_frozen_between_permit_and_hand_over_cannot_starve_a_stop_and_aborts_unsent(
    fleet: Fleet, broker: Broker, sink: SinkProcess
) -> None:
    fleet.env = sink.env
    run = start(workflows.SEND.name)
    sleeper = _frozen_at("before_effect", run, fleet, broker)
    asked = time.monotonic()
    with transaction.atomic():
        control, _ = holds.engage("stop", "everything", by="Marta")
    assert time.monotonic() - asked < 5.0
    assert (
        holds.confirmation(control).state == "stopping"
    )  # it is not called stopped while a worker says nothing
    sleeper.thaw()
    call = Call.objects.filter(run=run, kind="tool")
    until(lambda: call.get().state == "refused", "it notices that its time at the gate is over")
    assert "aborted unsent" in call.get().error
    assert sink.keys() == []
    holds.release(control.pk, by="Marta", reason="seen")


def _frozen_at(failpoint: str, run: Run, fleet: Fleet, broker: Broker) -> Process:
    sleeper = fleet.agents("sleeper", threads=1, failpoint=f"{failpoint}:freeze", RUNS_SWEEP_SECONDS=NEVER)
    broker.hint(run.pk)
    sleeper.wait_frozen()
    return sleeper


def _done_by_another(run: Run, fleet: Fleet, broker: Broker) -> None:
    fleet.agents("rescuer")
    until(lambda: (fresh(run).due_at or now()) <= now(), "its lease has run out")
    broker.hint(run.pk)
    until(lambda: fresh(run).final, f"{run} is final")
    assert fresh(run).state == "done"
    assert not Question.objects.filter(run=run).exists()


def _outputs(run: Run) -> list[tuple[int, str, str | None]]:
    return list(Step.objects.filter(run=run).order_by("seq").values_list("seq", "state", "output_id"))
