"""Nothing is spent between two tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit import flows


@pytest.fixture(autouse=True)
def _empty_purse() -> Iterator[None]:
    flows.SPENT.clear()
    yield
    flows.SPENT.clear()
