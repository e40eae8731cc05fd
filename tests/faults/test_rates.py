"""A rate under several worker processes: one was killed between a permit and its call, Valkey is wiped again and again,
and no 60 seconds ever hold more permits than the limit allows.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import F

from runs.engine import gate
from runs.models import Call, Event, RateEntry, Run, Wait
from tests.faults import workflows
from tests.faults.acts import start
from tests.faults.broker import Broker
from tests.faults.fleet import Fleet, until
from tests.faults.workflows import CHAIN_STEPS
from tests.spend.conftest import limit
from tests.spend.test_rates import busiest

RUNS, PROCESSES, CAP = 6, 3, 7
THINKING_SECONDS = 0.02


class Clock:
    """Goes on by itself, and by leaps: then everything that waits has waited so much longer."""

    def __init__(self) -> None:
        self.leaps: list[tuple[datetime, timedelta]] = []

    def leap(self, seconds: float) -> None:
        """At one moment for all: nobody permits meanwhile."""
        by = timedelta(seconds=int(seconds))
        with transaction.atomic():
            gate.exclusive()
            with connection.cursor() as cursor:
                cursor.execute("SELECT clock_timestamp()")
                ((moment,),) = cursor.fetchall()
            RateEntry.objects.filter(at__lt=moment - timedelta(seconds=61)).delete()  # count no more
            for number in RateEntry.objects.order_by("at").values_list("pk", flat=True):
                RateEntry.objects.filter(pk=number).update(at=F("at") - by)
            Wait.objects.update(until=F("until") - by)
            with connection.cursor() as cursor:
                for table in ("runs_step", "runs_run"):
                    cursor.execute(
                        f"UPDATE {table} SET due_at = due_at - make_interval(secs => %s) WHERE state = 'sleeping'",
                        [by.total_seconds()],
                    )
        self.leaps.append((moment, by))

    def of(self, at: datetime) -> datetime:
        """What this clock showed then."""
        return at + sum((by for moment, by in self.leaps if moment <= at), timedelta())


def test_several_processes_one_killed_and_a_wiped_valkey_never_permit_more_than_the_rate(
    fleet: Fleet, broker: Broker
) -> None:
    limit("requests/minute", CAP)
    doomed = fleet.agents("doomed", threads=1, failpoint="after_permit:kill:2")
    runs = [start(workflows.CHAIN.name) for _ in range(RUNS)]
    broker.hint(*(run.pk for run in runs))
    doomed.wait_killed()
    for number in range(PROCESSES):
        fleet.agents(f"heir{number}", threads=4, SIMULATED_SECONDS=THINKING_SECONDS)
    dice, clock = random.Random(5), Clock()

    def done() -> bool:
        broker.hint(*dice.sample([run.pk for run in runs], 3))
        if (
            Wait.objects.exists()
        ):  # the rate binds: only then time leaps, and not always over the whole minute
            clock.leap(dice.uniform(9, 35))
            broker.wipe()
        return not Run.objects.exclude(state="done").exists()

    until(done, "every run is done")
    permitted = [(clock.of(call.permitted_at), 1) for call in Call.objects.filter(kind="model")]
    assert len(permitted) > RUNS * CHAIN_STEPS  # what was permitted to the killed one was asked again
    assert busiest(sorted(permitted)) == CAP
    assert Event.objects.filter(kind="waits").count() >= RUNS
    assert len(clock.leaps) >= 3
    assert set(Run.objects.values_list("retries", flat=True)) == {0}
