"""Two workers that look at the same runs, told twice, five times or never: one record a step all the same."""

from __future__ import annotations

import random

from runs.models import Attempt, Call, Run, Step, Worker
from tests.faults import workflows
from tests.faults.acts import start
from tests.faults.broker import Broker
from tests.faults.fleet import LONG_LEASE, Fleet, SinkProcess, until

RUNS = 30


def test_doubled_and_lost_hints_change_nothing(fleet: Fleet, broker: Broker, sink: SinkProcess) -> None:
    fleet.env = sink.env
    for name in ("left", "right"):
        fleet.agents(name, threads=2, RUNS_LEASE_SECONDS=LONG_LEASE)
    until(lambda: Worker.objects.filter(name__startswith="agents-").count() == 2, "both are up")
    chains = [start(workflows.CHAIN.name) for _ in range(RUNS // 2)]
    sends = [start(workflows.SEND.name, effects=3) for _ in range(RUNS // 2)]
    dice = random.Random(3)
    everything = [run.pk for run in (*chains, *sends)]
    told = {run_id: dice.choice((0, 1, 2, 5)) for run_id in everything}
    assert list(told.values()).count(0) >= 3  # nobody will ever be told of these
    for run_id, times in told.items():
        broker.hint(run_id, times=times)

    def done() -> bool:
        loud = [run_id for run_id, times in told.items() if times > 1]
        broker.hint(*dice.sample(loud, 3), times=2)  # again and again, also long after they are done
        return not Run.objects.exclude(state="done").exists()

    until(done, "every run is done")
    assert Step.objects.filter(run__in=chains, state="done").count() == len(chains) * workflows.CHAIN_STEPS
    assert Step.objects.filter(run__in=sends, state="done").count() == len(sends) * len(workflows.SEND.nodes)
    assert Attempt.objects.count() == Step.objects.count()
    assert Call.objects.filter(kind="model", send__gt=1).count() == 0
    assert len(sink.keys()) == len(set(sink.keys())) == len(sends) * 3
    for process in fleet.processes:
        assert "raised unexpected" not in process.log.read_text()  # nobody had to be saved by a constraint
    assert {worker.partition("-")[2][:4] for worker in _workers()} == {"left", "righ"}  # both took part


def _workers() -> set[str]:
    return set(Attempt.objects.values_list("worker", flat=True))
