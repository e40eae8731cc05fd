"""Text from outside made fit to look at: hidden characters get names, long text is cut. Pure; makes no markup.

Whoever renders the pieces escapes them. What counts as hidden: everything that shows nothing, reorders its
neighbours or moves the cursor (controls, bidi, zero width, tags, variation selectors, fillers), and marks
stacked so high that they cover other lines.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

LIMIT = 600  # characters shown before "show all"
_STACKED = 3  # combining marks one letter may carry; real languages need no more

_NAMES = {
    0x00AD: "SHY",
    0x034F: "CGJ",
    0x061C: "ALM",
    0x115F: "HFILL",
    0x1160: "HFILL",
    0x17B4: "KIV",
    0x17B5: "KIV",
    0x180E: "MVS",
    0x200B: "ZWSP",
    0x200C: "ZWNJ",
    0x200D: "ZWJ",
    0x200E: "LRM",
    0x200F: "RLM",
    0x2028: "LSEP",
    0x2029: "PSEP",
    0x202A: "LRE",
    0x202B: "RLE",
    0x202C: "PDF",
    0x202D: "LRO",
    0x202E: "RLO",
    0x2060: "WJ",
    0x2061: "FAPP",
    0x2062: "ITIMES",
    0x2063: "ISEP",
    0x2064: "IPLUS",
    0x2066: "LRI",
    0x2067: "RLI",
    0x2068: "FSI",
    0x2069: "PDI",
    0x2800: "BLANK",
    0x3164: "HFILL",
    0xFEFF: "BOM",
    0xFFA0: "HFILL",
}
# fmt: off
_CONTROLS = (
    "NUL", "SOH", "STX", "ETX", "EOT", "ENQ", "ACK", "BEL", "BS", "TAB", "LF", "VT", "FF", "CR", "SO", "SI",
    "DLE", "DC1", "DC2", "DC3", "DC4", "NAK", "SYN", "ETB", "CAN", "EM", "SUB", "ESC", "FS", "GS", "RS", "US",
)
# fmt: on
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs"})
# Long texts are looked at as a whole first: nearly all of them hide nothing.
PLAIN = re.compile("[\t\n\x20-\x7e\xa0-\xac\xae-\u024f\u2010-\u2027\u2030-\u205e\u20a0-\u20bf]+")
_PLAIN_SPACES = frozenset(" \u00a0\u202f\t\n")  # the two no-break ones stand in French figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of text as it is, or (with a `name`) of `count` hidden characters."""

    text: str
    name: str = ""
    count: int = 0
    title: str = ""

    @property
    def label(self) -> str:
        return f"{self.name}×{self.count}" if self.count > 1 else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A text in pieces. `total` counts all its characters, `hidden` those among the pieces that got names."""

    pieces: tuple[Piece, ...]
    total: int
    hidden: int
    cut: bool


def shown(text: str, limit: int | None = LIMIT) -> Shown:
    """The first `limit` characters in pieces; None shows all."""
    cut = limit is not None and len(text) > limit
    pieces = tuple(_pieces(text[:limit] if cut else text))
    hidden = sum(piece.count for piece in pieces)
    return Shown(pieces=pieces, total=len(text), hidden=hidden, cut=cut)


def hidden_names(text: str) -> list[str]:
    """The labels of the hidden characters in a text, in order; empty for a clean one."""
    return [piece.label for piece in _pieces(text) if piece.name]


def name_of(char: str) -> str:
    """The short name of a hidden character; empty for one that can be seen."""
    point = ord(char)
    if char in _PLAIN_SPACES:
        return ""
    if point in _NAMES:
        return _NAMES[point]
    if point < 0x20:
        return _CONTROLS[point]
    if point == 0x7F:
        return "DEL"
    if 0xE0000 <= point <= 0xE007F:
        return "TAG"
    if 0xFE00 <= point <= 0xFE0F or 0xE0100 <= point <= 0xE01EF or 0x180B <= point <= 0x180D:
        return "VS"
    return _by_category(char, point)


def _by_category(char: str, point: int) -> str:
    category = unicodedata.category(char)
    if category in _HIDDEN_CATEGORIES:
        return f"U+{point:04X}"
    return "SPACE" if category == "Zs" else ""


def _named(text: str) -> Iterator[tuple[str, str]]:
    """Every character with its name. A mark beyond the third on one letter is named MARK."""
    stacked = 0
    previous = ""
    for char in text:
        stacked = stacked + 1 if unicodedata.combining(char) else 0
        name = "MARK" if stacked > _STACKED else name_of(char)
        if char == "\ufe0f" and previous and unicodedata.category(previous) == "So":
            name = ""  # asks for the coloured form of a sign; shown as that
        yield char, name
        previous = char


def _pieces(text: str) -> Iterator[Piece]:
    if PLAIN.fullmatch(text):
        yield Piece(text=text)
        return
    for name, group in groupby(_named(text), key=lambda pair: pair[1]):
        chars = [char for char, _ in group]
        if not name:
            yield Piece(text="".join(chars))
            continue
        yield Piece(text="".join(chars), name=name, count=len(chars), title=_title(chars))


def _title(chars: list[str]) -> str:
    first = f"U+{ord(chars[0]):04X} {unicodedata.name(chars[0], 'unnamed').lower()}"
    if len(chars) == 1:
        return first
    return f"{len(chars)} characters: {first} to U+{ord(chars[-1]):04X}"
