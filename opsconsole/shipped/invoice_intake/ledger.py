"""The ledger: the book of postings, see `shipped.book`, whose lines and sentences say what the ledger's always said.

Decides one thing about an invoice: the same supplier's invoice number is not posted twice. Locks and writes nothing
itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.conf import settings
from pydantic import AwareDatetime, Field

from opsconsole.shipped import book
from opsconsole.shipped.invoice_intake.contracts import UNLISTED, PostInvoice
from runs.definitions import NotKnown
from runs.errors import DataError

Send = book.Send
HandOver = book.HandOver
KeyReused = book.KeyReused
LedgerBusy = book.BookBusy
LedgerDamaged = book.BookDamaged
LedgerFull = book.BookFull

_Known = book.Entry[PostInvoice]

_SENTENCES = book.Sentences(
    damaged="Line {row} of the ledger is not an entry; nothing is posted until it is.",
    reused="The key of entry {number} was used for another posting.",
    full="The ledger's disk is full.",
)


class AlreadyPosted(DataError):
    """This supplier's invoice number is in the ledger under another entry; it is not posted twice."""


class _Line(book.Line):
    """Ledgers are older than books: their files name these two fields so."""

    written_at: AwareDatetime = Field(alias="posted_at")
    content: dict[str, object] = Field(alias="invoice")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One posting. `key` is the idempotency key it was asked for with; `number` counts from 1."""

    number: int
    key: str
    posted_at: datetime
    invoice: PostInvoice


def current() -> "Ledger":
    """The ledger of this console: setting INVOICE_LEDGER, else `ledger.jsonl` in the data folder."""
    configured = getattr(settings, "INVOICE_LEDGER", None)
    return Ledger(path=Path(configured or Path(settings.DATA_DIR) / "ledger.jsonl"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    path: Path

    def entries(self, *, seconds: float = 10.0) -> tuple[Entry, ...]:
        """All complete entries, oldest first. Raises LedgerBusy, LedgerDamaged."""
        return tuple(map(_posting, self._book().entries(seconds=seconds)))

    def find(self, key: str) -> Entry | None:
        """The entry posted with this key, or None when that posting did not happen."""
        found = self._book().find(key)
        return _posting(found) if found else None

    def looked(self, invoice: PostInvoice, key: str) -> Entry | NotKnown | None:
        """Whether this posting happened with this key, as far as the ledger can say. Raises LedgerBusy."""
        return book.looked(self._book(), invoice, key, _posting)

    def post(
        self,
        invoice: PostInvoice,
        *,
        key: str,
        hand_over: HandOver,
        refuse: Callable[[Sequence[Entry]], None] = lambda known: None,
        seconds: float = 10.0,
    ) -> Entry:
        """Append `invoice` once. A key that is present returns its entry; nothing is written a second time.

        `hand_over` is given the one write and calls it when the write is permitted; whatever it raises passes
        through and nothing was written; `refuse(entries)` raises when the invoice may not stand beside them. Raises
        AlreadyPosted, KeyReused, LedgerBusy, LedgerDamaged,
        LedgerFull.
        """

        def may_not(known: Sequence[_Known]) -> None:
            _refuse_second(known, invoice)
            refuse(tuple(map(_posting, known)))

        written = self._book().append(invoice, key=key, hand_over=hand_over, refuse=may_not, seconds=seconds)
        return _posting(written)

    def _book(self) -> book.Book[PostInvoice]:
        return book.Book(
            path=self.path, contract=PostInvoice, name="The ledger", line=_Line, sentences=_SENTENCES
        )


def _posting(entry: _Known) -> Entry:
    return Entry(number=entry.number, key=entry.key, posted_at=entry.written_at, invoice=entry.content)


def _refuse_second(known: Sequence[_Known], invoice: PostInvoice) -> None:
    for entry in known:
        if _identity(entry.content) == _identity(invoice):
            raise AlreadyPosted(
                f"Invoice {invoice.invoice_number} of {invoice.supplier_name} was posted as entry "
                f"{entry.number} on {entry.written_at:%Y-%m-%d}; it is not posted twice."
            )


def _identity(invoice: PostInvoice) -> tuple[str, str, str]:
    """Several suppliers may be unlisted: those are told apart by name."""
    name = invoice.supplier_name if invoice.supplier_id == UNLISTED else ""
    return invoice.supplier_id, name, invoice.invoice_number
