"""A worker that stands still with the gate in its hands. What else a freeze may do: test_crash_matrix.py."""

from __future__ import annotations

from runs.engine import holds
from runs.models import Call, Run
from tests import patience
from tests.faults import workflows
from tests.faults.acts import engage, fresh, release, resume, start
from tests.faults.broker import Broker
from tests.faults.fleet import NEVER, Fleet, Process, SinkProcess, until


def test_a_worker_frozen_between_permit_and_hand_over_cannot_starve_a_stop_and_aborts_unsent(
    fleet: Fleet, broker: Broker, sink: SinkProcess
) -> None:
    fleet.env = sink.env
    run = start(workflows.SEND.name)
    sleeper = _frozen_at("before_effect", run, fleet, broker)
    control = patience.ends(lambda: engage("stop", "everything"))
    assert (
        holds.confirmation(control).state == "stopping"
    )  # it is not called stopped while a worker says nothing
    sleeper.thaw()
    call = Call.objects.filter(run=run, kind="tool")
    until(lambda: call.get().state == "refused", "it notices that its time at the gate is over")
    assert "aborted unsent" in call.get().error
    assert sink.keys() == []
    release(control)
    resume(run.pk)
    fleet.agents("rescuer")  # the sleeper looks for nothing by itself
    until(lambda: fresh(run).state == "done", "it goes on")
    assert len(sink.keys()) == 1


def _frozen_at(failpoint: str, run: Run, fleet: Fleet, broker: Broker) -> Process:
    sleeper = fleet.agents("sleeper", threads=1, failpoint=f"{failpoint}:freeze", RUNS_SWEEP_SECONDS=NEVER)
    broker.hint(run.pk)
    sleeper.wait_frozen()
    return sleeper
