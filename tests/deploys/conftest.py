"""What every test of deploys has: quick simulated agents, an empty cash box, versions that may change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from runs.engine.runtime import Runtime
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
