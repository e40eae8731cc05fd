"""Steps a second when every step asks a model and calls a tool with an effect: permits, gate, records, guards on.

The agent's loop needs a second model call to end its step after the tool's answer, so a step has two model calls and
one tool call. The model is simulated and answers at once: its own time is none of ours.
"""

from __future__ import annotations

from opsconsole.bench import steps
from opsconsole.bench.order import Order


def measure(order: Order) -> None:
    steps.by_workflow(
        order,
        bench="guarded",
        workflow="bench_guarded",
        runs=order.n or steps.RUNS // 3,
        model_calls_a_step=2,
        tool_calls_a_step=1,
    )
