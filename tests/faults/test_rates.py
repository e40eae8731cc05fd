"""A rate under several worker processes: one was killed between a permit and its call, Valkey is wiped again and again,
and no 60 seconds ever hold more permits than the limit allows.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F

from runs.engine import gate
from runs.engine.spend import estimates
from runs.models import Call, Event, RateEntry, Run, Wait
from tests.faults import counts, workflows
from tests.faults.acts import start
from tests.faults.broker import Broker
from tests.faults.fleet import Fleet, until
from tests.faults.workflows import CHAIN_STEPS
from tests.spend.conftest import limit
from tests.spend.test_rates import MINUTE, busiest

PROCESSES = counts.of(fast=3, soak=8)
THINKING_SECONDS = 0.02


# What a call has reserved of a rate names its second: another's would be given back in its place.
_MOVED = """
    UPDATE runs_call c SET reserved = (
        SELECT jsonb_agg(CASE WHEN jsonb_array_length(v.one) = 4
            THEN jsonb_set(v.one, '{2}', to_jsonb((v.one ->> 2)::bigint - %(by)s)) ELSE v.one END ORDER BY v.n)
        FROM jsonb_array_elements(c.reserved) WITH ORDINALITY AS v(one, n))
    WHERE c.reserved IS NOT NULL AND c.reserved <> '[]'
"""


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
                cursor.execute(_MOVED, {"by": int(seconds)})  # calls first, as a record locks them
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


@pytest.mark.parametrize(
    ("scope", "most", "cap"),
    [
        ("", 6, 7),
        ("provider:simulated", counts.of(fast=3, soak=6), 5),
        ("team:Testers", counts.of(fast=3, soak=6), 5),
    ],
)
def test_several_processes_one_killed_and_a_wiped_valkey_never_permit_more_than_the_rate(
    fleet: Fleet, broker: Broker, scope: str, most: int, cap: int
) -> None:
    limit("requests/minute", cap, scope)
    clock = _done_by_several(fleet, broker, most)
    permitted = [(clock.of(call.permitted_at), 1) for call in Call.objects.filter(kind="model")]
    assert len(permitted) > most * CHAIN_STEPS  # what was permitted to the killed one was asked again
    assert busiest(sorted(permitted)) == cap
    assert Event.objects.filter(kind="waits").count() >= most
    assert len(clock.leaps) >= 3
    assert set(Run.objects.values_list("retries", flat=True)) == {0}


def test_tokens_a_minute_are_reserved_by_several_processes_before_any_is_sent(
    fleet: Fleet, broker: Broker
) -> None:
    """At the moment of each permit: what is under way counts as it may be, what is done as it was."""
    runs = counts.of(fast=3, soak=6)
    room = runs // 3  # calls that may be under way at once
    limit("tokens/minute", room * (settings.RUNS_TOKENS_OUT + 400))
    clock = _done_by_several(fleet, broker, runs)
    calls = list(Call.objects.filter(kind="model", state="done").select_related("request").order_by("pk"))
    reserved = {one.pk: _most(one) for one in calls}
    assert max(reserved.values()) <= settings.RUNS_TOKENS_OUT + 400
    for one in calls:
        at = one.permitted_at
        before = [each for each in calls if each.permitted_at <= at]
        begun = [each for each in before if clock.of(at) - clock.of(each.permitted_at) < MINUTE]
        used = sum(reserved[each.pk] if _under_way(each, at) else _used(each) for each in begun)
        assert used <= room * (settings.RUNS_TOKENS_OUT + 400)
    assert Event.objects.filter(kind="waits").exists()


def _most(call: Call) -> int:
    """What was reserved for it."""
    found = estimates.usage_of(len(call.request.content.encode()), {})
    return found.tokens_in + found.tokens_out


def _used(call: Call) -> int:
    return (call.tokens_in or 0) + (call.tokens_out or 0)


def _under_way(call: Call, at: datetime) -> bool:
    return at < call.permitted_at + timedelta(milliseconds=call.latency_ms or 0)


def _done_by_several(fleet: Fleet, broker: Broker, most: int) -> Clock:
    """So many runs, done by several processes at once, after one was killed between a permit and its call."""
    doomed = fleet.agents("doomed", threads=1, failpoint="after_permit:kill:2")
    runs = [start(workflows.CHAIN.name) for _ in range(most)]
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
    return clock
