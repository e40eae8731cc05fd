"""Every test of this folder gets an empty ledger of its own, and all of them share one worker."""

from pathlib import Path
from typing import Any

import pytest

from opsconsole.shipped.invoice_intake import ledger
from runs.engine.worker.runtime import Runtime


@pytest.fixture(scope="session")
def runtime() -> Runtime:
    return Runtime("test-worker", "agents")


@pytest.fixture(autouse=True)
def book(settings: Any, tmp_path: Path) -> ledger.Ledger:
    """An empty ledger of the test's own."""
    settings.INVOICE_LEDGER = tmp_path / "ledger.jsonl"
    return ledger.current()


@pytest.fixture(autouse=True)
def _own_books(settings: Any, tmp_path: Path) -> None:
    """Empty books of the refund desk, the test's own."""
    settings.REFUND_BOOK = tmp_path / "refunds.jsonl"
    settings.REFUND_OUTBOX = tmp_path / "outbox.jsonl"


@pytest.fixture(autouse=True)
def _own_reports(settings: Any, tmp_path: Path) -> None:
    """No accepted licences and no reports of the dependency review but the test's own."""
    settings.ACCEPTED_LICENCES = tmp_path / "licences.jsonl"
    settings.DEPENDENCY_REPORTS = tmp_path / "reports"
