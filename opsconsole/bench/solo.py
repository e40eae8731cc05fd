"""One run alone: the milliseconds of a step, and of a run of ten steps, when nobody else is there."""

from __future__ import annotations

from dataclasses import dataclass

from opsconsole.bench import drive
from opsconsole.bench.figures import of_rounds, percentile
from opsconsole.bench.order import Order

RUNS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """Runs one after another: every step's milliseconds but the first's, and every run's from on record to over."""

    step_ms: list[float]
    run_ms: list[float]


def measure(order: Order) -> None:
    runs = order.n or RUNS
    alone(2)  # a worker's first steps load code
    rounds = [alone(runs) for _ in range(order.rounds)]
    order.tell(
        of_rounds(
            "solo",
            n=runs,
            unit="ms/step",
            values=[percentile(one.step_ms, 50) for one in rounds],
            samples_ms=[one.step_ms for one in rounds],
            detail={"steps_a_run": 10, "value": "p50 of a round", **told(rounds), **drive.machine()},
        )
    )


def told(rounds: list[Alone]) -> dict[str, list[float]]:
    """For a detail."""
    return {
        "step_p50_ms": [round(percentile(one.step_ms, 50), 2) for one in rounds],
        "run_p50_ms": [round(percentile(one.run_ms, 50), 2) for one in rounds],
    }


def alone(runs: int) -> Alone:
    """So many runs, each when the one before is over."""
    ids, step_ms = [], []
    for number in range(runs):
        run = drive.start("bench_steps", number)
        drive.until_final([run.pk])
        ids.append(run.pk)
        step_ms += drive.step_ms([run.pk])
    return Alone(step_ms=step_ms, run_ms=drive.run_ms(ids))
