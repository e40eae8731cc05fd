"""What waiting costs: a worker's memory, one sweep, and a decision, with few and with very many runs that wait.

The runs are copies of one that the engine made; what is decided are real ones among them, started like any other.
"""

from __future__ import annotations

import time
from pathlib import Path

from escalations.models import Escalation, EscalationState
from opsconsole.bench import copies, counted, drive, resume
from opsconsole.bench.counted import Reads
from opsconsole.bench.drive import Stamps
from opsconsole.bench.figures import of_parts, of_rounds, percentile
from opsconsole.bench.order import Order
from runs import tasks
from runs.engine import sweep
from runs.models import Run, RunState

SIZES = (10, 10_000, 100_000)
SWEEPS = 10
DECISIONS = 20
TRIED = 3  # decisions of a trial: when the count of runs is given


def measure(order: Order) -> None:
    stamps = Stamps(order.stamps)
    decisions = TRIED if order.n else DECISIONS
    template = _waiting(stamps, drive.mark())
    _decided(stamps, min(4, decisions))
    memory_at_ten = 0.0
    for size in [order.n] if order.n else SIZES:
        copies.copy_run(template, max(0, size - _count() - (decisions if size > decisions else 0)))
        copies.tidy()
        # Not timed, and their runs wait from then on: the first after so many rows were written find their pages on
        # disk, and each one's first change after a checkpoint goes to the log as a whole page.
        read = counted.reads(lambda: _decided(stamps, decisions))
        memory = _worker_mb()  # a worker's poller has looked twice meanwhile
        memory_at_ten = memory_at_ten or memory
        _tell(order, stamps, size, decisions, (memory, memory_at_ten), read)
    parts = order.told()
    order.tell(of_parts("waiting", parts, parts[-1]))  # of the most that wait


def _tell(
    order: Order, stamps: Stamps, size: int, decisions: int, worker_mb: tuple[float, float], read: Reads
) -> None:
    memory, memory_at_ten = worker_mb
    waiting = _count()
    sweeps = [[_sweep_ms() for _ in range(SWEEPS)] for _ in range(order.rounds)]
    decided = [_decided(stamps, decisions) for _ in range(order.rounds)]
    order.tell(
        of_rounds(
            f"waiting-{size}",
            n=waiting,
            unit="ms/sweep",
            values=[percentile(took, 50) for took in sweeps],
            samples_ms=decided,
            detail={
                "samples": "decision submitted until the run's code starts",
                "rows_read": round(read.rows / decisions, 1),
                "blocks_read": round(read.blocks / decisions, 1),
                "read_by": "a run started, asking, decided, asking again, and those who poll meanwhile",
                "sweep_max_ms": round(max(max(took) for took in sweeps), 1),
                "worker_mb": round(memory, 1),
                "worker_mb_at_first_size": round(memory_at_ten, 1),
                "worker_memory_ratio": round(memory / memory_at_ten, 3),
                "worker_mb_after_decisions": round(_worker_mb(), 1),
                **drive.machine(),
            },
        )
    )


def _count() -> int:
    return Run.objects.filter(state=RunState.WAITING).count()


def _waiting(stamps: Stamps, mark: str) -> int:
    """A real run that waits for a person."""
    run = drive.start("bench_asks", 0, mark)
    stamps.wait(mark)
    opened = Escalation.objects.filter(run_id=run.pk, state=EscalationState.OPEN)
    drive.until(opened.exists, "the run asks")
    return run.pk


def _decided(stamps: Stamps, count: int) -> list[float]:
    """Decisions on runs of their own, milliseconds each, when nothing goes on of the one before, as the resume
    benchmark has them. They ask again afterwards and stay."""
    marks = [drive.mark() for _ in range(count)]
    ids = [_waiting(stamps, mark) for mark in marks]
    found = {one.run_id: one for one in Escalation.objects.filter(run_id__in=ids)}
    took = []
    for run_id, mark in zip(ids, marks, strict=True):
        took.append(resume.decided(stamps, found[run_id], mark, resume.respond).ms)
        drive.until_quiet()
    return took


def _sweep_ms() -> float:
    """One sweep as beat has it done, without its sign of life and without a hint: nothing is due."""
    began = time.monotonic()
    for part in tasks.sweep_parts():
        part()
    sweep.due(overlooked_seconds=tasks.OVERLOOKED_SECONDS)
    return (time.monotonic() - began) * 1000


def _worker_mb() -> float:
    """Resident memory of the agent worker that is its own: what forks share with their parent is left out."""
    return sum(_private_kb(pid) for pid in drive.worker_pids()) / 1024


def _private_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(
        int(line.split()[1]) for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:"))
    )
