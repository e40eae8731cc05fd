"""The ledger on a real file: once a key, never a number twice, whatever dies in between."""

import json
import resource
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from threading import Thread

import pytest

from opsconsole.shipped.invoice_intake import ledger, posting
from opsconsole.shipped.invoice_intake.contracts import PostInvoice
from opsconsole.shipped.invoice_intake.ledger import (
    AlreadyPosted,
    KeyReused,
    Ledger,
    LedgerBusy,
    LedgerDamaged,
    LedgerFull,
)
from runs.definitions import NotKnown
from runs.errors import DataError, ErrorClass, classify
from tests import patience

from .intake import OpenGate

WRITER = """
import sys
from pathlib import Path
import django
from django.conf import settings
settings.configure(DATA_DIR="unused")
django.setup()
from opsconsole.shipped.invoice_intake.contracts import PostInvoice
from opsconsole.shipped.invoice_intake.ledger import Ledger
book = Ledger(path=Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for n in range(40):
    invoice = PostInvoice.model_validate_json(sys.argv[2]).model_copy(update={"invoice_number": f"RE-{n}"})
    book.post(invoice, key=f"key-{n}", hand_over=lambda send: send(0.25), seconds=60)
"""


WRITTEN_BEFORE = (
    '{"number":1,"key":"run-10-step-5-1","posted_at":"2026-08-03T11:07:00.354109Z","invoice":{"invoice_number":'
    '"2026-4471","supplier_id":"S-1002","supplier_name":"Halden Maskinteknik GmbH","amount":"2450.69","currency":'
    '"EUR","iban":"DE21000000000000012201","purchase_order":"PO-7003","due_date":"2026-10-04","memo":"Maßprüfung"}}\n'
    '{"number":2,"key":"run-4-step-5-1","posted_at":"2026-08-04T09:00:00Z","invoice":{"invoice_number":"FA-2","supplier_id":'
    '"unlisted","supplier_name":"Vauquelin","amount":"0.80","currency":"EUR","iban":"FR7000000000000000000012330",'
    '"purchase_order":null,"due_date":null,"memo":""}}\n'
)


def invoice(number: str = "RE-1", **changes: object) -> PostInvoice:
    values: dict[str, object] = {
        "invoice_number": number,
        "supplier_id": "S-1008",
        "supplier_name": "Odenthal KG",
        "amount": "129.70",
        "currency": "EUR",
        "iban": "DE10000000000000018801",
    }
    return PostInvoice.model_validate(values | changes)


def test_eight_processes_append_each_key_once(book: Ledger) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(book.path), invoice().model_dump_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        for _ in range(8)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
    for writer in writers:
        writer.communicate(b"go\n", timeout=60)
    assert [writer.returncode for writer in writers] == [0] * 8
    entries = book.entries()
    assert sorted(entry.key for entry in entries) == sorted(f"key-{n}" for n in range(40))
    assert [entry.number for entry in entries] == list(range(1, 41))


def test_the_same_key_returns_the_first_entry_and_writes_nothing(book: Ledger) -> None:
    gate = OpenGate(key="k")
    first = book.post(invoice(), key="k", hand_over=gate.hand_over)
    size = book.path.stat().st_size
    assert book.post(invoice(), key="k", hand_over=gate.hand_over) == first
    assert book.path.stat().st_size == size
    assert gate.handed == 2, "the engine books a permit for each"


def test_the_same_key_for_another_posting_is_refused(book: Ledger) -> None:
    book.post(invoice(), key="k", hand_over=OpenGate(key="k").hand_over)
    with pytest.raises(KeyReused):
        book.post(invoice("RE-2"), key="k", hand_over=OpenGate(key="k").hand_over)
    assert len(book.entries()) == 1


def test_the_same_invoice_number_of_a_supplier_is_not_posted_twice(book: Ledger) -> None:
    book.post(invoice(), key="a", hand_over=OpenGate(key="a").hand_over)
    gate = OpenGate(key="b")
    with pytest.raises(AlreadyPosted, match="entry 1") as refused:
        book.post(invoice(amount="1.00"), key="b", hand_over=gate.hand_over)
    assert classify(refused.value) is ErrorClass.DATA
    assert gate.handed == 0
    book.post(invoice(supplier_id="S-1001"), key="c", hand_over=OpenGate(key="c").hand_over)
    assert [entry.key for entry in book.entries()] == ["a", "c"]


def test_unlisted_suppliers_are_told_apart_by_name(book: Ledger) -> None:
    book.post(invoice(supplier_id="unlisted"), key="a", hand_over=OpenGate(key="a").hand_over)
    other = invoice(supplier_id="unlisted", supplier_name="Another")
    book.post(other, key="b", hand_over=OpenGate(key="b").hand_over)
    with pytest.raises(AlreadyPosted):
        book.post(other, key="c", hand_over=OpenGate(key="c").hand_over)


def test_a_gate_that_refuses_leaves_no_trace(book: Ledger) -> None:
    def refuse(_send: object) -> None:
        raise DataError("stopped")

    with pytest.raises(DataError, match="stopped"):
        book.post(invoice(), key="k", hand_over=refuse)
    assert book.entries() == ()
    assert book.find("k") is None
    assert book.post(invoice(), key="k", hand_over=OpenGate(key="k").hand_over).number == 1


def test_a_look_answers_whether_it_happened(book: Ledger) -> None:
    assert posting.look(invoice(), "k") is None
    result = posting.post(invoice(), OpenGate(key="k"))
    assert posting.look(invoice(), "k") == result
    assert result["entry"] == 1


def test_a_look_that_sees_another_posting_or_a_damaged_line_is_not_sure(book: Ledger) -> None:
    posting.post(invoice(), OpenGate(key="k"))
    assert posting.look(invoice("RE-2"), "k") == NotKnown(
        seen="The key of entry 1 was used for another posting."
    )
    with book.path.open("a") as file:
        file.write("scribbled\n")
    seen = posting.look(invoice(), "k")
    assert isinstance(seen, NotKnown)
    assert "Line 2 of the ledger is not an entry" in seen.seen


def test_a_ledger_from_before_there_were_books_is_read_and_continued_in_its_own_form(book: Ledger) -> None:
    book.path.write_text(WRITTEN_BEFORE)
    first, second = book.entries()
    assert (first.number, first.key, first.invoice.amount) == (1, "run-10-step-5-1", Decimal("2450.69"))
    assert first.posted_at == datetime(2026, 8, 3, 11, 7, 0, 354109, tzinfo=UTC)
    assert (second.invoice.due_date, second.invoice.supplier_name) == (None, "Vauquelin")
    with pytest.raises(AlreadyPosted, match="was posted as entry 1 on 2026-08-03"):
        book.post(first.invoice, key="k", hand_over=OpenGate(key="k").hand_over)
    entry = book.post(invoice(), key="k", hand_over=OpenGate(key="k").hand_over)
    written = entry.posted_at.isoformat().replace("+00:00", "Z")
    assert book.path.read_text() == (
        f'{WRITTEN_BEFORE}{{"number":3,"key":"k","posted_at":"{written}","invoice":{invoice().model_dump_json()}}}\n'
    )
    assert book.find("k") == entry


def test_a_line_in_the_form_of_other_books_is_no_posting(book: Ledger) -> None:
    book.path.write_text(WRITTEN_BEFORE.replace("posted_at", "written_at").replace('"invoice"', '"content"'))
    with pytest.raises(LedgerDamaged, match="Line 1"):
        book.entries()


def test_the_ledger_refuses_in_its_own_words(book: Ledger) -> None:
    book.post(invoice(), key="k", hand_over=OpenGate(key="k").hand_over)
    with pytest.raises(KeyReused) as reused:
        book.post(invoice("RE-2"), key="k", hand_over=OpenGate(key="k").hand_over)
    with pytest.raises(AlreadyPosted) as second:
        book.post(invoice(), key="b", hand_over=OpenGate(key="b").hand_over)
    day = f"{book.entries()[0].posted_at:%Y-%m-%d}"
    book.path.write_bytes(book.path.read_bytes() + b"{}\n")
    with pytest.raises(LedgerDamaged) as damaged:
        book.entries()
    assert [reused.value.message, second.value.message, damaged.value.message] == [
        "The key of entry 1 was used for another posting.",
        f"Invoice RE-1 of Odenthal KG was posted as entry 1 on {day}; it is not posted twice.",
        "Line 2 of the ledger is not an entry; nothing is posted until it is.",
    ]


def test_a_torn_last_line_did_not_happen_and_is_overwritten(book: Ledger) -> None:
    book.post(invoice(), key="a", hand_over=OpenGate(key="a").hand_over)
    whole = book.path.read_bytes()
    book.path.write_bytes(whole + whole[: len(whole) // 2])
    assert [entry.key for entry in book.entries()] == ["a"]
    book.post(invoice("RE-2"), key="b", hand_over=OpenGate(key="b").hand_over)
    lines = book.path.read_text().splitlines()
    assert [json.loads(line)["number"] for line in lines] == [1, 2]
    assert book.path.read_bytes().startswith(whole)


def test_a_torn_last_line_survives_a_gate_that_refuses_the_next_posting(book: Ledger) -> None:
    """What is refused touches nothing, not even what a dead writer left."""
    book.path.write_bytes(b'{"number": 1')

    def refuse(_send: object) -> None:
        raise DataError("stopped")

    with pytest.raises(DataError, match="stopped"):
        book.post(invoice(), key="k", hand_over=refuse)
    assert book.path.read_bytes() == b'{"number": 1'


def test_a_line_that_is_no_entry_stops_all_posting(book: Ledger) -> None:
    book.path.write_text('{"number": 1}\n')
    with pytest.raises(LedgerDamaged, match="Line 1") as damaged:
        book.post(invoice(), key="k", hand_over=OpenGate(key="k").hand_over)
    assert classify(damaged.value) is ErrorClass.UNFORESEEN


def test_a_locked_ledger_is_recoverable_and_soon_said(book: Ledger) -> None:
    inside: list[Exception] = []

    def second_writer() -> None:
        try:
            book.post(invoice("RE-2"), key="b", hand_over=OpenGate(key="b").hand_over, seconds=0.05)
        except LedgerBusy as busy:
            inside.append(busy)

    def slow(send: ledger.Send) -> None:
        other = Thread(target=second_writer)
        other.start()
        patience.joined(other)
        send(0.25)

    book.post(invoice(), key="a", hand_over=slow)
    assert [classify(error) for error in inside] == [ErrorClass.RECOVERABLE]
    assert [str(error) for error in inside] == ["The ledger was locked by others for 0.1 s."]
    assert [entry.key for entry in book.entries()] == ["a"]


@pytest.mark.parametrize(
    ("room", "says"),
    [(0, "The ledger could not be written: File too large."), (20, "The ledger's disk is full.")],
)
def test_a_disk_that_is_full_leaves_no_part_of_an_entry(book: Ledger, room: int, says: str) -> None:
    book.post(invoice(), key="a", hand_over=OpenGate(key="a").hand_over)
    before = book.path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, hard))
    try:
        with pytest.raises(LedgerFull) as full:
            book.post(invoice("RE-2"), key="b", hand_over=OpenGate(key="b").hand_over)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert full.value.message == says
    assert classify(full.value) is ErrorClass.DATA, "certain, so the engine does not call it unknown"
    assert book.path.read_bytes() == before


def test_only_the_owner_may_read_the_ledger(book: Ledger) -> None:
    book.post(invoice(), key="a", hand_over=OpenGate(key="a").hand_over)
    assert book.path.stat().st_mode & 0o777 == 0o600
