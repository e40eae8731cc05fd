"""How long a stop takes to reach what is in flight: a model call, a child process, and 200 calls on two workers.

From the act called to the moment at which the deaf server sees the other side gone: the kernel closes the sockets of a
killed child, so one server sees both.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from escalations import controls
from opsconsole.bench import drive
from opsconsole.bench.drive import Stamps
from opsconsole.bench.figures import of_parts, of_rounds, percentile
from opsconsole.bench.order import Order
from runs import live
from runs.models import ControlReceipt

STOPS = 30
CALLS = 200


def measure(order: Order) -> None:
    stamps = Stamps(order.stamps)
    _one_at_a_time(order, stamps, "stop-call", "bench_calls")
    _one_at_a_time(order, stamps, "stop-child", "bench_blocks")
    _everything(order, stamps)
    parts = order.told()
    order.tell(of_parts("stop", parts, parts[0]))


def _one_at_a_time(order: Order, stamps: Stamps, bench: str, workflow: str) -> None:
    count = order.n or STOPS
    _stopped_ms(stamps, workflow)  # the first loads what calls need
    rounds = [[_stopped_ms(stamps, workflow) for _ in range(count)] for _ in range(order.rounds)]
    order.tell(
        of_rounds(
            bench,
            n=count,
            unit="ms",
            values=[percentile(took, 50) for took in rounds],
            samples_ms=rounds,
            detail={
                "from": "the act called",
                "until": "the other side is gone",
                "scope": "the run",
                "workers": 2,
                **drive.machine(),
            },
        )
    )


def _stopped_ms(stamps: Stamps, workflow: str) -> float:
    """One run with one thing in flight, stopped by its number."""
    mark = drive.mark()
    run = drive.start(workflow, 0, mark)
    stamps.wait(f"open {mark}")
    began = time.monotonic_ns()
    control = controls.engage(actor=drive.operator(), kind="stop", scope_kind="run", scope=str(run.pk))
    gone = stamps.wait(f"gone {mark}")[0]
    _released(control.pk)
    return (gone - began) / 1e6


def _released(control_id: int) -> None:
    """When both workers have confirmed: the next round shall find them at rest."""
    receipts = ControlReceipt.objects.filter(control_id=control_id)
    drive.until(lambda: receipts.count() == 2, "both workers have confirmed")
    controls.release(actor=drive.operator(), control_id=control_id, reason="measured")
    live.flush()


def _everything(order: Order, stamps: Stamps) -> None:
    count = order.n or CALLS
    rounds = [_all_stopped_ms(stamps, count) for _ in range(order.rounds)]
    order.tell(
        of_rounds(
            "stop-everything",
            n=count,
            unit="ms",
            values=[max(took) for took in rounds],
            samples_ms=rounds,
            detail={
                "value": "the last of all calls",
                "first_ms": [round(min(took), 1) for took in rounds],
                "median_ms": [round(percentile(took, 50), 1) for took in rounds],
                "last_ms": [round(max(took), 1) for took in rounds],
                "workers": 2,
                **drive.machine(),
            },
        )
    )


def _all_stopped_ms(stamps: Stamps, count: int) -> list[float]:
    """All calls in flight at once, one stop of everything; milliseconds until each is gone."""
    marks = [drive.mark() for _ in range(count)]
    drive.wake(drive.started("bench_calls", count, marks))
    stamps.wait(*_each("open", marks))
    began = time.monotonic_ns()
    control = controls.engage(actor=drive.operator(), kind="stop", scope_kind="everything")
    gone = stamps.wait(*_each("gone", marks))
    _released(control.pk)
    return [(moment - began) / 1e6 for moment in gone]


def _each(word: str, marks: Sequence[str]) -> list[str]:
    return [f"{word} {mark}" for mark in marks]
