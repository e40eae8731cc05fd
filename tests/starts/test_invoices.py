"""The shipped use: an invoice that is dropped into a folder is taken in, and its run reads what was dropped."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from pytest_django import Settings

from opsconsole.shipped.invoice_intake import documents
from runs import bodies
from runs.engine.triggers import folders
from runs.models import Run
from tests.factories import advanced
from tests.starts.conftest import names

pytestmark = pytest.mark.django_db(transaction=True)
SAMPLES = documents.SAMPLES / "invoices"


@pytest.fixture
def dropped(tmp_path: Path, settings: Settings) -> Path:
    """The watched folder of invoices; what is kept of them, and the ledger, are the test's own."""
    folder = tmp_path / "dropped"
    folder.mkdir()
    settings.WATCHED_FOLDERS = {"invoice_intake/dropped": folder}
    settings.INVOICE_FOLDERS = {"inbox": tmp_path / "kept"}
    settings.INVOICE_LEDGER = tmp_path / "ledger.jsonl"
    settings.SIMULATED_SECONDS = 0.0
    return folder


def look() -> int:
    return folders.look(time.time() + 10)


def test_a_dropped_invoice_is_taken_in(dropped: Path) -> None:
    shutil.copy(SAMPLES / "01-norrland.xml", dropped)
    assert look() == 1
    run = Run.objects.get()
    assert (run.workflow, run.started_by) == ("invoice_intake", "folder dropped")
    assert "01-norrland.xml" in run.goal
    assert names(dropped / "done") == ["01-norrland.xml"]
    output = advanced(run).steps.get(node="read").output
    assert output is not None
    assert bodies.load(output)["text"] == (SAMPLES / "01-norrland.xml").read_text()


def test_two_invoices_of_one_name_are_two_runs_that_read_their_own(dropped: Path, tmp_path: Path) -> None:
    for sample in ("02-northgate.txt", "04-odenthal.txt"):
        shutil.copy(SAMPLES / sample, dropped / "invoice.txt")
        assert look() == 1
    first, second = (bodies.load(run.input)["file"] for run in Run.objects.order_by("pk"))
    assert (tmp_path / "kept" / first).read_text() == (SAMPLES / "02-northgate.txt").read_text()
    assert (tmp_path / "kept" / second).read_text() == (SAMPLES / "04-odenthal.txt").read_text()


def test_an_empty_file_is_refused_in_the_words_of_the_intake(dropped: Path) -> None:
    (dropped / "empty.txt").touch()
    assert look() == 0
    assert (dropped / "refused" / "empty.txt.why.txt").read_text() == (
        "No input can be made of this file: empty.txt is empty.\n"
    )
