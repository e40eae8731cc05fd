"""Whether what a claim says stands in the evidence it names. Pure: no database, no clock; decides nothing.

A quotation occurs when its words stand in its source in this order and nothing between them. Evened out is only what
nobody means: white space, composed and decomposed letters, typographic quotation marks and dashes, upper and lower
case, signs without a width. It must stand free: “1” is not in “1,000”, “art” not in “part”.

What agents say is never evidence. That is why agreement proves nothing: another agent is no source, and what an agent
itself has put into a call is not vouched for by the tool's repeating it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import cached_property
from itertools import islice
from typing import Any

from runs.canonical import canonical
from runs.claims import Claim
from runs.guards.likeness import leaves

LEAST_SIGNS = 3  # letters and digits of a quotation; fewer are found by chance
WORDS_OF_A_STATEMENT = 4  # from so many on, what an agent has said is cut out of whatever repeats it
MOST_PLACES = 50  # at which one quotation is looked for in one text
ROUND = 600  # characters of a passage on each side of its quotation

_BREAK = "\x00"  # stands between the parts of a source; no text holds it
_SPACE = re.compile(r"\s+")
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("“”„‟«»″", '"'),
        **dict.fromkeys("‘’‚‛′", "'"),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        "…": "...",
    }
)
_FIGURE = re.compile(r"[^\W_]*\d[^\W_]*(?:[.,'][0-9]+)*")
_NUMBER = re.compile(r"([0-9]+(?:[.,'][0-9]+)*)[a-z%]{0,3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """One thing that a claim's evidence does not show. `source` and `quote` are empty where it is not about one."""

    source: str = ""
    quote: str = ""
    why: str


@dataclass(frozen=True, kw_only=True)
class Source:
    """One thing that may be quoted: an input, or the result of a call. `said` is what agents had put into this call and
    those before it; `parts` are its values, the whole first."""

    name: str
    parts: tuple[str, ...]
    said: Sequence[str] = ()

    @cached_property
    def text(self) -> str:
        return _BREAK.join(map(plain, self.parts))

    def passage(self, quote: str) -> str:
        """The part that holds a quotation, cut round it; empty when none does. The smallest part counts."""
        wanted = plain(quote)
        holding = [part for part in self.parts if _occurs(wanted, plain(part))]
        if not holding:
            return ""
        part = min(holding, key=len)
        at = max(0, part.casefold().find(quote[:40].casefold()))
        return part[max(0, at - ROUND) : at + len(quote) + ROUND]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that may be quoted. `given` is what came from outside before any agent spoke: a value that stands
    there is not an agent's invention."""

    sources: tuple[Source, ...] = ()
    given: tuple[str, ...] = field(default=())

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.name for one in self.sources))

    def named(self, name: str) -> tuple[Source, ...]:
        return tuple(one for one in self.sources if _name(one.name) == _name(name))


def source(name: str, value: Any, said: Sequence[str] = ()) -> Source:
    """A JSON value as a source: as an agent was shown it, and every value in it by itself."""
    parts = [canonical(value), *(str(leaf) for _, leaf in leaves(value) if leaf is not None)]
    return Source(name=name, parts=tuple(parts), said=said)


def said_in(value: Any) -> Iterator[str]:
    """Every text and number that an agent has put into a call, as it is compared."""
    return (text for _, leaf in leaves(value) if leaf is not None and (text := plain(str(leaf))))


def lacking(claim: Claim, evidence: Evidence) -> tuple[Lack, ...]:
    """What the evidence of a claim does not show; nothing for one that is grounded.

    Every quotation must occur in the source it names, and every figure of the claim in one of its quotations.
    """
    if not claim.quotes:
        return (Lack(why="It names no evidence."),)
    wrong = [_wrong(quote.source, quote.text, evidence) for quote in claim.quotes]
    found = [lack for lack in wrong if lack is not None]
    found += [
        Lack(why=f"“{figure}” stands in none of its quotations.")
        for figure in strange_figures(_told(claim), [quote.text for quote in claim.quotes])
    ]
    return tuple(found)


def _wrong(name: str, quote: str, evidence: Evidence) -> Lack | None:
    named = evidence.named(name)
    if not named:
        there = ", ".join(f"“{one}”" for one in evidence.names) or "none"
        why = f"There is no such source; what an agent says is none. There are: {there}."
        return Lack(source=name, quote=quote, why=why)
    wanted = plain(quote)
    if sum(char.isalnum() for char in wanted) < LEAST_SIGNS:
        return Lack(source=name, quote=quote, why="So short a quotation is found by chance.")
    holding = [one for one in named if _occurs(wanted, one.text)]
    if not holding:
        return Lack(source=name, quote=quote, why="It does not stand there.")
    if not any(_vouches(one, wanted, evidence.given) for one in holding):
        return Lack(
            source=name, quote=quote, why="It stands there only because an agent had written it there."
        )
    return None


def _vouches(one: Source, wanted: str, given: Collection[str]) -> bool:
    """Whether a source that holds a quotation says it by itself and not after an agent."""
    if any(_occurs(wanted, text) for text in given):
        return True
    text = one.text
    for said in one.said:
        if wanted in said:
            return False
        if said in text and said.count(" ") + 1 >= WORDS_OF_A_STATEMENT and not any(said in g for g in given):
            text = text.replace(said, _BREAK)
    return _occurs(wanted, text)


def plain(text: str) -> str:
    """A text as it is compared."""
    composed = unicodedata.normalize("NFC", text.replace(_BREAK, " "))
    return _SPACE.sub(" ", _UNSEEN.sub("", composed).translate(_PLAIN)).strip().casefold()


def _occurs(wanted: str, text: str) -> bool:
    return bool(wanted) and any(islice(_free(wanted, text), 1))


def _free(wanted: str, text: str) -> Iterator[bool]:
    """True for a place where it stands by itself."""
    start = -1
    for _ in range(MOST_PLACES):
        start = text.find(wanted, start + 1)
        if start < 0:
            return
        end = start + len(wanted)
        if not _joined(text, start) and not _joined(text, end):
            yield True


def _joined(text: str, at: int) -> bool:
    """Whether a word or a number goes on over this place."""
    if at in (0, len(text)):
        return False
    before, after = text[at - 1], text[at]
    if _spelt(before) and _spelt(after):
        return True
    if after in ".,'" and before.isdigit():
        return text[at + 1 : at + 2].isdigit()
    return before in ".,'" and after.isdigit() and text[at - 2 : at - 1].isdigit()


def _spelt(char: str) -> bool:
    """A letter or digit of a script that sets spaces between words."""
    return char.isalnum() and (char < "\u0e00" or "\u1e00" <= char <= "\u1fff")


def _name(name: str) -> str:
    """A source as agents write it: providers do not take every sign in the name of a tool."""
    return re.sub(r"\W", "_", name.strip()).casefold()


# figures


def _told(claim: Claim) -> list[str]:
    """Everything that a claim says, without its evidence."""
    fields: Mapping[str, Any] = claim.model_dump(mode="json", exclude={"quotes"})
    return [str(leaf) for _, leaf in leaves(fields) if leaf is not None and not isinstance(leaf, bool)]


def strange_figures(told: Iterable[str], quotes: Iterable[str]) -> tuple[str, ...]:
    """The numbers, dates and codes in what is told that no quotation holds, each once."""
    known = {figure for quote in quotes for figure in figures(quote)}
    amounts = {amount for figure in known for amount in _amounts(figure)}
    strange = [
        figure
        for text in told
        for figure in figures(text)
        if figure not in known and not _amounts(figure) & amounts
    ]
    return tuple(dict.fromkeys(strange))


def figures(text: str) -> list[str]:
    return _FIGURE.findall(plain(text))


def _amounts(figure: str) -> frozenset[Decimal]:
    """What a figure may mean as a number: “1.234” is one and a bit, or more than a thousand."""
    number = _NUMBER.fullmatch(figure)
    if number is None:
        return frozenset()
    ways = (re.sub("[,']", "", number[1]), re.sub("[.']", "", number[1]).replace(",", "."))
    return frozenset(amount for way in ways if (amount := _amount(way)) is not None)


def _amount(text: str) -> Decimal | None:
    try:
        return Decimal(text).normalize()
    except InvalidOperation:
        return None
