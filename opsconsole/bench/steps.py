"""Steps a second: many runs of no-op steps through the public path, beside the floor in the same round.

Twice in a round, each beside a floor that makes its rows of runs when we make ours. Without starts: the runs are
started first and their hints given at once; counted is the time from the first hint to the last settlement. With
starts: this process starts them as a front does (the start act, each with its hint) while the workers work; counted
is the time from before the first start.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from opsconsole.bench import contestants, cpu, drive, floor, solo
from opsconsole.bench.contestants import Took
from opsconsole.bench.figures import of_rounds
from opsconsole.bench.order import Order
from opsconsole.bench.solo import Alone

WORKFLOW = "bench_steps"
RUNS = 300
ALONE = 10  # runs a round
STEPS = 10
PROCESSES = 2
THREADS = 4
STARTERS = (
    2  # threads that start runs, in one process: the journal lets one at a time commit, one more prepares
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """One round of ours."""

    steps_a_second: float
    step_ms: list[float]
    starts_a_second: float
    slept: int
    worker_cpu_ms: float  # a step, of all workers together
    postgres_cpu_ms: float
    starter_cpu_ms: float  # a run, of the process that starts them; with starts alone


@dataclass(frozen=True, slots=True, kw_only=True)
class WithStarts:
    """Rounds with the starts in the measured time, and the floors that make their runs in it too."""

    rounds: list[Ours]
    floors: list[float]

    def told(self) -> dict[str, object]:
        """For a detail."""
        rates = [one.steps_a_second for one in self.rounds]
        ratios = [rate / floor for rate, floor in zip(rates, self.floors, strict=True)]
        return {
            "steps_a_second": [round(one, 1) for one in rates],
            "floor": [round(one, 1) for one in self.floors],
            "ratio": round(statistics.median(ratios), 3),
            "starters": STARTERS,
            "starter_cpu_ms_a_run": [round(one.starter_cpu_ms, 2) for one in self.rounds],
            "worker_cpu_ms_a_step": [round(one.worker_cpu_ms, 2) for one in self.rounds],
            "postgres_cpu_ms_a_step": [round(one.postgres_cpu_ms, 2) for one in self.rounds],
        }


def measure(order: Order) -> None:
    """Rounds of a workflow with ten steps, each beside the floor."""
    runs = order.n or RUNS
    ours(WORKFLOW, 8)  # a worker's first steps load code
    rounds: list[Ours] = []
    floors: list[Took] = []
    with_starts = WithStarts(rounds=[], floors=[])
    alone: list[Alone] = []
    for _ in range(order.rounds):
        floors.append(the_floor(runs))
        rounds.append(ours(WORKFLOW, runs))
        with_starts.floors.append(runs * STEPS / the_floor(runs, with_starts=True).seconds)
        with_starts.rounds.append(ours_with_starts(WORKFLOW, runs))
        alone.append(solo.alone(ALONE))
    order.tell(
        of_rounds(
            "steps",
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
                "with_starts": with_starts.told(),
                "samples": "from one settlement to the next of the same run",
                "events_a_step": round(drive.count("runs_event") / drive.count("runs_step"), 2),
                "one_run_alone": {"runs": ALONE, **solo.told(alone)},
                **drive.machine(),
            },
        )
    )


def ours(workflow: str, runs: int) -> Ours:
    """One round through the public path, the runs on record before."""
    before = time.monotonic()
    ids = drive.started(workflow, runs)
    starting = time.monotonic() - before

    def told() -> list[int]:
        drive.wake(ids)
        return ids

    return _round(runs, told, starts_a_second=runs / starting)


def ours_with_starts(workflow: str, runs: int) -> Ours:
    """The same with the starts in the measured time."""
    return _round(runs, lambda: drive.started_by(STARTERS, workflow, runs))


def _round(runs: int, begin: Callable[[], list[int]], *, starts_a_second: float = 0.0) -> Ours:
    """From before `begin`, which gives the runs, to the last settlement."""
    spent, own = _cpu(), time.process_time()
    moment, began = drive.moment(), time.monotonic()
    ids = begin()
    own, starting = time.process_time() - own, time.monotonic() - began
    slept = drive.until_final(ids)
    worker, postgres = (
        1000 * (after - before) / (runs * STEPS) for before, after in zip(spent, _cpu(), strict=True)
    )
    return Ours(
        steps_a_second=runs * STEPS / drive.span_seconds(ids, moment),
        step_ms=drive.step_ms(ids),
        starts_a_second=starts_a_second or runs / starting,
        slept=slept,
        worker_cpu_ms=worker,
        postgres_cpu_ms=postgres,
        starter_cpu_ms=1000 * own / runs,
    )


def _cpu() -> tuple[float, float]:
    """Processor seconds so far: of the workers, of PostgreSQL."""
    return cpu.seconds(drive.worker_pids()), cpu.postgres_seconds(Path(os.environ["DATA_DIR"]))


def the_floor(runs: int, *, with_starts: bool = False) -> Took:
    """As many commits as there are steps, and one a run with starts, by psycopg alone, on as many connections."""
    url = os.environ["DATABASE_URL"]
    floor.make_tables(url)
    command = [sys.executable, "-m", "opsconsole.bench.floor", str(THREADS)]
    when = "within" if with_starts else "before"
    return contestants.contest(command, counts=halves(runs), env={"BENCH_DATABASE": url, "BENCH_RUNS": when})


def halves(runs: int) -> list[int]:
    """Runs for each process."""
    return [runs // PROCESSES + (at < runs % PROCESSES) for at in range(PROCESSES)]
