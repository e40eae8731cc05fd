"""kill -9 of a worker at every failpoint: another worker ends the run right, with one record a step.

What reaches the sink depends on what the tool says of itself. What was handed over by nobody knows whom is repeated
only for tools that say so, or that can look; for the others a person is asked.
"""

from __future__ import annotations

import pytest

from runs.engine.record import now
from runs.models import Attempt, Call, Question, Run, Step
from tests.faults import workflows
from tests.faults.broker import Broker
from tests.faults.conftest import answer, fresh, start
from tests.faults.fleet import NEVER, Fleet, SinkProcess, until

# The second passage is the one that matters: the first permit is a model call's, the first step has no effect.
OUTSIDE_EFFECTS = ["after_claim", "mid_settle:2", "after_commit_before_wake:2"]
AT_EFFECTS = ["after_permit:2", "before_effect", "after_effect_before_record"]


@pytest.mark.parametrize("failpoint", OUTSIDE_EFFECTS)
def test_a_worker_killed_outside_an_effect_costs_nothing(
    failpoint: str, fleet: Fleet, broker: Broker, sink: SinkProcess
) -> None:
    run = _killed_at(failpoint, workflows.SEND.name, fleet, broker, sink)
    _rescued(run, fleet, broker)
    _ended_right(run)
    assert len(sink.keys()) == 1


def test_a_worker_killed_in_its_heartbeat_loses_the_call_that_was_in_flight_and_nothing_else(
    fleet: Fleet, broker: Broker, sink: SinkProcess
) -> None:
    run = _killed_at("mid_heartbeat:4", workflows.SEND.name, fleet, broker, sink, SIMULATED_SECONDS=60.0)
    _rescued(run, fleet, broker)
    _ended_right(run)
    assert len(sink.keys()) == 1
    sends = Call.objects.filter(run=run, kind="model").order_by("pk").values_list("send", "state")
    assert list(sends)[:2] == [(1, "permitted"), (2, "done")]  # each sending is booked on its own


@pytest.mark.parametrize("failpoint", AT_EFFECTS)
def test_an_effect_that_may_have_happened_is_not_repeated_without_a_person(
    failpoint: str, fleet: Fleet, broker: Broker, sink: SinkProcess
) -> None:
    run = _killed_at(failpoint, workflows.SEND.name, fleet, broker, sink)
    happened = failpoint == "after_effect_before_record"
    _rescued(run, fleet, broker)
    question = Question.objects.get(run=run)
    assert (question.kind, question.state, fresh(run).state) == ("unknown", "open", "waiting")
    assert len(sink.keys()) == happened  # nobody sent it while nobody knew
    answer(run, "respond" if happened else "approve", text="I looked")
    broker.hint(run.pk)
    _until_final(run)
    _ended_right(run)
    assert sink.keys() == [question.call_key]


def test_a_repeatable_effect_is_sent_again_with_the_same_key(
    fleet: Fleet, broker: Broker, sink: SinkProcess
) -> None:
    run = _killed_at("after_effect_before_record", workflows.SEND_REPEATABLE.name, fleet, broker, sink)
    _rescued(run, fleet, broker)
    _ended_right(run)
    assert not Question.objects.filter(run=run).exists()
    assert len(sink.keys()) == 2
    assert len(set(sink.keys())) == 1  # whoever receives it can tell


@pytest.mark.parametrize("failpoint", ["before_effect", "after_effect_before_record"])
def test_an_effect_that_can_be_looked_up_happens_exactly_once(
    failpoint: str, fleet: Fleet, broker: Broker, sink: SinkProcess
) -> None:
    run = _killed_at(failpoint, workflows.SEND_FOUND.name, fleet, broker, sink)
    _rescued(run, fleet, broker)
    _ended_right(run)
    assert not Question.objects.filter(run=run).exists()
    assert len(sink.keys()) == 1


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
    until(lambda: fresh(run).state not in ("ready", "running"), f"{run} waits or is done")
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
