"""What the tests begin with that let agents work: no pauses, and an empty world."""

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
    yield
    WORLD.clear()
