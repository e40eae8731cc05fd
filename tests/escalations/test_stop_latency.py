"""Nothing is claimed after a stop while eight runs are hot. How long a person waits for it is told."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.db import connection

from escalations import controls
from escalations.audit import chain
from runs.models import Event, Run
from tests.factories import journal
from tests.faults import counts

pytestmark = pytest.mark.django_db(transaction=True)

PROCESSES = 2  # of four threads each
STOPS = counts.of(fast=8, soak=20)


@contextlib.contextmanager
def hot_runs() -> Iterator[None]:
    """Eight threads that claim and settle as fast as the engine lets them, run after run."""
    environment = dict(os.environ, DATABASE_URL=_database_url(), REDIS_URL=os.environ["REDIS_URL"])
    command = [sys.executable, "-m", "tests.escalations.hot_runs"]
    processes = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "hot\n"
        yield
    finally:
        codes = [_ended(process) for process in processes]
    assert codes == [0] * PROCESSES


def _ended(process: subprocess.Popen[str]) -> int:
    try:
        process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    return process.returncode


def _database_url() -> str:
    """The test database of this process, as an address."""
    given = connection.settings_dict
    who = f"{quote(given['USER'])}:{quote(given['PASSWORD'])}"
    host, port = str(given["HOST"]), str(given["PORT"])
    if host.startswith("/"):
        return f"postgresql://{who}@/{given['NAME']}?host={quote(host)}" + (f"&port={port}" if port else "")
    return f"postgresql://{who}@{host}:{port or 5432}/{given['NAME']}"


def _claims() -> int:
    return Event.objects.filter(kind="attempt").count()


def test_nothing_is_claimed_after_a_stop_on_eight_hot_runs(
    operator: User, capsys: pytest.CaptureFixture[str]
) -> None:
    in_force: list[float] = []
    answered: list[float] = []
    with hot_runs():
        for number in range(STOPS):
            _until_it_is_hot(number)
            began = time.time()
            control = controls.engage(actor=operator, kind="stop", scope_kind="everything")
            answered.append(time.time() - began)
            claimed = _claims()
            # The entry is the last statement before the commit, and has PostgreSQL's clock: this machine's.
            in_force.append(journal(act="engage stop")[-1].at.timestamp() - began)
            for _ in range(5):
                assert _claims() == claimed
            controls.release(actor=operator, control_id=control.pk, reason="next round")
            controls.resume_all(actor=operator, control_id=control.pk)
    with capsys.disabled():
        print(f"\n{STOPS} stops on eight hot runs: in force after {_figures(in_force)};", end=" ")
        print(f"answered, runs marked, after {_figures(answered)}; {Run.objects.count()} runs meanwhile")
    assert chain.verify() is None


def _p95(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=20)[-1]


def _figures(seconds: list[float]) -> str:
    p50, p95 = statistics.median(seconds) * 1000, _p95(seconds) * 1000
    return f"p50 {p50:.0f}, p95 {p95:.0f}, max {max(seconds) * 1000:.0f} ms"


def _until_it_is_hot(number: int) -> None:
    """Several claims since the last round: otherwise the stop would meet nobody."""
    before, until = _claims(), time.monotonic() + 120
    while _claims() < before + 16:
        assert time.monotonic() < until, f"round {number}: the runs do not go on"
        time.sleep(0.005)
