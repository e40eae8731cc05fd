"""Every test of this folder gets an empty ledger of its own."""

from pathlib import Path
from typing import Any

import pytest

from opsconsole.shipped.invoice_intake import ledger


@pytest.fixture(autouse=True)
def book(settings: Any, tmp_path: Path) -> ledger.Ledger:
    """An empty ledger of the test's own."""
    settings.INVOICE_LEDGER = tmp_path / "ledger.jsonl"
    return ledger.current()
