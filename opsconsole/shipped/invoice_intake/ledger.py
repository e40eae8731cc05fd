"""The ledger: an append-only file, one JSON entry a line, written by many processes at once.

An entry that was acknowledged is never changed. Decides one thing about an invoice: the same supplier's
invoice number is not posted twice. Every posting reads the whole file: made for tens of thousands of entries.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from opsconsole.shipped.invoice_intake.contracts import UNLISTED, PostInvoice
from runs.errors import DataError, RecoverableError, StepError

Send = Callable[[float], None]
HandOver = Callable[[Send], None]

_POLL_SECONDS = 0.005


class AlreadyPosted(DataError):
    """This supplier's invoice number is in the ledger under another entry; it is not posted twice."""


class KeyReused(DataError):
    """An entry with this key exists and says something else; the key belongs to another posting."""


class LedgerBusy(RecoverableError):
    """The ledger is locked by others for longer than there is time."""


class LedgerFull(DataError):
    """The disk takes nothing. A data error, because it is certain that nothing was written."""


class LedgerDamaged(StepError):
    """A complete line of the ledger is no entry: somebody else has written to the file."""


class Entry(BaseModel):
    """One posting. `key` is the idempotency key it was asked for with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    key: str
    posted_at: AwareDatetime
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
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return ()
        with _locked(descriptor, fcntl.LOCK_SH, seconds):
            return _parsed(_complete(_all(descriptor)))

    def find(self, key: str) -> Entry | None:
        """The entry posted with this key, or None when that posting did not happen."""
        return next((entry for entry in self.entries() if entry.key == key), None)

    def post(self, invoice: PostInvoice, *, key: str, hand_over: HandOver, seconds: float = 10.0) -> Entry:
        """Append `invoice` once. A key that is present returns its entry; nothing is written a second time.

        `hand_over` is given the one write and calls it when the write is permitted; whatever it raises passes
        through and nothing was written. Raises AlreadyPosted, KeyReused, LedgerBusy, LedgerDamaged,
        LedgerFull.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        created = not self.path.exists()
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with _locked(descriptor, fcntl.LOCK_EX, seconds):
            complete = _complete(_all(descriptor))
            known = _parsed(complete)
            if entry := _with_key(known, key, invoice):
                hand_over(_nothing)  # the engine books a permit for every effect that counts as done
                return entry
            _refuse_second(known, invoice)
            entry = Entry(number=len(known) + 1, key=key, posted_at=datetime.now(UTC), invoice=invoice)
            hand_over(lambda _seconds: _append(descriptor, entry, len(complete)))
            os.fsync(descriptor)
        if created:
            _sync_folder(self.path.parent)
        return entry


@contextmanager
def _locked(descriptor: int, kind: int, seconds: float) -> Iterator[None]:
    """Hold the file's lock, which a dying process gives back by itself; closes the descriptor at the end."""
    deadline = time.monotonic() + seconds
    try:
        while not _try_lock(descriptor, kind):
            if time.monotonic() >= deadline:
                raise LedgerBusy(f"The ledger was locked by others for {seconds:.1f} s.")
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _all(descriptor: int) -> bytes:
    with open(descriptor, "rb", closefd=False) as reader:
        reader.seek(0)
        return reader.read()


def _complete(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]


def _parsed(content: bytes) -> tuple[Entry, ...]:
    return tuple(_entry(row, line) for row, line in enumerate(content.splitlines(), start=1))


def _entry(row: int, line: bytes) -> Entry:
    try:
        return Entry.model_validate_json(line)
    except ValidationError:
        raise LedgerDamaged(
            f"Line {row} of the ledger is not an entry; nothing is posted until it is."
        ) from None


def _with_key(known: Sequence[Entry], key: str, invoice: PostInvoice) -> Entry | None:
    entry = next((entry for entry in known if entry.key == key), None)
    if entry and entry.invoice != invoice:
        raise KeyReused(f"The key of entry {entry.number} was used for another posting.")
    return entry


def _refuse_second(known: Sequence[Entry], invoice: PostInvoice) -> None:
    for entry in known:
        if _same(entry.invoice, invoice):
            raise AlreadyPosted(
                f"Invoice {invoice.invoice_number} of {invoice.supplier_name} was posted as entry "
                f"{entry.number} on {entry.posted_at:%Y-%m-%d}; it is not posted twice."
            )


def _same(one: PostInvoice, other: PostInvoice) -> bool:
    return _identity(one) == _identity(other)


def _identity(invoice: PostInvoice) -> tuple[str, str, str]:
    """Several suppliers may be unlisted: those are told apart by name."""
    name = invoice.supplier_name if invoice.supplier_id == UNLISTED else ""
    return invoice.supplier_id, name, invoice.invoice_number


def _nothing(_seconds: float) -> None:
    """The write of an entry that is written already."""


def _append(descriptor: int, entry: Entry, size: int) -> None:
    """Write the entry behind the first `size` bytes, the complete lines.

    What follows them is the torn tail of a writer that died in its write: never acknowledged, it did not happen.
    """
    line = entry.model_dump_json().encode() + b"\n"
    os.ftruncate(descriptor, size)
    try:
        written = os.write(descriptor, line)
    except OSError as error:
        os.ftruncate(descriptor, size)
        raise LedgerFull(f"The ledger could not be written: {error.strerror}.") from error
    if written < len(line):
        os.ftruncate(descriptor, size)
        raise LedgerFull("The ledger's disk is full.")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
