"""Steps a second when every step asks a model and calls a tool with an effect: permits, gate, records, all guards on.

The agent's loop needs a second model call to end its step after the tool's answer, so a step has two model calls and
one tool call. The model is simulated and answers at once: its own time is none of ours. Limits of every kind that a
call can meet are set, so high that none is reached. The same workflow without guards (`flows.unguarded`) runs in turn
with it in the same workers: what guards cost is the difference, by round.

Rounds are many and short: this kind of machine changes its speed by a third within minutes, and what is compared has to
lie within seconds of each other. The figure comes with the bounds between which 95 of 100 repetitions would lie, drawn
from the rounds with replacement (Efron's bootstrap, percentiles).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from statistics import median

from opsconsole.bench import drive, steps
from opsconsole.bench.contestants import Took
from opsconsole.bench.figures import of_rounds
from opsconsole.bench.flows.unguarded import WORKFLOW as UNGUARDED
from opsconsole.bench.order import Order
from opsconsole.bench.steps import STEPS, Ours

GUARDED = "bench_guarded"
RUNS = 16  # a round: two for each thread
DRAWS = 4000
HIGH = 10**12
LIMITS = (
    *(("turns", "run", scope) for scope in ("organisation:", f"workflow:{GUARDED}", "agent:bench_noter")),
    ("model_calls", "run", "organisation:"),
    ("tool_calls", "run", "organisation:"),
    ("tool_calls", "run", "tool:note"),
    *(("cost", window, "organisation:") for window in ("run", "day", "month")),
    ("cost", "month", f"workflow:{GUARDED}"),
    ("tokens", "day", "model:simulated/noter"),
    ("tokens", "run", "organisation:"),
    ("tokens", "minute", "provider:simulated"),
    ("requests", "minute", "model:simulated/noter"),
    ("requests", "minute", "tool:note"),
    ("concurrency", "", "model:simulated/noter"),
    ("context_tokens", "", "organisation:"),
)


def measure(order: Order) -> None:
    runs = order.n or RUNS
    _set_limits()
    for workflow in (GUARDED, UNGUARDED):
        steps.ours(workflow, 8)  # a worker's first steps load code
    with_guards: list[Ours] = []
    without: list[Ours] = []
    floors: list[Took] = []
    for at in range(order.rounds):
        floors.append(steps.the_floor(runs))
        for workflow in (GUARDED, UNGUARDED) if at % 2 else (UNGUARDED, GUARDED):
            (with_guards if workflow == GUARDED else without).append(steps.ours(workflow, runs))
    order.tell(
        of_rounds(
            "guarded",
            n=runs * STEPS,
            unit="steps/s",
            values=[one.steps_a_second for one in with_guards],
            samples_ms=[one.step_ms for one in with_guards],
            floors=[runs * STEPS / one.seconds for one in floors],
            detail={
                "runs": runs,
                "model_calls_a_step": 2,
                "tool_calls_a_step": 1,
                "limits": len(LIMITS),
                "guards_cost_percent": _with_bounds(_shares(with_guards, without), lambda share: 1 - share),
                "guards_cost_cpu_percent": _with_bounds(
                    _cpu_shares(with_guards, without), lambda share: share - 1
                ),
                "with_guards": [round(one.steps_a_second, 1) for one in with_guards],
                "without_guards": [round(one.steps_a_second, 1) for one in without],
                "worker_cpu_ms_a_step": [round(one.worker_cpu_ms, 2) for one in with_guards],
                "worker_cpu_ms_a_step_without": [round(one.worker_cpu_ms, 2) for one in without],
                "postgres_cpu_ms_a_step": [round(one.postgres_cpu_ms, 2) for one in with_guards],
                "postgres_cpu_ms_a_step_without": [round(one.postgres_cpu_ms, 2) for one in without],
                "slept": [one.slept for one in with_guards],
                **drive.machine(),
            },
        )
    )


def _shares(ours: list[Ours], others: list[Ours]) -> list[float]:
    return [one.steps_a_second / other.steps_a_second for one, other in zip(ours, others, strict=True)]


def _cpu_shares(ours: list[Ours], others: list[Ours]) -> list[float]:
    return [
        (one.worker_cpu_ms + one.postgres_cpu_ms) / (other.worker_cpu_ms + other.postgres_cpu_ms)
        for one, other in zip(ours, others, strict=True)
    ]


def _with_bounds(shares: Sequence[float], cost: Callable[[float], float]) -> list[float]:
    """In percent: what the median share costs, and the bounds that hold 95 of 100 medians of rounds drawn anew."""
    drawn = random.Random(1)  # the same bounds for the same rounds
    again = sorted(cost(median(drawn.choices(shares, k=len(shares)))) for _ in range(DRAWS))
    low, high = again[DRAWS // 40], again[-DRAWS // 40]
    return [round(100 * one, 1) for one in (cost(median(shares)), low, high)]


def _set_limits() -> None:
    from runs.models import Limit

    for kind, window, scope in LIMITS:
        scope_kind, _, name = scope.partition(":")
        Limit.objects.create(
            kind=kind,
            window=window,
            scope_kind=scope_kind,
            scope=name,
            value=HIGH,
            mode="enforce",
            valid_from=drive.moment(),
            set_by="bench",
        )
