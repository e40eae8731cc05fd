"""Every failpoint with every fault: the run ends right, one record a step, and no effect twice behind anybody's back.

The cases run side by side, see tests/faults/matrix.py; each test here says what was wrong with one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from runs.engine import failpoints
from tests import factories
from tests.faults import counts, figures, history, unread
from tests.faults.broker import Broker
from tests.faults.cases import FAULTS, POINTS, Case, cases
from tests.faults.fleet import Fleet, Nursery, SinkProcess
from tests.faults.matrix import Storm, misbooked

pytestmark = pytest.mark.django_db  # so that there is one; the tests themselves only read verdicts
AT_ONCE = 24  # processes that are hurt side by side
LEASE = 15  # seconds, as every day: in half of a soak it passes, else it is ended as if it had
TIMES = counts.of(fast=1, soak=6, name="matrix")
WAITED = min(TIMES, counts.of(fast=0, soak=3, name="matrix_waited"))  # rounds of these in which leases pass
Verdicts = dict[str, list[str]]


@pytest.fixture(scope="module")
def verdicts(
    request: pytest.FixtureRequest,
    _nursery: Nursery,
    _broker: Broker,
    django_db_blocker: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Verdicts]:
    """What was wrong with each case that is wanted, and with the whole record."""
    items = [item for item in request.session.items if getattr(item, "module", None) is request.module]
    wanted = {item.callspec.params["case"] for item in items if hasattr(item, "callspec")}
    once = [case for case in cases() if case in wanted]
    with django_db_blocker.unblock():
        found = stormed(
            once * TIMES,
            _nursery,
            _broker,
            tmp_path_factory.mktemp("matrix"),
            waits_from=len(once) * (TIMES - WAITED),
        )
        tell("crash matrix", found, TIMES * len(once), waited=WAITED * len(once))
        yield found
        call_command("flush", verbosity=0, interactive=False, reset_sequences=False)


def tell(row: str, found: Verdicts, n: int, waited: int = 0) -> None:
    wrong = sum(bool(one) for one in found.values())
    waited_for = f", {waited} of them past a lease of {LEASE} s that was waited for" if waited else ""
    figures.tell(
        row, target="none wrong", measured=f"{n} processes hurt{waited_for}; {wrong} cases wrong", n=n
    )


def stormed(
    some: list[Case], nursery: Nursery, broker: Broker, folder: Path, *, waits_from: int | None = None
) -> Verdicts:
    """What was wrong with each of them and with the whole record. From `waits_from` on leases pass by themselves."""
    found: Verdicts = {str(case): [] for case in some}
    sink = SinkProcess(folder)
    broker.forget()
    history.watch()
    try:
        marta = factories.person("marta", "operator")
        for at in range(0, len(some), AT_ONCE):
            place = folder / f"storm{at}"
            place.mkdir()
            fleet = Fleet(nursery=nursery, folder=place, env=sink.env)
            lease = 0 if waits_from is None or at < waits_from else LEASE
            try:
                storm = Storm(fleet=fleet, broker=broker, sink=sink, marta=marta, lease=lease)
                storm.pass_over(some[at : at + AT_ONCE])
            finally:
                fleet.end()
            for one in (*storm.hurt, *storm.unhurt):
                found[str(one.case)] += storm.wrong(one)
        found[""] = [*history.faults(sink.arrivals()), *misbooked()]
    finally:
        history.unwatch()
        sink.end()
    return found


@pytest.mark.parametrize("case", cases(), ids=str)
def test_a_run_ends_right_when_its_process_is(case: Case, verdicts: Verdicts) -> None:
    assert not verdicts[str(case)], "\n".join(verdicts[str(case)])


def test_after_all_of_it_the_whole_record_is_right(verdicts: Verdicts) -> None:
    assert not verdicts[""], "\n".join(verdicts[""])


def test_every_failpoint_of_the_engine_is_in_the_matrix_with_every_fault() -> None:
    tried = {(case.point, case.fault) for case in cases()}
    names = failpoints.NAMES | unread.NAMES
    assert tried == {(point, fault) for point in names for fault in FAULTS}
    assert set(POINTS) == names
