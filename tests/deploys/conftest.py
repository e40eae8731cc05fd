"""What every test of deploys has: quick simulated agents, an empty cash box, versions that may change."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from runs.engine.worker.runtime import Runtime
from tests.deploys import workflows  # noqa: F401  (registers those that every process has, here, too)
from tests.faults import healed, history
from tests.faults.broker import Broker
from tests.faults.conftest import _broker, _of_the_tests, broker, sink  # noqa: F401  (fixtures)
from tests.faults.fleet import LONG_LEASE, Fleet, Nursery
from tests.runs import flows


@pytest.fixture(autouse=True)
def _no_pauses(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SIMULATED_SECONDS = 0.0
    settings.RUNS_FREEZE_VERSIONS = False
    monkeypatch.setattr("runs.engine.settle.random.random", lambda: 0.0)  # back-off: at once


@pytest.fixture(autouse=True)
def _empty_cashbox() -> Iterator[None]:
    flows.CASHBOX.paid.clear()
    yield
    flows.CASHBOX.break_after_send = 0
    flows.CASHBOX.lose = False


@pytest.fixture(scope="session")
def runtime() -> Runtime:
    return Runtime("test-worker", "agents")


@pytest.fixture(scope="session")
def _own_nursery(
    _broker: Broker,  # noqa: F811
    django_db_setup: None,
    django_db_blocker: Any,
) -> Iterator[Nursery]:
    nursery = Nursery(
        {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.deploys.settings",
            "DATABASE_URL": _of_the_tests(os.environ["DATABASE_URL"]),
            "REDIS_URL": _broker.url,
            "OPSCONSOLE_RUNS_LEASE_SECONDS": str(LONG_LEASE),  # who takes over does not wait for that
            "OPSCONSOLE_RUNS_HEARTBEAT_SECONDS": "1",
            "OPSCONSOLE_RUNS_SWEEP_SECONDS": "1",
            "OPSCONSOLE_RUNS_SILENT_SECONDS": "600",
            "OPSCONSOLE_RUNS_GATE_HOLD_MS": "10000",  # busy cores
            "OPSCONSOLE_SIMULATED_MS": "0",
            "OPSCONSOLE_DATABASE_POOL": "30",
        }
    )
    yield nursery
    nursery.close()


@pytest.fixture
def fleet(
    _own_nursery: Nursery,
    broker: Broker,  # noqa: F811
    transactional_db: None,
    tmp_path: Path,
) -> Iterator[Fleet]:
    """Workers of several deploys, all gone at the end; then the whole record is checked."""
    history.watch()
    fleet = Fleet(nursery=_own_nursery, folder=tmp_path)
    try:
        yield fleet
        if fleet.heals:
            healed.heal(fleet, broker)
        fleet.end()
        history.check()
    finally:
        fleet.end()
        history.unwatch()
