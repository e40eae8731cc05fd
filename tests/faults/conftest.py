"""What every fault test has: a nursery, a Valkey and a sink of its own, and a check of the whole record at its end."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.db import connection
from pytest_django import Settings

from tests.faults import counts, healed, history, workflows  # noqa: F401  (registers the workflows here, too)
from tests.faults.broker import Broker
from tests.faults.console import Console
from tests.faults.fleet import LEASE_SECONDS, Fleet, Nursery, SinkProcess


@pytest.fixture(scope="session")
def _broker() -> Iterator[Broker]:
    folder = Path(tempfile.mkdtemp(prefix="opsconsole-faults-"))
    broker = Broker(folder)
    broker.start()
    yield broker
    broker.kill()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def broker(_broker: Broker) -> Broker:
    """Valkey, empty. A test may wipe and kill it."""
    _broker.forget()
    return _broker


@pytest.fixture(scope="session")
def _nursery(_broker: Broker, django_db_setup: None, django_db_blocker: Any) -> Iterator[Nursery]:
    nursery = Nursery(
        {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings_faults",
            "DATABASE_URL": _of_the_tests(os.environ["DATABASE_URL"]),
            "REDIS_URL": _broker.url,
            "OPSCONSOLE_RUNS_LEASE_SECONDS": str(LEASE_SECONDS),
            "OPSCONSOLE_RUNS_HEARTBEAT_SECONDS": "1",
            "OPSCONSOLE_RUNS_SWEEP_SECONDS": "1",
            "OPSCONSOLE_RUNS_SILENT_SECONDS": "600",  # who is frozen and thawed shall live, however slow the machine
            "OPSCONSOLE_SIMULATED_MS": "0",
            "OPSCONSOLE_DATABASE_POOL": "30",
        }
    )
    yield nursery
    nursery.close()


def _of_the_tests(url: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{connection.settings_dict['NAME']}"))


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[SinkProcess]:
    """A sink that answers at once."""
    sink = SinkProcess(tmp_path)
    yield sink
    sink.end()


@pytest.fixture
def slow_sink(tmp_path: Path) -> Iterator[SinkProcess]:
    """A sink that takes up to 50 ms before it accepts."""
    sink = SinkProcess(tmp_path, delay_ms=(0.0, 50.0), seed=20)
    yield sink
    sink.end()


@pytest.fixture
def fleet(
    _nursery: Nursery, broker: Broker, transactional_db: None, tmp_path: Path, settings: Settings
) -> Iterator[Fleet]:
    """Workers, all gone at the end; then the whole record is checked."""
    settings.RUNS_GATE_HOLD_MS = (
        250  # as long as theirs: who is frozen with the gate is ended by stops from here
    )
    history.watch()
    fleet = Fleet(nursery=_nursery, folder=tmp_path)
    try:
        yield fleet
        if fleet.heals:
            healed.heal(fleet, broker)
        fleet.end()
        history.check(_arrivals(fleet))
    finally:
        fleet.end()
        history.unwatch()


@pytest.fixture(scope="package")
def _console() -> Iterator[Console]:
    """One for all tests of this folder, with default settings in a soak."""
    fast = {"RUNS_LEASE_SECONDS": 5, "RUNS_SWEEP_SECONDS": 1, "RUNS_SILENT_SECONDS": 12}
    console = Console(**({} if counts.soaking() else fast), RUNS_INTAKE_LIMIT=20_000)
    try:
        console.wait_ready()
        yield console
    finally:
        console.end()


@pytest.fixture
def whole_console(_console: Console) -> Iterator[Console]:
    """A console to be hurt: each test leaves it as it was. Then it works as before, and its whole record is checked."""
    yield _console
    _console.heal()
    _console.check()


def _arrivals(fleet: Fleet) -> list[dict[str, Any]]:
    """What reached the sink that the fleet's workers know, if they know one."""
    log = fleet.env.get("FAULT_SINK_LOG")
    return [json.loads(line) for line in Path(log).read_text().splitlines()] if log else []
