"""What one task of a wide fan-out costs: processor time of worker and database, by how many tasks the run has.

One run at a time, eight of its steps at a time. Counted are the tasks alone; the time is that of the whole run, with
its plan, the making of its tasks and the join.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from opsconsole.bench import cpu, drive
from opsconsole.bench.figures import of_rounds
from opsconsole.bench.order import Order

FLAT = (10, 50, 250)
NESTED = 50
RUNS = {10: 10, 50: 4}  # a round of small ones; of the others one


@dataclass(frozen=True, slots=True, kw_only=True)
class _Round:
    """What so many tasks took together."""

    worker_ms: float
    postgres_ms: float
    tasks_a_second: float
    settled_ms: list[float]


def measure(order: Order) -> None:
    _round("bench_fan", 10, 1)  # a worker's first steps load code
    for wide in [order.n] if order.n else FLAT:
        _tell(order, f"fanout-{wide}", "bench_fan", wide, tasks=wide)
    wide = order.n or NESTED
    _tell(order, f"fanout-{wide}x{wide}", "bench_nest", wide, tasks=wide + wide * wide)


def _tell(order: Order, bench: str, workflow: str, wide: int, *, tasks: int) -> None:
    runs = RUNS.get(tasks, 1)
    rounds = [_round(workflow, wide, runs, tasks) for _ in range(order.rounds)]
    order.tell(
        of_rounds(
            bench,
            n=tasks * runs,
            unit="ms/task",
            values=[one.worker_ms + one.postgres_ms for one in rounds],
            samples_ms=[one.settled_ms for one in rounds],
            detail={
                "value": "processor time of worker and PostgreSQL",
                "samples": "from one settlement of the run to its next, eight at a time",
                "runs": runs,
                "tasks_a_run": tasks,
                "at_a_time": 8,
                "worker_cpu_ms_a_task": [round(one.worker_ms, 2) for one in rounds],
                "postgres_cpu_ms_a_task": [round(one.postgres_ms, 2) for one in rounds],
                "tasks_a_second": [round(one.tasks_a_second, 1) for one in rounds],
                **drive.machine(),
            },
        )
    )


def _round(workflow: str, wide: int, runs: int, tasks: int = 1) -> _Round:
    worker, postgres = _spent()
    began = drive.moment()
    ids = []
    for _ in range(runs):
        ids.append(drive.start(workflow, wide).pk)
        drive.until_final(ids[-1:], seconds=1500.0)
    took = drive.span_seconds(ids, began)
    worker_after, postgres_after = _spent()
    return _Round(
        worker_ms=1000 * (worker_after - worker) / (tasks * runs),
        postgres_ms=1000 * (postgres_after - postgres) / (tasks * runs),
        tasks_a_second=tasks * runs / took,
        settled_ms=drive.settled_ms(ids),
    )


def _spent() -> tuple[float, float]:
    return cpu.seconds(drive.worker_pids()), cpu.postgres_seconds(Path(os.environ["DATA_DIR"]))
