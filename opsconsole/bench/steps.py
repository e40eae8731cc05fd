"""Steps a second: many runs of no-op steps through the public path, beside the floor in the same round.

The runs are started first (the start act, its figure is in the detail) and their hints given at once. Counted is the
time from the first hint to the last settlement.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from opsconsole.bench import contestants, cpu, drive, floor
from opsconsole.bench.contestants import Took
from opsconsole.bench.figures import of_rounds
from opsconsole.bench.order import Order

RUNS = 300
STEPS = 10
PROCESSES = 2
THREADS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """One round of ours."""

    steps_a_second: float
    step_ms: list[float]
    starts_a_second: float
    slept: int
    worker_cpu_ms: float  # a step, of all workers together
    postgres_cpu_ms: float


def measure(order: Order) -> None:
    by_workflow(order, bench="steps", workflow="bench_steps", runs=order.n or RUNS)


def by_workflow(order: Order, *, bench: str, workflow: str, runs: int, **detail: object) -> None:
    """Rounds of a workflow with ten steps, each beside the floor."""
    ours(workflow, 8)  # a worker's first steps load code
    rounds, floors = [], []
    for _ in range(order.rounds):
        floors.append(the_floor(runs))
        rounds.append(ours(workflow, runs))
    order.tell(
        of_rounds(
            bench,
            n=runs * STEPS,
            unit="steps/s",
            values=[one.steps_a_second for one in rounds],
            samples_ms=[one.step_ms for one in rounds],
            floors=[runs * STEPS / one.seconds for one in floors],
            detail={
                "runs": runs,
                "steps_a_run": STEPS,
                "at_a_time": PROCESSES * THREADS,
                "processes": PROCESSES,
                "starts_a_second": [round(one.starts_a_second, 1) for one in rounds],
                "worker_cpu_ms_a_step": [round(one.worker_cpu_ms, 2) for one in rounds],
                "postgres_cpu_ms_a_step": [round(one.postgres_cpu_ms, 2) for one in rounds],
                "slept": [
                    one.slept for one in rounds
                ],  # a permit took too long, or another fault was tried again
                "samples": "from one settlement to the next of the same run",
                "events_a_step": round(drive.count("runs_event") / drive.count("runs_step"), 2),
                **detail,
                **drive.machine(),
            },
        )
    )


def ours(workflow: str, runs: int) -> Ours:
    """One round through the public path."""
    before = time.monotonic()
    ids = drive.started(workflow, runs)
    starting = time.monotonic() - before
    spent = _cpu()
    began = drive.moment()
    drive.wake(ids)
    slept = drive.until_final(ids)
    worker, postgres = (
        1000 * (after - before) / (runs * STEPS) for before, after in zip(spent, _cpu(), strict=True)
    )
    return Ours(
        steps_a_second=runs * STEPS / drive.span_seconds(ids, began),
        step_ms=drive.step_ms(ids),
        starts_a_second=runs / starting,
        slept=slept,
        worker_cpu_ms=worker,
        postgres_cpu_ms=postgres,
    )


def _cpu() -> tuple[float, float]:
    """Processor seconds so far: of the workers, of PostgreSQL."""
    return cpu.seconds(drive.worker_pids()), cpu.postgres_seconds(Path(os.environ["DATA_DIR"]))


def the_floor(runs: int) -> Took:
    """The same number of commits by psycopg alone, on as many connections."""
    url = os.environ["DATABASE_URL"]
    floor.make_tables(url)
    command = [sys.executable, "-m", "opsconsole.bench.floor", str(THREADS)]
    return contestants.contest(command, counts=halves(runs), env={"BENCH_DATABASE": url})


def halves(runs: int) -> list[int]:
    """Runs for each process."""
    return [runs // PROCESSES + (at < runs % PROCESSES) for at in range(PROCESSES)]
