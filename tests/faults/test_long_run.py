"""A run of ten thousand steps, each performed: it ends, its record is right, and its worker does not grow with it."""

from __future__ import annotations

import time
from pathlib import Path

from runs.models import Attempt, Event, Run, Step
from tests.faults import counts, figures, workflows
from tests.faults.acts import fresh, start
from tests.faults.broker import Broker
from tests.faults.fleet import LONG_LEASE, Fleet, until

STEPS = counts.of(fast=600, soak=10_000)
BEHIND = STEPS // 5  # steps after which what a worker needs for a run of any length is there
MORE_MB = 24  # of ten thousand steps' history: ids, nodes, and the latest outputs only


def _own_mb(pid: int) -> float:
    """Resident and of its own: what it shares with the process it was forked from is left out."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kept = dict(line.split(":") for line in rollup.splitlines()[1:])
    return sum(int(kept[name].split()[0]) for name in ("Private_Clean", "Private_Dirty")) / 1024


def _performed(run: Run) -> int:
    return Step.objects.filter(run=run, state="done").count()


def test_a_run_of_very_many_steps_is_performed_in_bounded_memory(fleet: Fleet, broker: Broker) -> None:
    worker = fleet.agents("patient", RUNS_LEASE_SECONDS=LONG_LEASE)
    run = start(workflows.ROUND.name, steps=STEPS)
    begun = time.monotonic()
    broker.hint(run.pk)
    until(lambda: _performed(run) >= BEHIND, "a part of it is behind")
    early, most = _own_mb(worker.pid), 0.0

    def over() -> bool:
        nonlocal most
        most = max(most, _own_mb(worker.pid))
        return fresh(run).final

    until(over, "the run is over", 600)
    took = time.monotonic() - begun
    assert fresh(run).state == "done", fresh(run).ending
    assert _performed(run) == STEPS
    assert Event.objects.filter(run=run).count() == fresh(run).event_seq >= 2 * STEPS
    assert fresh(run).fence == 1, "one lease for all of it, and nothing performed twice"
    assert Attempt.objects.filter(step__run=run).count() == STEPS
    figures.tell(
        f"a run of {STEPS:,} steps, performed by one worker",
        target="bounded memory",
        measured=f"{took:.1f} s; its own memory {early:.1f} MB after {BEHIND:,} steps, {most:.1f} MB at most",
        n=STEPS,
    )
    assert most <= early + MORE_MB
