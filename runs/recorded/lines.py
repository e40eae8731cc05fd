"""The lines of a file of recorded runs, packed or not, read one at a time. A bad line spoils no other. No database."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from runs.canonical import told
from runs.recorded.trace import BadTrace, Trace, read

LONGEST_LINE = 64_000_000  # bytes
_BOM = b"\xef\xbb\xbf"
_PACKED = b"\x1f\x8b"


class CannotRead(Exception):
    """The file cannot be read at all; the message is the sentence a person reads."""


class Lines(Protocol):
    """A file to read lines from, packed or not."""

    def readline(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line by its number, counted from 1: a recorded run, or a sentence that says why it is none."""

    number: int
    trace: Trace | None = None
    wrong: str = ""


def lines(path: Path) -> Iterator[Line]:
    """Every line that is not empty. Raises CannotRead when there is nothing to read from.

    What the file holds decides whether it is unpacked, not its name.
    """
    try:
        with path.open("rb") as file:
            head = file.peek(len(_BOM) + 1).removeprefix(_BOM)
            if head.startswith(_PACKED):
                with gzip.open(file, "rb") as unpacked:
                    yield from _lines(unpacked)
                return
            if path.suffix == ".gz" and head.lstrip()[:1] not in (b"", b"{"):
                raise CannotRead(f"{path} is named .gz and is not gzip.")
            yield from _lines(file)
    except OSError as why:
        raise CannotRead(f"Cannot read {path}: {why.strerror or told(why)}.") from why


def _lines(file: Lines) -> Iterator[Line]:
    number = 0
    while True:
        number += 1
        try:
            row = file.readline(LONGEST_LINE + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile) as why:
            yield Line(number=number, wrong=f"the file ends here, damaged: {told(why)}.")
            return
        if not row:
            return
        if len(row) > LONGEST_LINE and not row.endswith(b"\n"):
            _skip(file)
            yield Line(number=number, wrong=f"longer than {LONGEST_LINE:,} bytes.")
        elif row.removeprefix(_BOM).strip():
            yield _line(number, row.removeprefix(_BOM) if number == 1 else row)


def _skip(file: Lines) -> None:
    """To the end of the line."""
    while (row := file.readline(1_000_000)) and not row.endswith(b"\n"):
        continue


def _line(number: int, row: bytes) -> Line:
    try:
        return Line(number=number, trace=read(json.loads(row.decode("utf-8"))))
    except UnicodeDecodeError:
        return Line(number=number, wrong="not UTF-8 text.")
    except BadTrace as why:
        return Line(number=number, wrong=str(why))
    except (ValueError, RecursionError) as why:
        return Line(number=number, wrong=f"not JSON: {told(why)}.")
