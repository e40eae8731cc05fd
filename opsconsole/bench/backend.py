"""What a step costs PostgreSQL when one connection alone asks it: processor time of the server and of who asks.

This process advances the runs itself, one after another, as a worker's thread would; there is no worker, no Celery and
nobody to wait for. So a change of an SQL function shows here, and little else does: WAL and background writers are in
the server's figure too. One more round, which counts for nothing else, has `track_functions` on: each function's calls
a step and its own milliseconds a call (time, not processor time).
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from django.db import connection

from opsconsole.bench import cpu, drive
from opsconsole.bench.figures import of_rounds
from opsconsole.bench.flows.unguarded import WORKFLOW as UNGUARDED
from opsconsole.bench.guarded import GUARDED, LIMITS, _set_limits
from opsconsole.bench.order import Order
from opsconsole.bench.steps import STEPS
from runs.engine.advance import advance

RUNS = 100
_MOST = 12  # functions are named
_TOLD_SECONDS = 1.5


def measure(order: Order) -> None:
    runs = order.n or RUNS
    _told(order, "backend-steps", "bench_steps", runs)
    _told(order, "backend-guarded-no-limits", GUARDED, runs)
    _set_limits()
    _told(order, "backend-guarded", GUARDED, runs, limits=len(LIMITS))
    _told(order, "backend-unguarded", UNGUARDED, runs, limits=len(LIMITS))


def _told(order: Order, bench: str, workflow: str, runs: int, **detail: object) -> None:
    _spent(workflow, 5)  # the first ones load code and prepare statements
    rounds = [_spent(workflow, runs) for _ in range(order.rounds)]
    functions = _functions(workflow, runs)
    order.tell(
        of_rounds(
            bench,
            n=runs * STEPS,
            unit="ms of PostgreSQL's processor time/step",
            values=[postgres for postgres, _ in rounds],
            detail={
                "python_cpu_ms_a_step": [round(python, 3) for _, python in rounds],
                "postgres_cpu_ms_a_step": [round(postgres, 3) for postgres, _ in rounds],
                "connections": 1,
                "functions": functions,
                **detail,
                **drive.machine(),
            },
        )
    )


def _spent(workflow: str, runs: int) -> tuple[float, float]:
    """Processor milliseconds a step: of PostgreSQL, of this process. The starts are not in it."""
    ids = drive.started(workflow, runs)
    data = Path(os.environ["DATA_DIR"])
    postgres, python = cpu.postgres_seconds(data), time.process_time()
    for run_id in ids:
        advance(run_id)
    spent = cpu.postgres_seconds(data) - postgres, time.process_time() - python
    drive.until_final(ids)
    return 1000 * spent[0] / (runs * STEPS), 1000 * spent[1] / (runs * STEPS)


def _functions(workflow: str, runs: int) -> dict[str, dict[str, float]]:
    """By function: calls a step, and milliseconds a call without those that it calls."""
    _track(workflow, "all")
    _spent(workflow, runs)
    _told_now(workflow)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT funcname, calls, self_time FROM pg_stat_user_functions WHERE calls > 0 ORDER BY self_time DESC"
        )
        found = cursor.fetchall()
    _track(workflow, "none")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_reset()")
    return {
        name: {"calls_a_step": round(calls / (runs * STEPS), 2), "self_ms": round(ms / calls, 4)}
        for name, calls, ms in found[:_MOST]
    }


def _track(workflow: str, which: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER SYSTEM SET track_functions = '{which}'")  # this world's server ends with it
        cursor.execute("SELECT pg_reload_conf()")
    _told_now(workflow)


def _told_now(workflow: str) -> None:
    """A backend tells its statistics with a transaction that ends a second after the last time: one run more. What it
    has not told then is missing; the calls a step show how much."""
    time.sleep(_TOLD_SECONDS)
    _spent(workflow, 1)
