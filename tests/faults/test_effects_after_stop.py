"""Law L3, seen from the world: once a stop is acknowledged, no effect begins, however slowly the world connects, and
though workers stand still for moments as they do on a starved machine."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from runs.engine import holds
from runs.models import Control, Hold, Run, Worker
from tests.faults import counts, figures, workflows
from tests.faults.acts import engage, release, resume, start
from tests.faults.broker import Broker
from tests.faults.fleet import Fleet, SinkProcess, until

STOPS = counts.of(fast=8, soak=20)
BETWEEN_STOPS = counts.of(fast=50, soak=100)  # effects that arrive before the next stop
EFFECTS_A_RUN = 25
RUNS = STOPS * BETWEEN_STOPS // EFFECTS_A_RUN + 4  # so that some effects are left after the last stop
RUNS_AT_ONCE = 20  # a few more than there are threads
SEND_MS = (
    "20"  # how long the socket itself may take; a gate that is not held as long lets effects slip through
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """From the acknowledgement (the engaging commit has returned) to just before the release; ns."""

    acknowledged: int
    releasing: int
    took_ms: float  # from asking for the stop to its acknowledgement


@pytest.mark.parametrize(
    "starved", [False, pytest.param(True, marks=pytest.mark.soak)], ids=["at their ease", "starved"]
)
def test_no_effect_begins_after_a_stop_is_acknowledged(
    fleet: Fleet, broker: Broker, slow_sink: SinkProcess, starved: bool
) -> None:
    fleet.env = {**slow_sink.env, "FAULT_SEND_MS": SEND_MS}
    for name in ("left", "right"):
        fleet.agents(name, threads=8)
    until(lambda: Worker.objects.filter(name__startswith="agents-").count() == 2, "both workers are up")
    stops = []
    with _standing_still(fleet) if starved else contextlib.nullcontext():
        for number in range(STOPS):
            _let_flow(slow_sink, broker, effects=(number + 1) * BETWEEN_STOPS)
            stops.append(_stop_and_go_on(broker))
        _let_flow(slow_sink, broker, effects=RUNS * EFFECTS_A_RUN)
        until(lambda: not _active(), "every run is done")

    arrived = [entry["arrived_ns"] for entry in slow_sink.arrivals()]
    late = [at for at in arrived for stop in stops if stop.acknowledged < at < stop.releasing]
    _tell("workers that stand still" if starved else "workers at their ease", arrived, late, stops)
    assert late == []
    assert len(arrived) == RUNS * EFFECTS_A_RUN
    assert len(set(slow_sink.keys())) == RUNS * EFFECTS_A_RUN  # each exactly once


@contextlib.contextmanager
def _standing_still(fleet: Fleet) -> Iterator[None]:
    """Every worker stands still again and again, for longer than a stop waits before it looks who is frozen, and for
    less than the time after which it takes one for frozen."""
    over, dice = threading.Event(), random.Random(3)

    def signalled(sign: signal.Signals) -> None:
        for process in fleet.processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, sign)

    def stand() -> None:
        while not over.wait(dice.uniform(0.4, 1.0)):
            signalled(signal.SIGSTOP)
            over.wait(dice.uniform(0.55, 0.9))
            signalled(signal.SIGCONT)

    standing = threading.Thread(target=stand)
    standing.start()
    try:
        yield
    finally:
        over.set()
        standing.join()


def _active() -> int:
    return Run.objects.exclude(state="done").count()


def _let_flow(sink: SinkProcess, broker: Broker, *, effects: int) -> None:
    """Until so many effects have arrived, with always enough runs for every thread."""

    def flowed() -> bool:
        missing = min(RUNS_AT_ONCE - _active(), RUNS - Run.objects.count())
        for _ in range(missing):
            broker.hint(start(workflows.SEND.name, effects=EFFECTS_A_RUN).pk)
        return sink.count() >= effects

    until(flowed, f"{effects} effects in all")


def _stop_and_go_on(broker: Broker) -> Stopped:
    scope = ("everything", "") if Control.objects.count() % 2 else ("workflow", workflows.SEND.name)
    asked = time.monotonic()
    control = engage("stop", *scope)
    acknowledged = time.time_ns()
    took_ms = (time.monotonic() - asked) * 1000
    until(lambda: holds.confirmation(control).state == "stopped", "both workers have confirmed")
    assert holds.confirmation(control).confirmed == 2
    releasing = time.time_ns()
    _release(control, broker)
    return Stopped(acknowledged=acknowledged, releasing=releasing, took_ms=took_ms)


def _release(control: Control, broker: Broker) -> None:
    release(control)
    held = list(Run.objects.filter(hold=Hold.STOP).order_by("pk").values_list("pk", flat=True))
    resume(*held)
    broker.hint(*held)


def _tell(who: str, arrived: list[int], late: list[int], stops: list[Stopped]) -> None:
    took = figures.spread([stop.took_ms for stop in stops], "ms")
    stopped = sum(stop.releasing - stop.acknowledged for stop in stops) / 1e9
    figures.tell(
        f"stops under a stream of effects whose sockets are slow, {who}",
        target="no effect begins after a stop",
        measured=f"{len(late)} of {len(arrived)} late; acknowledged after {took}; {stopped:.1f} s stopped in all",
        n=len(stops),
    )
