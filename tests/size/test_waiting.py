"""Waiting is free: thousands of runs that wait for people hold nothing, cost a sweep nothing, and each can go on.

Counts blocks, rows, threads and connections; measures no time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from escalations import decisions
from escalations.models import Escalation
from opsconsole.bench import drive
from runs import tasks
from runs.engine import sweep
from runs.models import Call, Purse, Run, Step
from tests import factories
from tests.budgets import parked
from tests.factories import shown
from tests.faults import counts
from tests.size import grown, reads

FEW, MANY = 10, counts.of(fast=2_000, soak=100_000)
PARKED = counts.of(fast=20, soak=1_000)  # by the engine, one after the other
VALUE = {"text": "mended", "plan": "by hand", "amount": "7"}  # as `writing` wants it
MORE_BLOCKS = 8  # an index may have grown by a level, and a page of it may be read in two halves
_BLOCKS = """
    SELECT coalesce(sum(pg_stat_get_xact_blocks_fetched(oid)), 0) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i', 't')
"""
_CONNECTIONS = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'
"""


def _due() -> int:
    return len(sweep.due(overlooked_seconds=tasks.OVERLOOKED_SECONDS))


def blocks_of_a_sweep() -> dict[str, int]:
    """Blocks of the console's tables and indexes that each part touches, inside of functions, too."""
    return {part.__name__: _touched(part) for part in (*tasks.sweep_parts(), _due)}


def _touched(part: Callable[[], int]) -> int:
    part()  # what is done once only
    with transaction.atomic():
        before = _value(_BLOCKS)
        assert part() == 0, part.__name__
        return _value(_BLOCKS) - before


def _value(sql: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return int(cursor.fetchone()[0])


def _waiting() -> int:
    return Run.objects.filter(state="waiting").count()


def test_runs_that_wait_cost_a_sweep_nothing(transactional_db: None) -> None:
    runs = [factories.approval().run for _ in range(FEW)]
    grown.copied(runs[0], 0)
    few = blocks_of_a_sweep()
    grown.copied(runs[0], MANY - FEW)
    assert _waiting() == MANY
    many = blocks_of_a_sweep()
    assert set(few) == set(many)
    grew = {name: (few[name], many[name]) for name in few if many[name] > few[name] + MORE_BLOCKS}
    assert not grew, grew


def test_a_part_that_reads_all_that_wait_is_seen(transactional_db: None) -> None:
    """What the test above looks for is there when it is there."""
    run = factories.approval().run
    grown.copied(run, FEW)

    def reads_all() -> int:
        return sum(one.hold != "" for one in Run.objects.filter(state="waiting"))

    few = _touched(reads_all)
    grown.copied(run, MANY)
    assert _touched(reads_all) > few + MORE_BLOCKS


def test_runs_that_wait_hold_nothing(transactional_db: None) -> None:
    parked.limited(factories.person("ines", "admin"), "cost/day", "1000")
    factories.approval()
    threads, connections = threading.active_count(), _value(_CONNECTIONS)
    for _ in range(PARKED):
        factories.approval()
    assert threading.active_count() <= threads
    assert _value(_CONNECTIONS) <= connections
    assert factories.runtime().in_flight() == []
    assert _waiting() == PARKED + 1
    assert Purse.objects.exists()  # until the next sweeps, of which each gives back a thousand
    for _ in range(2):
        for part in tasks.sweep_parts():
            part()
    assert not Run.objects.exclude(lease_owner="", lease_until=None).exists()
    assert not Step.objects.filter(state="running").exists()
    assert not Purse.objects.exists()
    assert not Call.objects.exclude(reserved=None).exists()


@pytest.fixture(params=["auto", "force_generic_plan"])
def plans(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is asked often is planned once, for any values: such a plan must not read a table either."""
    options = connection.settings_dict["OPTIONS"]
    monkeypatch.setitem(options, "options", f"{options['options']} -c plan_cache_mode={request.param}")
    reads.hang_up()
    yield
    reads.hang_up()


def _open(kinds: tuple[str, ...]) -> list[Escalation]:
    """The newest open one of each kind."""
    asked = Escalation.objects.filter(state="open").select_related("run")
    return [asked.filter(question__kind=kind).order_by("-pk")[0] for kind in kinds]


def _decide(marta: User, escalations: list[Escalation]) -> None:
    """A tool call approved, words to a failed step, a value of a person's own; and what the worker makes of each."""
    approved, told, mended = escalations
    decisions.approve(actor=marta, **shown(approved))
    decisions.respond(actor=marta, text="go on", **shown(told))
    edited = decisions.edit(actor=marta, value=VALUE, **shown(mended))
    decisions.approve(actor=marta, **shown(edited))
    for one in escalations:
        run = Run.objects.get(pk=one.run_id)
        assert factories.advanced(run).event_seq > run.event_seq


def test_a_decision_reads_no_more_among_many_than_among_half_of_them(marta: User, plans: None) -> None:
    """Among ten every table is read in whole, so that few are no measure."""
    runs = [
        one.run for one in (factories.approval(), factories.unforeseen_error(), factories.broken_contract())
    ]
    kinds = ("approval", "error", "contract")
    found = []
    for _ in range(2):
        for run in runs:
            grown.copied(run, MANY // 2)
        _decide(marta, _open(kinds))  # what is done once only
        chosen = _open(kinds)
        found.append(reads.of(lambda: _decide(marta, chosen)))  # noqa: B023  # called at once
    half, all_ = found
    assert all_.rows < half.rows + FEW * FEW, found
    assert all_.blocks < half.blocks + FEW * FEW, found
    assert reads.of(Run.objects.filter(hold="").count).rows > MANY, "what reads them all is seen"
    assert reads.of(drive.until_quiet).rows < FEW, "the benchmark's own question, beside what it measures"


def test_a_decision_on_any_of_them_lets_it_go_on(marta: User) -> None:
    """The oldest, which the engine made, and copies of it."""
    grown.copied(factories.approval().run, MANY - 1)
    escalations = list(Escalation.objects.filter(state="open").order_by("pk"))
    for number, place in enumerate((0, MANY // 2, MANY - 1), start=1):
        escalation = escalations[place]
        decisions.approve(actor=marta, **shown(escalation))
        assert factories.advanced(Run.objects.get(pk=escalation.run_id)).state == "done"
        assert _waiting() == MANY - number
