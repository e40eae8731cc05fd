"""SIGTERM to a worker that has all at once what may be under way: a call, a child process, a thread that nothing frees.

In a soak with the settings of every day: lease 15 s, calls may go on for 15 s. Single things: test_leaving.py.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from runs.engine.record import now
from runs.models import Call, Event, Run, Step
from tests.faults import counts, figures
from tests.faults.acts import fresh, start
from tests.faults.fleet import Fleet, Process, until

TARGET_SECONDS = 20.0
TIMES = counts.of(fast=1, soak=3)
# Of every day in a soak: then nothing is said about leases and drains but what the settings say.
SETTINGS: dict[str, Any] = (
    {"RUNS_LEASE_SECONDS": 15, "RUNS_SWEEP_SECONDS": 5} if counts.soaking() else {"RUNS_DRAIN_SECONDS": 2}
)
WORKFLOWS = ("deploy_ponder", "deploy_compute", "deploy_block")


def test_a_worker_with_a_call_a_child_and_a_blocked_thread_under_way_is_gone_within_twenty_seconds(
    fleet: Fleet,
) -> None:
    took = []
    for number in range(TIMES):
        folder = fleet.folder / str(number)
        folder.mkdir()
        took.append(_drained(fleet, folder, str(number)))
    figures.tell(
        "SIGTERM: a call, an isolated child and a blocked thread under way",
        target=f"gone within {TARGET_SECONDS:g} s",
        measured=figures.spread(took),
        n=len(took),
    )
    assert max(took) <= figures.room(TARGET_SECONDS), took


def _drained(fleet: Fleet, folder: Path, number: str) -> float:
    blocks, child = folder / "blocks", folder / "child"
    fleet.env |= {"DEPLOY_BLOCKS": "600", "DEPLOY_MARK": str(blocks), "DEPLOY_CHILD": str(child)}
    leaving = fleet.agents(f"leaving{number}", SIMULATED_SECONDS=600.0, **SETTINGS)
    runs = [start(name) for name in WORKFLOWS]
    computing = _all_under_way(runs[0], blocks, child)
    took = _left(leaving)
    assert not _lives(computing), "the child of a worker that is gone goes on"
    for run in runs:
        left = fresh(run)
        assert (left.lease_owner, left.final) == ("", False), left
        assert left.due_at is not None
        assert left.due_at <= now(), "others need not wait for the lease"
    fleet.env |= {"DEPLOY_BLOCKS": "0"}
    staying = fleet.agents(f"staying{number}", SIMULATED_SECONDS=0.0, **SETTINGS)
    until(lambda: all(fresh(run).state == "done" for run in runs), "others do what it had")
    assert not Event.objects.filter(run__in=runs, kind="worker lost").exists()
    assert not Step.objects.filter(run__in=runs, losses__gt=0).exists()
    staying.kill()
    return took


def _all_under_way(pondering: Run, blocks: Path, child: Path) -> int:
    """The number of the child."""
    until(blocks.exists, "a thread blocks")
    until(lambda: child.exists() and child.read_text() != "", "a child computes")
    until(lambda: Call.objects.filter(run=pondering, state="permitted").exists(), "a model is asked")
    return int(child.read_text())


def _left(worker: Process) -> float:
    begun = time.monotonic()
    os.kill(worker.pid, signal.SIGTERM)
    until(worker.ended, f"{worker.name} has left")
    took = time.monotonic() - begun
    assert worker.code == 0, worker.log.read_text()
    return took


def _lives(pid: int) -> bool:
    """Whether this process does anything still."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
