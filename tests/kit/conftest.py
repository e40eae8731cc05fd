"""Nothing is spent between two tests, and no sender gives up because the machine is busy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.kit import flows


@pytest.fixture(autouse=True)
def _empty_purse() -> Iterator[None]:
    flows.SPENT.clear()
    yield
    flows.SPENT.clear()


@pytest.fixture(autouse=True)
def _patient_gate(settings: Any) -> None:
    """Who loses the gate calls a tool again: scripts of these tests have one answer for each call."""
    settings.RUNS_GATE_HOLD_MS = 10_000
