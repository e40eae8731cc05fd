"""What a start costs: processor time of the start act with its hint, in the process that starts and in PostgreSQL.

Nobody performs the runs (there is no worker), so nothing else is counted. Processor time and not time: other people's
load changes it little. The hints' two threads are part of the process and are waited for.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from opsconsole.bench import cpu, drive
from opsconsole.bench.figures import of_rounds
from opsconsole.bench.order import Order
from runs import live

STARTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """A round's processor milliseconds for a start, and how long each start took."""

    python_ms: float
    postgres_ms: float
    took_ms: list[float]


def measure(order: Order) -> None:
    count = order.n or STARTS
    _round(50)  # the first ones load code, read the definition's content and prepare statements
    rounds = [_round(count) for _ in range(order.rounds)]
    order.tell(
        of_rounds(
            "start",
            n=count,
            unit="ms of processor time/start",
            values=[one.python_ms + one.postgres_ms for one in rounds],
            samples_ms=[one.took_ms for one in rounds],
            detail={
                "python_cpu_ms": [round(one.python_ms, 3) for one in rounds],
                "postgres_cpu_ms": [round(one.postgres_ms, 3) for one in rounds],
                "samples": "the start act called until it returned (committed)",
                **drive.machine(),
            },
        )
    )


def _round(count: int) -> Spent:
    data = Path(os.environ["DATA_DIR"])
    took: list[float] = []
    postgres, python = cpu.postgres_seconds(data), time.process_time()
    for number in range(count):
        began = time.perf_counter()
        drive.start("bench_steps", number)
        took.append((time.perf_counter() - began) * 1000)
    live.flush(30.0)
    python, postgres = time.process_time() - python, cpu.postgres_seconds(data) - postgres
    return Spent(python_ms=1000 * python / count, postgres_ms=1000 * postgres / count, took_ms=took)
