"""kill -9 of workers, where the crash matrix (test_crash_matrix.py) does not look: what is booked, and poison."""

from __future__ import annotations

from runs.engine.record import now
from runs.models import Attempt, Call, Question, Run, Step
from tests.faults import workflows
from tests.faults.acts import answer, fresh, start
from tests.faults.broker import Broker
from tests.faults.fleet import NEVER, Fleet, SinkProcess, until


def test_a_worker_killed_in_its_heartbeat_loses_the_call_that_was_in_flight_and_nothing_else(
    fleet: Fleet, broker: Broker, sink: SinkProcess
) -> None:
    run = _killed_at("mid_heartbeat:4", workflows.SEND.name, fleet, broker, sink, SIMULATED_SECONDS=60.0)
    _rescued(run, fleet, broker)
    _ended_right(run)
    assert len(sink.keys()) == 1
    sends = Call.objects.filter(run=run, kind="model").order_by("pk").values_list("send", "state")
    assert list(sends)[:2] == [(1, "permitted"), (2, "done")]  # each sending is booked on its own


def test_a_step_that_takes_its_worker_down_again_and_again_asks_a_person(
    fleet: Fleet, broker: Broker, sink: SinkProcess
) -> None:
    run = start(workflows.CHAIN.name)
    for number in range(3):
        doomed = fleet.agents(f"doomed{number}", threads=1, failpoint="after_claim:kill", **_HINTS_ONLY)
        broker.hint(run.pk)
        doomed.wait_killed()
        _until_due(run)
    _rescued(run, fleet, broker)
    question = Question.objects.get(run=run)
    assert (question.kind, fresh(run).state) == ("error", "waiting")
    assert "lost its worker" in question.title
    answer(run, "approve")
    broker.hint(run.pk)
    _until_final(run)
    _ended_right(run)


_HINTS_ONLY = {"RUNS_SWEEP_SECONDS": NEVER}


def _killed_at(
    failpoint: str, workflow: str, fleet: Fleet, broker: Broker, sink: SinkProcess, **settings: float
) -> Run:
    """A run whose worker was killed there. The worker looks at nothing but the hints it gets."""
    name, _, passage = failpoint.partition(":")
    fleet.env = sink.env
    run = start(workflow)
    doomed = fleet.agents(
        "doomed", threads=1, failpoint=f"{name}:kill:{passage or 1}", **_HINTS_ONLY, **settings
    )
    broker.hint(run.pk)
    doomed.wait_killed()
    assert fresh(run).state == "running", "nobody has noticed yet"
    return run


def _rescued(run: Run, fleet: Fleet, broker: Broker) -> None:
    """Another worker has taken the run as far as it goes, after the lease and not before."""
    before = fresh(run)
    fleet.agents("rescuer")
    broker.hint(run.pk)  # too early: it must change nothing
    _until_due(run)
    broker.hint(run.pk)
    until(lambda: fresh(run).state not in ("ready", "running", "sleeping"), f"{run} waits or is done")
    after = fresh(run)
    assert after.fence > before.fence
    lost = run.events.filter(kind="worker lost").order_by("-seq")[0]
    assert before.lease_until is not None
    assert lost.at >= before.lease_until


def _until_due(run: Run) -> None:
    until(lambda: (fresh(run).due_at or now()) <= now(), "its lease has run out")


def _until_final(run: Run) -> None:
    until(lambda: fresh(run).final, f"{run} is final")


def _ended_right(run: Run) -> None:
    run = fresh(run)
    assert run.state == "done", run.ending
    steps = Step.objects.filter(run=run).order_by("seq").values_list("seq", "state")
    nodes = len(workflows.CHAIN.nodes if run.workflow == workflows.CHAIN.name else workflows.SEND.nodes)
    assert list(steps) == [(seq, "done") for seq in range(1, nodes + 1)]
    assert Attempt.objects.filter(step__run=run, state="done").count() == nodes
