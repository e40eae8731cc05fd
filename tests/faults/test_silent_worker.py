"""A worker that lives and does nothing: it is noticed, and another one takes its place.

Under a supervisor by its silence in the database; without one it ends itself, whatever hangs: the heart, the
interpreter, every thread. Whoever started it starts it again.
"""

from __future__ import annotations

import os
import signal
import time
from functools import partial

import pytest

from runs.models import Worker
from tests.faults import counts, figures
from tests.faults.acts import fresh, start
from tests.faults.broker import Broker
from tests.faults.console import Console
from tests.faults.fleet import LEASE_SECONDS, Fleet, Process, until
from tests.faults.load import workflows as _load  # noqa: F401  (registers them here, too)

TARGET_SECONDS = 30.0
SILENT_SECONDS = 8  # so that a slow machine has the worker up by then; 20 in a soak, as every day


def test_a_frozen_worker_of_the_console_is_noticed_and_replaced(whole_console: Console) -> None:
    console, took = whole_console, []
    for number in range(counts.of(fast=1, soak=5)):
        name = ("agents", "ordinary")[number % 2]
        frozen, said = console.children()[name], console.said()
        stood = time.monotonic()
        os.kill(frozen, signal.SIGSTOP)
        until(partial(_replaced, console, name, frozen), "it is replaced")
        took.append(time.monotonic() - stood)
        assert f"{name} has been silent for" in console.said().removeprefix(said)
        until(console.ready, "the console is as it was")
    run_id = console.start("load_chain", 710_000)
    until(lambda: console.value("SELECT state FROM runs_run WHERE id = %s", run_id) == "done", "it works")
    figures.tell(
        "worker frozen under its supervisor (`make run`)",
        target=f"noticed and replaced within {TARGET_SECONDS:g} s",
        measured=figures.spread(took),
        n=len(took),
    )
    assert max(took) <= figures.room(TARGET_SECONDS), took


@pytest.mark.parametrize(
    ("workflow", "what"),
    [
        ("load_hog", "a step that keeps the interpreter's lock"),
        pytest.param("load_heartless", "a heart that has stopped", marks=pytest.mark.soak),
        pytest.param("load_stuck", "threads that never come back", marks=pytest.mark.soak),
    ],
    ids=["the interpreter hangs", "the heart has stopped", "every thread hangs"],
)
def test_a_worker_that_hangs_ends_itself_and_says_where_it_stood(
    workflow: str, what: str, fleet: Fleet, broker: Broker
) -> None:
    """In production there may be no supervisor of ours: what restarts a process that ended is enough."""
    marks = fleet.folder / "marks.jsonl"
    marks.touch(mode=0o600)
    fleet.env = {"FAULT_MARKS": str(marks)}
    silent = counts.of(fast=SILENT_SECONDS, soak=20)
    hanging = _worker(fleet, "hanging", silent)
    until(lambda: Worker.objects.filter(name=hanging.worker).exists(), "it is up")
    runs = [start(workflow, number=number) for number in range(6 if workflow == "load_stuck" else 1)]
    broker.hint(*(run.pk for run in runs))
    until(lambda: marks.read_text() != "", "it hangs")
    hung = time.monotonic()
    until(hanging.ended, f"it ends itself; see {hanging.log}", figures.room(TARGET_SECONDS) + 30)
    took = time.monotonic() - hung
    assert hanging.code == 1
    assert "Thread 0x" in hanging.log.read_text(), "it says where every thread stood"
    # Threads count as hanging when their runs' deadlines have passed, and each had one after the other.
    target = TARGET_SECONDS + (30 if workflow == "load_stuck" else 0)
    figures.tell(
        f"worker without a supervisor: {what}",
        target=f"ends itself within {target:g} s",
        measured=f"{took:.1f} s ({silent} s of silence allowed)",
        n=1,
    )
    assert took <= figures.room(target)
    _worker(fleet, "restarted", 600)
    until(lambda: all(fresh(run).final for run in runs), "its runs are over")


def _replaced(console: Console, name: str, pid: int) -> bool:
    return console.children().get(name, pid) != pid


def _worker(fleet: Fleet, name: str, silent: int) -> Process:
    return fleet.agents(
        name, threads=1, neighbours=True, RUNS_SILENT_SECONDS=silent, RUNS_LEASE_SECONDS=LEASE_SECONDS
    )
