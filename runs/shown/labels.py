"""What the lines of a drawing say: cut into rows of text, and moved until none stands on another. Pure."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

LETTER = 6.2  # width of a letter at 11 px, generously
LEADING = 12
NARROW, WIDE = 14, 23  # letters in a row between two columns, and where there is a box's width
_MOST_ROWS = 4  # as many as stand beside a box without leaving its row
_SHORT = 2 * NARROW  # what fits into two narrow rows; longer words get wider ones

Label = tuple["Written", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One row of a label: the middle of its text, and the text, cut if it is too long."""

    x: int
    y: int
    text: str

    @property
    def left(self) -> float:
        return self.x - len(self.text) * LETTER / 2

    @property
    def right(self) -> float:
        return self.x + len(self.text) * LETTER / 2


def in_gap(text: str) -> list[str]:
    """The rows of a text that stands between two columns."""
    return _wrapped(text, NARROW if len(text) <= _SHORT else NARROW + 4, _MOST_ROWS)


def in_passing(text: str) -> list[str]:
    """The rows of a text that stands where a line passes a column."""
    return _wrapped(text, WIDE, _MOST_ROWS)


def in_one(text: str, letters: int) -> list[str]:
    """A text in one row of so many letters, for along a line."""
    return _wrapped(text, letters, 1)


def width_of(rows: Sequence[str]) -> int:
    return math.ceil(max((len(row) for row in rows), default=0) * LETTER)


def beside(rows: Sequence[str], x: int, line: int) -> Label:
    """Rows above the line at height `line`; of more than two the later ones below it."""
    above = len(rows) if len(rows) <= 2 else (len(rows) + 1) // 2
    top = line - 5 - LEADING * (above - 1)
    return tuple(
        Written(x=x, y=top + LEADING * place + (6 if place >= above else 0), text=text)
        for place, text in enumerate(rows)
    )


def apart(labels: Sequence[Label], *, height: int) -> list[Label]:
    """Every label where no other stands, moved up or down inside a drawing of that height."""
    taken: list[Written] = []
    found = []
    for label in labels:
        moved = next((one for one in _moves(label, height) if not _clashes(one, taken)), label)
        taken += moved
        found.append(moved)
    return found


def _moves(label: Label, height: int) -> list[Label]:
    shifts = (0, 22, -22, 44, -44, 66, -66)
    moved = [tuple(replace(one, y=one.y + shift) for one in label) for shift in shifts]
    return [one for one in moved if all(10 <= row.y <= height - 2 for row in one)]


def _clashes(label: Label, taken: Sequence[Written]) -> bool:
    return any(
        abs(one.y - other.y) < LEADING - 1 and one.left < other.right and other.left < one.right
        for one in label
        for other in taken
    )


def _wrapped(text: str, letters: int, rows: int) -> list[str]:
    """At most so many rows; what does not fit ends with an ellipsis."""
    return textwrap.wrap(text, letters, max_lines=rows, placeholder="…", break_on_hyphens=False)
