"""What the tests begin with that let agents work: no pauses, and nothing of the test before is still in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from tests.guards import bounded  # noqa: F401  # registers its workflows
from tests.guards.flows import WORLD


@pytest.fixture
def quick(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.SIMULATED_SECONDS = 0.0
    monkeypatch.setattr("runs.engine.settle.random.random", lambda: 0.0)
    monkeypatch.setattr("runs.engine.bounds._recent", None)
    monkeypatch.setattr("runs.engine.limits._book", None)
    monkeypatch.setattr("runs.engine.overdue._told", {})
    monkeypatch.setattr("runs.engine.overdue._under_way", {})
    monkeypatch.setattr("runs.engine.shortened._looked", None)
    monkeypatch.setattr("runs.engine.shortened._settled", None)
    yield
    WORLD.clear()
