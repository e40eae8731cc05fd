"""The workflow through the real engine: what a run does, asks and writes, on real PostgreSQL and a real ledger."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from opsconsole.shipped.invoice_intake import ledger
from opsconsole.shipped.invoice_intake.documents import SAMPLES
from runs import bodies, registry
from runs.canonical import canonical
from runs.checks import problems
from runs.engine import answers, edits, starts
from runs.engine.advance import advance
from runs.engine.worker.runtime import Runtime
from runs.models import Call, Question, Run

from .test_samples import TABLE

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_pauses(settings: Any) -> None:
    settings.SIMULATED_SECONDS = 0.0


def started(file: str, **given: Any) -> Run:
    with transaction.atomic():
        return starts.start("invoice_intake", {"file": file, **given}, start_key=file, by="test").run


def advanced(run: Run, runtime: Runtime) -> Run:
    for _ in range(10):
        if advance(run.pk, runtime).why != "later":
            break
    return Run.objects.get(pk=run.pk)


def question_of(run: Run) -> Question:
    return Question.objects.select_related("run", "step").get(run=run, state="open")


def answered(run: Run, verb: str, *, text: str = "", answer: Any = None) -> None:
    with transaction.atomic():
        question = answers.lock(question_of(run).pk)
        given = answer or (question.action if verb == "approve" else None)
        answers.answer(question, verb=verb, answer=given, text=text, by="Marta")


def shown(question: Question) -> str:
    """All that the card tells, wherever it stands on it."""
    return canonical([question.title, question.reason, question.action, question.evidence])


def output_of(run: Run) -> dict[str, Any]:
    assert run.output is not None
    output: dict[str, Any] = bodies.load(run.output)
    return output


def test_the_definition_has_no_problems() -> None:
    workflow = registry.newest("invoice_intake")
    assert workflow is not None
    assert list(problems(workflow)) == []
    assert workflow.simulated


def test_samples_of_every_kind_end_or_wait_where_the_table_says(runtime: Runtime) -> None:
    """Every wrong one, every one above the limit, and the first of the rest, which have their copies."""
    good = [file for file, (_, does) in sorted(TABLE.items()) if does == "posts it"]
    others = [file for file, (_, does) in TABLE.items() if does != "posts it"]
    for file in sorted([*good[:13], *others]):
        run = advanced(started(file), runtime)
        assert (file, _what(run)) == (file, TABLE[file][1].partition(":")[0])
    posted = [entry.invoice.invoice_number for entry in ledger.current().entries()]
    assert len(posted) == len(set(posted)) == 13


def _what(run: Run) -> str:
    if run.state == "done":
        return "posts it" if output_of(run)["posted"] else "does not post"
    question = question_of(run)
    if question.kind == "approval":
        return "asks"
    assert question.step is not None
    return f"stops at {question.step.node}"


def test_an_approved_posting_is_in_the_ledger_once_and_the_run_says_where(
    runtime: Runtime, book: ledger.Ledger
) -> None:
    run = advanced(started("01-norrland.xml"), runtime)
    question = question_of(run)
    assert question.title == "Post invoice NP-88120 and pay 18,420.00 EUR to Norrland Pappersbruk AB"
    assert question.reason == "18,420.00 EUR is above 10,000.00 EUR"
    assert book.entries() == ()
    answered(run, "approve")
    run = advanced(run, runtime)
    (entry,) = book.entries()
    assert output_of(run) == {"posted": True, "entry": entry.number, "reason": ""}
    assert entry.key == Call.objects.get(run=run, name="ledger.post_invoice", state="done").key


def test_a_rejected_posting_writes_nothing_and_the_run_receives_the_reason(
    runtime: Runtime, book: ledger.Ledger
) -> None:
    run = advanced(started("33-cascade.txt"), runtime)
    answered(run, "reject", text="This is not their account")
    run = advanced(run, runtime)
    assert output_of(run) == {"posted": False, "entry": None, "reason": "This is not their account"}
    assert book.entries() == ()


def test_the_account_a_person_corrects_is_the_one_that_is_paid(runtime: Runtime, book: ledger.Ledger) -> None:
    run = advanced(started("33-cascade.txt"), runtime)
    question = question_of(run)
    right = "GB73XXXX00000000131101"
    proposed = question.action["arguments"]
    assert proposed["iban"] != right
    answered(run, "approve", answer=edits.check(question, {**proposed, "iban": right}))
    run = advanced(run, runtime)
    assert output_of(run)["posted"]
    assert [entry.invoice.iban for entry in book.entries()] == [right]


def test_an_edit_outside_the_contract_is_refused(runtime: Runtime) -> None:
    question = question_of(advanced(started("01-norrland.xml"), runtime))
    with pytest.raises(edits.Broken, match="amount"):
        edits.check(question, {**question.action["arguments"], "amount": "18.420,00"})


def test_a_broken_extraction_that_a_person_mends_goes_on_and_is_posted(
    runtime: Runtime, book: ledger.Ledger
) -> None:
    run = advanced(started("29-halden.txt"), runtime)
    question = question_of(run)
    assert (question.kind, question.action["where"]) == ("contract", "gross")
    mended = {**question.action["value"], "gross": "1190.00"}
    answered(run, "approve", answer=edits.check(question, mended))
    run = advanced(run, runtime)
    assert output_of(run)["posted"]
    assert str(book.entries()[0].invoice.amount) == "1190.00"


def test_an_approved_second_posting_of_a_number_is_refused_by_the_ledger_and_asks_again(
    runtime: Runtime, book: ledger.Ledger
) -> None:
    advanced(started("03-halden.xml"), runtime)
    run = advanced(started("18-halden-again.xml"), runtime)
    answered(run, "approve")
    run = advanced(run, runtime)
    assert run.state == "waiting"
    question = question_of(run)
    assert question.kind == "error"
    assert "posted as entry 1" in shown(question)
    assert len(book.entries()) == 1


def test_own_files_are_read_from_the_inbox(runtime: Runtime, settings: Any, tmp_path: Path) -> None:
    settings.INVOICE_FOLDERS = {"inbox": tmp_path}
    (tmp_path / "mine.xml").write_bytes((SAMPLES / "invoices" / "03-halden.xml").read_bytes())
    run = advanced(started("mine.xml", folder="inbox", goal="Try my own"), runtime)
    assert output_of(run)["posted"]
    assert run.goal == "Try my own"


def test_a_run_outside_the_folders_asks_a_person_and_reads_nothing(runtime: Runtime) -> None:
    run = advanced(started("../suppliers.json"), runtime)
    question = question_of(run)
    assert question.kind == "error"
    assert "not the plain name of a file" in shown(question)


LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
ADVANCE = """
import sys
import django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = sys.argv[3]
django.setup()
settings.SIMULATED_SECONDS = 0.0
settings.INVOICE_LEDGER = sys.argv[2]
from runs.engine.advance import advance
from runs.engine.worker.runtime import Runtime
advance(int(sys.argv[1]), Runtime("doomed", "agents"))
"""


def test_a_worker_killed_after_the_write_does_not_make_a_second_entry(
    runtime: Runtime, book: ledger.Ledger
) -> None:
    """The entry is on disk, nobody recorded it: `find` tells the next worker that it happened."""
    run = started("02-northgate.txt")
    database = connection.settings_dict["NAME"]
    doomed = subprocess.run(
        [sys.executable, "-c", ADVANCE, str(run.pk), str(book.path), database],
        env={**os.environ, "FAILPOINT": "after_effect_before_record:kill"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        timeout=60,
    )
    assert doomed.returncode == -signal.SIGKILL, doomed.stderr.decode()
    (entry,) = book.entries()
    Run.objects.filter(pk=run.pk).update(lease_until=LONG_AGO, due_at=LONG_AGO)
    run = advanced(run, runtime)
    assert output_of(run) == {"posted": True, "entry": entry.number, "reason": ""}
    assert book.entries() == (entry,)
