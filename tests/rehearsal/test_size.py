"""Ten thousand runs within a minute, in memory that does not grow with them."""

from __future__ import annotations

import resource
import time
from datetime import timedelta

import pytest
from django.db import transaction

from escalations.drafted import taken
from runs.engine.record import now
from runs.rehearsal.drafts import draft
from runs.rehearsal.rehearsing import Rehearsal
from runs.rehearsal.totals import Totals
from runs.shown import past
from tests.faults import counts, figures
from tests.rehearsal.histories import row
from tests.rehearsal.many import COST, many

RUNS = counts.of(fast=400, soak=10_000)
pytestmark = pytest.mark.django_db(transaction=True)


def rehearsed(kind: str, value: int) -> Totals:
    tried = draft(row(kind, value))
    until = now()
    since = until - timedelta(days=30)
    rehearsal = Rehearsal(tried)
    if rehearsal.needs_stream:
        rehearsal.feed(past.calls_until(tried, since, until))
    for run in past.runs_between(tried, since, until, taken):
        rehearsal.look(run)
    return rehearsal.totals


@pytest.mark.parametrize(
    ("kind", "value", "stopped", "saved"),
    [
        ("turns/run", 11, RUNS, RUNS * 3500),
        ("cost/run", COST, 0, 0),
        ("cost/month", 1, RUNS, RUNS * COST),
        ("requests/minute", 10_000, 0, 0),
        ("wall_time/run", 49_000, RUNS, 0),
    ],
)
def test_so_many_runs_take_less_than_a_minute(kind: str, value: int, stopped: int, saved: int) -> None:
    with transaction.atomic():
        many(RUNS)
    began, worked, memory = time.monotonic(), time.process_time(), peak()
    totals = rehearsed(kind, value)
    seconds, ours, grown = time.monotonic() - began, time.process_time() - worked, peak() - memory
    assert (totals.runs, totals.stopped, totals.saved.cost) == (RUNS, stopped, saved)
    measured = f"{seconds:.1f} s, {ours:.1f} s of our processor, {grown} MB more"
    figures.tell(f"rehearsal of {kind}", target="60 s, 200 MB", measured=measured, n=RUNS)
    if counts.soaking():
        assert ours < 30, "the rest of the minute is the database's, and that of whoever else is at work here"
    assert grown < 200


def peak() -> int:
    """The most memory that this process has had, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
