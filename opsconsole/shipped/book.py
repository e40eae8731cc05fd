"""A book: an append-only file, one JSON entry a line, written by many processes at once. Knows no workflow.

An entry that was acknowledged is never changed. Every append reads the whole file: made for tens of thousands of
entries. What may not be entered beside what is known is the owner's rule, given to `append`.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from runs.definitions import NotKnown
from runs.errors import DataError, RecoverableError, StepError

C = TypeVar("C", bound=BaseModel)
T = TypeVar("T")
Send = Callable[[float], None]
HandOver = Callable[[Send], None]

_POLL_SECONDS = 0.005


class KeyReused(DataError):
    """An entry with this key exists and says something else; the key belongs to another one."""


class BookBusy(RecoverableError):
    """The book is locked by others for longer than there is time."""


class BookFull(DataError):
    """The disk takes nothing. A data error, because it is certain that nothing was written."""


class BookDamaged(StepError):
    """A complete line of the book is no entry: somebody else has written to the file."""


class Line(BaseModel):
    """One line of the file. A book whose file has other names for the fields gives a subclass with aliases."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    key: str
    written_at: AwareDatetime
    content: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentences:
    """What a book says, where a book may say it in its own words. `{file}` is the name of its file."""

    damaged: str = "Line {row} of {file} is not an entry; nothing is entered until it is."
    reused: str = "The key of entry {number} of {file} was used for another one."
    full: str = "The disk of {file} is full."


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(Generic[C]):
    """One entry. `key` is the idempotency key it was asked for with; `number` counts from 1."""

    number: int
    key: str
    written_at: datetime
    content: C


@dataclass(frozen=True, slots=True, kw_only=True)
class Book(Generic[C]):
    """The entries of one file. `name` stands in sentences ("the refunds' book")."""

    path: Path
    contract: type[C]
    name: str
    line: type[Line] = Line
    sentences: Sentences = Sentences()

    def entries(self, *, seconds: float = 10.0) -> tuple[Entry[C], ...]:
        """All complete entries, oldest first. Raises BookBusy, BookDamaged."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return ()
        with self._locked(descriptor, fcntl.LOCK_SH, seconds):
            return self._parsed(_complete(_all(descriptor)))

    def find(self, key: str) -> Entry[C] | None:
        """The entry written with this key, or None when that did not happen."""
        return next((entry for entry in self.entries() if entry.key == key), None)

    def append(
        self,
        content: C,
        *,
        key: str,
        hand_over: HandOver,
        refuse: Callable[[Sequence[Entry[C]]], None],
        seconds: float = 10.0,
    ) -> Entry[C]:
        """Append `content` once. A key that is present returns its entry; nothing is written a second time.

        `refuse(known)` raises when the content may not stand beside what is known. `hand_over` is given the one write
        and calls it when the write is permitted; whatever it raises passes through and nothing was written.
        Raises KeyReused, BookBusy, BookDamaged, BookFull.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        created = not self.path.exists()
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with self._locked(descriptor, fcntl.LOCK_EX, seconds):
            complete = _complete(_all(descriptor))
            known = self._parsed(complete)
            if entry := self._with_key(known, key, content):
                hand_over(_nothing)  # the engine books a permit for every effect that counts as done
                return entry
            refuse(known)
            entry = Entry(number=len(known) + 1, key=key, written_at=datetime.now(UTC), content=content)
            hand_over(lambda _seconds: self._write(descriptor, entry, len(complete)))
            os.fsync(descriptor)
        if created:
            _sync_folder(self.path.parent)
        return entry

    @contextmanager
    def _locked(self, descriptor: int, kind: int, seconds: float) -> Iterator[None]:
        """Hold the file's lock, which a dying process gives back by itself; closes the descriptor at the end."""
        deadline = time.monotonic() + seconds
        try:
            while not _try_lock(descriptor, kind):
                if time.monotonic() >= deadline:
                    raise BookBusy(f"{self.name} was locked by others for {seconds:.1f} s.")
                time.sleep(_POLL_SECONDS)
            yield
        finally:
            os.close(descriptor)

    def _parsed(self, content: bytes) -> tuple[Entry[C], ...]:
        return tuple(self._entry(row, line) for row, line in enumerate(content.splitlines(), start=1))

    def _entry(self, row: int, line: bytes) -> Entry[C]:
        try:
            read = self.line.model_validate_json(line)
            content = self.contract.model_validate(read.content)
        except ValidationError:
            raise BookDamaged(self.sentences.damaged.format(row=row, file=self.path.name)) from None
        return Entry(number=read.number, key=read.key, written_at=read.written_at, content=content)

    def _with_key(self, known: Sequence[Entry[C]], key: str, content: C) -> Entry[C] | None:
        entry = next((entry for entry in known if entry.key == key), None)
        if entry and entry.content != content:
            raise KeyReused(self.sentences.reused.format(number=entry.number, file=self.path.name))
        return entry

    def _write(self, descriptor: int, entry: Entry[C], size: int) -> None:
        """Write the entry behind the first `size` bytes, the complete lines.

        What follows them is the torn tail of a writer that died in its write: never acknowledged, it did not happen.
        """
        encoded = self._line(entry).model_dump_json(by_alias=True).encode() + b"\n"
        os.ftruncate(descriptor, size)
        try:
            written = os.write(descriptor, encoded)
        except OSError as error:
            os.ftruncate(descriptor, size)
            raise BookFull(f"{self.name} could not be written: {error.strerror}.") from error
        if written < len(encoded):
            os.ftruncate(descriptor, size)
            raise BookFull(self.sentences.full.format(file=self.path.name))

    def _line(self, entry: Entry[C]) -> Line:
        fields = {
            "number": entry.number,
            "key": entry.key,
            "written_at": entry.written_at,
            "content": entry.content.model_dump(mode="json"),
        }
        return self.line.model_validate(fields, by_alias=False, by_name=True)


def looked(book: Book[C], content: C, key: str, told: Callable[[Entry[C]], T]) -> T | NotKnown | None:
    """What a book says of one entry, as a tool's `look` does: what `told` makes of it, None when it is not there, and
    NotKnown when the book cannot say. Raises BookBusy: then it can say later."""
    try:
        entry = book.find(key)
    except BookDamaged as damaged:
        return NotKnown(seen=str(damaged))
    if entry is None:
        return None
    if entry.content != content:
        return NotKnown(seen=book.sentences.reused.format(number=entry.number, file=book.path.name))
    return told(entry)


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


def _nothing(_seconds: float) -> None:
    """The write of an entry that is written already."""


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
