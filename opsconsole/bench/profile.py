"""Where the time of one step goes today: functions of a worker (py-spy), statements of the server, their plans.

Turns over the same kind of runs, so that no instrument stands in another's figure: processor time, then samples,
then the server's log of every statement. Raises nothing when py-spy is not there; the detail says so.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.db import connection, transaction

from opsconsole.bench import drive, spent, steps
from opsconsole.bench.figures import of_rounds
from opsconsole.bench.order import Order
from opsconsole.bench.spent import Statement
from opsconsole.environment import REPOSITORY

PY_SPY = REPOSITORY / ".venv-peers" / "bin" / "py-spy"
RUNS = 40
TOP = 20
EXPLAINED = 5
_RATE = 200  # samples a second
_ATTACH_SECONDS = 1.0


def measure(order: Order) -> None:
    runs = order.n or RUNS
    steps.ours("bench_steps", 8)
    for workflow in ("bench_steps", "bench_guarded"):
        _profiled(order, workflow, runs)


def _profiled(order: Order, workflow: str, runs: int) -> None:
    count = runs * steps.STEPS
    plain = steps.ours(workflow, runs)
    code = _sampled(order.folder, workflow, runs)
    found = _logged(order.folder, workflow, runs)
    order.tell(
        of_rounds(
            f"profile-{workflow.removeprefix('bench_')}",
            n=count,
            unit="statements/step",
            values=[sum(one.times for one in found) / count],
            samples_ms=[plain.step_ms],
            detail={
                "workers": 1,
                "threads": 4,
                "steps_a_second": round(plain.steps_a_second, 1),
                "worker_cpu_ms_a_step": round(plain.worker_cpu_ms, 2),
                "postgres_cpu_ms_a_step": round(plain.postgres_cpu_ms, 2),
                "server_ms_a_step": round(sum(one.ms for one in found) / count, 3),
                "statements": [_said(one, count) for one in found[:TOP]],
                "plans": _plans(found),
                **code,
                **drive.machine(),
            },
        )
    )


def _sampled(folder: Path, workflow: str, runs: int) -> dict[str, Any]:
    """Shares of a worker's samples, by function, while it performs: of its threads that do something (waiting for
    PostgreSQL counts), and of the one that holds the interpreter, which is Python's own processor time."""
    if not PY_SPY.exists():
        return {"code": "py-spy is not installed: `make bench-peers` installs it"}
    busy = _stacks(folder / f"{workflow}-busy.stacks", workflow, runs)
    held = _stacks(folder / f"{workflow}-held.stacks", workflow, runs, "--gil")
    if not busy or not held:
        return {"code": "py-spy gave nothing: it may not look at other processes here"}
    _, within_busy = spent.by_function(busy)
    on_top, within = spent.by_function(held)
    ours = Counter({name: samples for name, samples in within.items() if _is_ours(name)})
    busy_total, total = _total(busy), sum(on_top.values())
    return {
        "samples": {"busy": busy_total, "interpreter": total},
        "waits_for_postgresql": _shares(_named(within_busy, "Connection.wait"), busy_total),
        "interpreter_on_top": _shares(on_top, total),
        "interpreter_within_ours": _shares(ours, total),
        "interpreter_within_libraries": _shares(within - ours, total),
    }


def _total(stacks: Sequence[str]) -> int:
    """All samples."""
    return sum(spent.by_function(stacks)[0].values())


def _named(counted: Counter[str], part: str) -> Counter[str]:
    return Counter({name: samples for name, samples in counted.items() if part in name})


def _stacks(out: Path, workflow: str, runs: int, *options: str) -> list[str]:
    """Collapsed stacks of one worker during one turn; none when py-spy could not look."""
    command = [str(PY_SPY), "record", "--pid", str(drive.worker_pids()[0]), "--format", "raw", *options]
    command += ["--rate", str(_RATE), "--nonblocking", "--output", str(out)]
    spy = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    time.sleep(_ATTACH_SECONDS)
    try:
        steps.ours(workflow, runs)
    finally:
        spy.send_signal(signal.SIGINT)
        spy.wait(60)
    return out.read_text().splitlines() if out.exists() else []


def _is_ours(name: str) -> bool:
    return any(part in name for part in ("(runs/", "(escalations/", "(opsconsole/"))


def _shares(counted: Counter[str], total: int) -> list[str]:
    return [f"{samples / total:.1%} {name}" for name, samples in counted.most_common(TOP)]


def _logged(folder: Path, workflow: str, runs: int) -> list[Statement]:
    """Every statement the server performs for so many runs, this process's own left out as far as it can be."""
    log = folder / "logs" / "postgres.log"
    ids = drive.started(workflow, runs)
    _log_statements(0)
    before = log.stat().st_size
    drive.wake(ids)
    drive.until_final(ids)
    _log_statements(-1)
    with log.open(errors="replace") as lines:
        lines.seek(before)
        return spent.statements(lines)


def _log_statements(milliseconds: int) -> None:
    """For every connection but this one: what it set itself stands above. This world's server ends with it."""
    with connection.cursor() as cursor:
        cursor.execute("SET log_min_duration_statement = -1")
        cursor.execute(f"ALTER SYSTEM SET log_min_duration_statement = {milliseconds:d}")
        cursor.execute("SELECT pg_reload_conf()")
    time.sleep(_ATTACH_SECONDS)


def _said(one: Statement, count: int) -> dict[str, Any]:
    return {
        "a_step": round(one.times / count, 2),
        "ms_a_step": round(one.ms / count, 3),
        "sql": one.text[:300],
    }


def _plans(found: Sequence[Statement]) -> list[str]:
    """What the costliest statements that can be planned again do, in a transaction that is rolled back."""
    plans: list[str] = []
    for one in found:
        if (
            len(plans) < EXPLAINED
            and one.text.startswith(("SELECT", "UPDATE"))
            and "advisory" not in one.text
        ):
            plans.append(f"{one.text[:120]}\n{_plan(one.example)}")
    return plans


def _plan(sql: str) -> str:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        # Without its values (it was bound by the server) a statement can be planned, not executed.
        how = "GENERIC_PLAN" if "$1" in sql else "ANALYZE, BUFFERS"
        cursor.execute(f"EXPLAIN ({how}, COSTS OFF) {sql.replace('%', '%%')}", [])
        plan = "\n".join(row[0] for row in cursor.fetchall())
        transaction.set_rollback(True)
    return plan
