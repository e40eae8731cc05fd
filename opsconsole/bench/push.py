"""How long after its commit an event is on the last of N screens: the console's own front, lanes and sockets.

The event is an escalation that is taken or given back; the screens are inboxes of operators, admins and an auditor.
Each hears the entry with its number, and with it the queue's item, the numbers above the queue and the places,
rendered once for all with the same roles. The number is known only after the commit: the crowd is told at once and
looks back when it was faster.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models.signals import post_save

from escalations import claims, live, parts
from escalations.models import Escalation
from escalations.parts import Audience
from escalations.roles import Role
from opsconsole.bench import drive
from opsconsole.bench.browser import Browser, signed_in
from opsconsole.bench.figures import of_parts, of_rounds, percentile
from opsconsole.bench.order import Order
from opsconsole.environment import REPOSITORY
from runs.engine.advance import advance

CROWDS = (1, 100, 500)
PEOPLE = (Role.OPERATOR, Role.OPERATOR, Role.OPERATOR, Role.ADMIN, Role.AUDITOR)
WAITING = 10  # escalations in the queue
EVENTS = 20
APART_SECONDS = 0.2  # what comes closer together is told together, a moment later


def measure(order: Order) -> None:
    people = [_person(order.port, number, role) for number, role in enumerate(PEOPLE)]
    for run_id in drive.started("bench_asks", WAITING):
        advance(run_id)  # as a worker would; there is none
    for count in [order.n] if order.n else CROWDS:
        _pushed(order, people, count)
    parts = order.told()
    order.tell(of_parts("push", parts, parts[-1]))  # of the greatest crowd


def _person(port: int, number: int, role: Role) -> Browser:
    browser = signed_in(port, f"person{number}")
    User.objects.get(username=f"person{number}").groups.set([Group.objects.get_or_create(name=role)[0]])
    return browser


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
                "content": "the entry, the queue's item and numbers, the places",
                "apart_ms": APART_SECONDS * 1000,
                "bytes": _size(),
                "signed_in": list(PEOPLE),
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
        seq, committed = _committed()
        self._say(str(seq))
        time.sleep(APART_SECONDS)
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


def _committed() -> tuple[int, int]:
    """An escalation taken, or given back by who has it: its entry's number, and the moment right after its commit."""
    moments: list[int] = []

    def after_commit(**_: Any) -> None:
        transaction.on_commit(lambda: moments.append(time.monotonic_ns()))

    one = Escalation.objects.order_by("pk").first()
    assert one is not None
    act = claims.release if one.taken_by_id else claims.take
    post_save.connect(after_commit, sender=Escalation, weak=False)
    try:
        act(actor=drive.operator(), escalation_id=one.pk)
    finally:
        post_save.disconnect(after_commit, sender=Escalation)
    return live.head(), moments[0]


def _size() -> int:
    """Bytes of one message to an operator's inbox."""
    audience = Audience(place="inbox", roles=frozenset({Role.OPERATOR}))
    (text,) = parts.news(live.head() - 1, frozenset({audience})).texts(audience)
    return len(text.encode())
