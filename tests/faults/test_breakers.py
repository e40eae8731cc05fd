"""A breaker under several worker processes: its state is everybody's, one probe passes at a time, and one that was lost
with its worker keeps the others waiting and then lets another pass.
"""

from __future__ import annotations

from runs.engine import breakers
from runs.models import Breaker, BreakerChange, Call, Run, Wait
from tests.faults import workflows
from tests.faults.acts import start
from tests.faults.broker import Broker
from tests.faults.fleet import Fleet, until
from tests.spend.outages import passes
from tests.spend.test_breakers import due

RUNS, MODEL = 6, "simulated/thinker"
THINKING_SECONDS = 0.5  # so that others ask while the probe is under way


def test_a_probe_that_is_killed_lets_nobody_else_pass_until_its_time_is_over_and_then_one(
    fleet: Fleet, broker: Broker
) -> None:
    breakers._open("model", MODEL, "5 failures in a row (limit 5)", None)
    breaker = Breaker.objects.get()
    due(breaker)
    doomed = fleet.agents("doomed", threads=1, failpoint="after_permit:kill")
    runs = [start(workflows.CHAIN.name) for _ in range(RUNS)]
    broker.hint(*(run.pk for run in runs))
    doomed.wait_killed()
    (lost,) = Call.objects.all()
    breaker.refresh_from_db()
    assert (breaker.state, breaker.probe) == ("half_open", lost.pk)

    for name in ("left", "right"):
        fleet.agents(name, threads=3, SIMULATED_SECONDS=THINKING_SECONDS)
    until(lambda: Wait.objects.filter(breaker=breaker).count() == RUNS, "every run waits for the breaker")
    assert list(Call.objects.all()) == [lost]

    passes(121)
    until(lambda: not Run.objects.exclude(state="done").exists(), "every run is done")
    probe, *others = Call.objects.filter(kind="model", pk__gt=lost.pk).order_by("pk")
    assert probe.finished_at is not None
    assert [call.pk for call in others if call.permitted_at < probe.finished_at] == []
    breaker.refresh_from_db()
    assert (breaker.state, breaker.opens) == ("closed", 0)
    assert list(BreakerChange.objects.order_by("pk").values_list("state", flat=True)) == ["open", "closed"]
    assert set(Run.objects.values_list("retries", flat=True)) == {0}
    assert len(set(Call.objects.values_list("attempt__worker", flat=True))) >= 2
