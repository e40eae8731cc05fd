"""One run alone: the milliseconds of a step when nobody else is there."""

from __future__ import annotations

from opsconsole.bench import drive
from opsconsole.bench.figures import of_rounds, percentile
from opsconsole.bench.order import Order

RUNS = 20


def measure(order: Order) -> None:
    runs = order.n or RUNS
    _alone(2)  # a worker's first steps load code
    rounds = [_alone(runs) for _ in range(order.rounds)]
    order.tell(
        of_rounds(
            "solo",
            n=runs,
            unit="ms/step",
            values=[percentile(took, 50) for took in rounds],
            samples_ms=rounds,
            detail={"steps_a_run": 10, "value": "p50 of a round", **drive.machine()},
        )
    )


def _alone(runs: int) -> list[float]:
    """Runs one after another; every step's milliseconds but the first's."""
    took: list[float] = []
    for number in range(runs):
        run = drive.start("bench_steps", number)
        drive.until_final([run.pk])
        took += drive.step_ms([run.pk])
    return took
