"""How long after its commit an event is on the last of N screens: the console's own front, lanes and sockets.

The event is a start act's journal entry. Nobody advances the run, so that nothing else moves; what a screen hears is
today's message, the hint by which it fetches its part again. The run's number is known only after the commit: the crowd
is told at once and looks back when it was faster.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.db.models.signals import post_save

from opsconsole.bench import drive
from opsconsole.bench.browser import Browser, signed_in
from opsconsole.bench.figures import of_rounds, percentile
from opsconsole.bench.order import Order
from opsconsole.environment import REPOSITORY
from runs.models import Event, Run

CROWDS = (1, 100, 500)
PEOPLE = 5
EVENTS = 20


def measure(order: Order) -> None:
    people = [signed_in(order.port, f"person{at}") for at in range(PEOPLE)]
    for count in [order.n] if order.n else CROWDS:
        _pushed(order, people, count)


def _pushed(order: Order, people: Sequence[Browser], count: int) -> None:
    crowd = _Crowd(order.port, people, count)
    try:
        crowd.last_ms()  # the first loads code in both lanes
        rounds = [[crowd.last_ms() for _ in range(EVENTS)] for _ in range(order.rounds)]
    finally:
        crowd.end()
    order.tell(
        of_rounds(
            f"push-{count}",
            n=count,
            unit="ms",
            values=[percentile(took, 50) for took in rounds],
            samples_ms=rounds,
            detail={
                "events": EVENTS,
                "from": "committed",
                "until": "the last socket has it",
                "content": "the hint; a screen then fetches its part",
                "coalesced_ms": 50,
                "signed_in": PEOPLE,
                **drive.machine(),
            },
        )
    )


class _Crowd:
    """The process with the sockets."""

    def __init__(self, port: int, people: Sequence[Browser], count: int) -> None:
        command = [sys.executable, "-m", "opsconsole.bench.sockets", str(port), str(count), str(len(people))]
        self._process = subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for person in people:
            self._say(person.cookie)
        self._told()

    def last_ms(self) -> float:
        """One event; milliseconds from its commit until the last socket has it."""
        run, committed = _committed()
        self._say(str(run.pk))
        heard: list[int] = json.loads(self._told())
        return (max(heard) - committed) / 1e6

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _told(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise drive.Stalled("the sockets' process ended; see the driver's log")
        return line


def _committed() -> tuple[Run, int]:
    """A start, and the moment right after its commit."""
    moments: list[int] = []

    def after_commit(**_: Any) -> None:
        transaction.on_commit(lambda: moments.append(time.monotonic_ns()))

    post_save.connect(after_commit, sender=Event, weak=False)
    try:
        run = drive.start("bench_short", 0)
    finally:
        post_save.disconnect(after_commit, sender=Event)
    return run, moments[0]
