"""Where a value was seen before: in which result, and whether it stood there alone in a field or inside prose.

A field that holds just the value is how tools hand ids and names to each other. Prose is where others can write what
they like. Reads texts as data only; whether a call may happen is decided elsewhere.
"""

from __future__ import annotations

import ast
import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from runs.guards import likeness
from runs.guards.disguised import undisguised

LONGEST = 200_000  # characters of one result
MOST = 2_000_000  # characters of all results of a run; the oldest go first
MOST_LEAVES = 5_000
MOST_PLACES = 50
AROUND = 320  # characters before and after a value that make its passage
TELLING = 8  # spaces; a shorter text holds no passage that insists
CUT = "…[cut]…"
BREAK = "¶"  # stands between paragraphs

_ENTRY = re.compile(r"^\s*((?:- +)*)(?:([\w .$@/-]{1,60}?|'[^']{1,60}'|\"[^\"]{1,60}\"):(?:\s+|$))?(.*)$")
_SHAPED = re.compile(r"^\s*(?:- |[\w .-]{1,40}:(?:\s|$))")
_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")
_LEFT_OUT = re.compile(r"\b(?:[a-z][a-z0-9+.-]{1,12}://(?:www\.)?|www\.)|\bmailto:")
_LEFT_OUT_HAS = ("://", "www.", "mailto:")
_QUOTED = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|(?<![\w])'((?:[^'\\]|\\.)*)'(?!\w)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One value of one result. `text` is what it says, `plain` what is compared. `foreign`: whoever gave the result
    says that others have written it, so it vouches for nothing, not even where it stands alone."""

    step: int
    source: str
    named: bool  # the person who set the goal had named what this result was asked for
    text: str
    plain: str
    foreign: bool = False
    echo: frozenset[str] = frozenset()  # what the result was asked for with; it has these from whoever asked
    tells: bool = False  # long enough to hold a passage that insists

    def at(self, value: str) -> Iterator[int]:
        """Every place of a value that stands free, not inside a longer word."""
        start = self.plain.find(value)
        while start >= 0:
            if stands_free(self.plain, start, start + len(value)):
                yield start
            start = self.plain.find(value, start + 1)

    def is_just(self, value: str) -> bool:
        return not self.foreign and self.plain.strip(f" .,;'\"<>(){BREAK}") == value

    def passage(self, start: int, length: int) -> str:
        return self.plain[max(0, start - AROUND) : start + length + AROUND]


@dataclass(slots=True, kw_only=True)
class Origins:
    """What a run has read so far. `cut` says that some of it cannot be seen here."""

    cut: bool = False
    _leaves: list[Leaf] = field(default_factory=list)
    _size: int = 0

    @property
    def values(self) -> int:
        return len(self._leaves)

    @property
    def characters(self) -> int:
        return self._size

    def copy(self) -> Origins:
        """Another that has read the same; values are shared, since they never change."""
        return replace(self, _leaves=list(self._leaves))

    def read(
        self,
        step: int,
        source: str,
        named: bool,
        text: str,
        echo: frozenset[str] = frozenset(),
        *,
        foreign: bool = False,
    ) -> None:
        """A result. `echo`: what it was asked for with; a tool that repeats a value has not vouched for it."""
        self.cut = self.cut or CUT in text or len(text) > LONGEST
        for value in parts(text[:LONGEST]):
            plain = comparable(value)
            if len(plain) > 1 and plain not in echo:
                self._leaves.append(
                    Leaf(
                        step=step,
                        source=source,
                        named=named,
                        text=value,
                        plain=plain,
                        foreign=foreign,
                        echo=echo,
                        tells=plain.count(" ") >= TELLING,
                    )
                )
                self._size += len(plain)
        while self._size > MOST:
            self._size -= len(self._leaves.pop(0).plain)
            self.cut = True

    def holding(self, value: str) -> list[tuple[Leaf, int]]:
        """Each leaf that holds the value, with each of its places in it, up to MOST_PLACES a leaf."""
        return [
            (leaf, place)
            for leaf in self._leaves
            if value in leaf.plain and value not in leaf.echo
            for place in islice(leaf.at(value), MOST_PLACES)
        ]

    def telling(self) -> Iterator[Leaf]:
        """The leaves in which somebody says something to somebody; the newest first."""
        return (leaf for leaf in reversed(self._leaves) if leaf.tells)


def comparable(text: str) -> str:
    """A text as it is compared: without case, needless spaces, and what may be left out of a web address; what is
    encoded or escaped written out."""
    text = undisguised(text[:LONGEST])
    marked = _PARAGRAPH.sub(f" {BREAK} ", text) if "\n" in text else text
    plain = likeness.plain(marked, LONGEST)
    return _LEFT_OUT.sub("", plain) if any(sign in plain for sign in _LEFT_OUT_HAS) else plain


def stands_free(text: str, start: int, end: int) -> bool:
    """Whether text[start:end] is not the middle of a longer word, address or number."""
    return not (start and _joins(text[start - 1], text[start])) and not (
        end < len(text) and _goes_on(text, end)
    )


def _joins(char: str, value: str) -> bool:
    return _alike(char, value) or char in "_-@."


def _goes_on(text: str, end: int) -> bool:
    if _alike(text[end], text[end - 1]) or text[end] in "_@-":
        return True
    return text[end] == "." and end + 1 < len(text) and _alike(text[end + 1], text[end - 1])


def _alike(char: str, value: str) -> bool:
    """Whether a sign goes on with a word. Scripts that write no spaces put a web address right into the sentence."""
    if char.isascii() or not value.isascii():
        return char.isalnum()
    return char.isalnum() and unicodedata.category(char) != "Lo"


def parts(text: str) -> list[str]:
    """The values of a result: JSON, a Python literal, indented entries, or else the whole text as one."""
    stripped = text.strip()
    if stripped[:1] in ("{", "["):
        whole = _structure(stripped)
        if whole is not None:
            return [str(value) for _, value in likeness.leaves(whole)[:MOST_LEAVES]] + names(whole)
        return [stripped, *(one or other for one, other in _QUOTED.findall(stripped)[:MOST_LEAVES])]
    if _SHAPED.match(stripped):
        return _entries(stripped)
    return [stripped]


def _structure(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None


def names(value: Any, depth: int = 0) -> list[str]:
    """Names of fields are values too: a directory may list people by name."""
    if depth > likeness.DEEPEST:
        return []
    if isinstance(value, dict):
        return [str(name) for name in value] + [n for one in value.values() for n in names(one, depth + 1)]
    if isinstance(value, (list, tuple)):
        return [name for one in value for name in names(one, depth + 1)]
    return []


def _entries(text: str) -> list[str]:
    """Entries in lines, as YAML writes them. A quoted value goes on until its quote ends, whatever its lines hold."""
    found: list[str] = []
    quote = ""
    for line in text.split("\n")[:MOST_LEAVES]:
        if quote:
            found[-1] += "\n" + line.strip()
            quote = "" if _closes(line, quote) else quote
            continue
        entry = _ENTRY.match(line)
        dash, name, value = entry.groups() if entry else ("", None, line)
        value = value.strip()
        if not dash and name is None:
            if value and found:
                found[-1] += " " + value  # a value that goes on in the next line
            elif value:
                found.append(value)
            continue
        if name:
            found.append(name.strip("'\""))
        found.append(value)
        if value[:1] in ("'", '"') and not _closes(value[1:], value[0]):
            quote = value[0]
    return [one.strip().strip("'\"") for one in found if one.strip()]


def _closes(text: str, quote: str) -> bool:
    """Whether a quoted value ends here. A doubled single quote, an escaped double one, is part of the value."""
    if quote == "'":
        return text.replace("''", "").rstrip().endswith("'")
    return re.sub(r"\\.", "", text).rstrip().endswith('"')
