"""When two calls, results or texts are the same for a loop: exactly, but for what changes by itself, or nearly."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any

LONGEST = 20_000  # characters of one text that are looked at
DEEPEST = 64
LONG_TEXT = 8  # words; from here on a text may be reworded and still say the same
TELLING = 2  # words that say something by themselves; texts that end in the same ones say the same
MOST_WORDS = 400
CUT_FROM = 300
MOST_OPENING = 4  # words before the same text: "Right. ", "One moment, I will see. "
MOST_FILLED = 4  # words in a place of a form that differs from letter to letter
# Words that hold sentences together, agree or spur on: closed classes, which tell nothing by themselves.
_TELL_NOTHING = frozenset(
    {"a", "absolutely", "again", "ahead", "all", "alright", "also", "always", "am", "an", "and", "any",
     "anything", "are", "as", "at", "be", "been", "better", "but", "by", "bye", "can", "carry", "certainly",
     "continue", "could", "course", "definitely", "did", "do", "does", "done", "else", "exactly",
     "excellent", "fine", "for", "from", "further", "get", "go", "goes", "going", "good", "goodbye", "got",
     "great", "had", "has", "have", "he", "hello", "her", "here", "hey", "hi", "him", "his", "hold", "how",
     "i", "if", "in", "indeed", "into", "is", "it", "its", "just", "keep", "kindly", "let", "like", "look",
     "looks", "made", "make", "may", "me", "might", "moment", "more", "move", "much", "must", "my", "need",
     "needed", "next", "nice", "no", "not", "noted", "now", "of", "off", "oh", "ok", "okay", "on", "once",
     "one", "onward", "or", "our", "out", "perfect", "please", "proceed", "really", "right", "see", "shall",
     "she", "should", "so", "some", "sorry", "sounds", "still", "such", "sure", "thank", "thanks", "that",
     "the", "their", "them", "then", "there", "these", "they", "thing", "this", "those", "to", "too", "try",
     "understood", "until", "up", "us", "very", "wait", "want", "was", "way", "we", "welcome", "well",
     "were", "what", "when", "where", "which", "while", "who", "will", "with", "would", "yeah", "yep", "yes",
     "yet", "you", "your"}
)  # fmt: skip

_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")
_FIGURE = re.compile(r"\d")
_WORD = re.compile(r"\w+(?:['’]\w+)*")
# What changes by itself from one answer to the next: moments, and names that machines make up. Plain numbers stay:
# a counter that moves is an advance, and so is a time that has run for less than an hour.
# Each begins with a figure (that what is beside it is looked at afterwards is for speed: most signs are none).
_MOMENT = re.compile(
    r"\d(?:"
    r"\d{3}-\d\d-\d\d[t ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:z|[+-]\d\d:?\d\d)?"
    r"|(?<!\w\d)(?:"
    r"(?<=1)[4-9]\d{8}(?:\d{3})?(?:\.\d+)?\b"
    r"|(?!(?<=0)0:)\d:\d\d:\d\d(?:\.\d+)?\b"
    r"|\d*(?:\.\d+)? ?ms\b"
    r"))"
)
_MADE_UP = re.compile(
    r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"
    r"|\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{12,}\b"
)
# Names of arguments that say which sending this is, and not what is asked for. A request or a moment may also be what
# is asked for, unless a machine has made it up.
_ONCE = re.compile(
    r"(?:nonce|trace_?id|correlation_?id|idempotency_?key)$"
    r"|^(?:attempt|retry|retries|try|tries)(?:_?(?:number|count|no|nr))?$"
)
_ONCE_WHEN_DRAWN = re.compile(r"(?:request_?id|timestamp)$")
_DRAWN = re.compile(rf"(?:{_MADE_UP.pattern}|{_MOMENT.pattern})")
_OF_A_REQUEST = re.compile(
    r"([\"']?(?:nonce|timestamp|request_?id|trace_?id|correlation_?id|retrieved_?at|checked_?at)[\"']?\s*[:=]\s*)"
    r"[\"']?[^\s\"',}\]]+"
)
_REQUEST_HAS = ("nonce", "timestamp", "request", "trace", "correlation", "retrieved", "checked")


def plain(text: str, longest: int = LONGEST) -> str:
    """A text without what nobody means or sees: case, spaces, other forms of the same sign, signs without a width."""
    text = text[:longest]
    if not text.isascii():
        text = _UNSEEN.sub("", unicodedata.normalize("NFKC", text))
    return " ".join(text.split()).casefold()


def result(text: str) -> str:
    """An answer without what changes by itself."""
    kept = plain(text)
    if _FIGURE.search(kept):
        kept = _MADE_UP.sub("~", _MOMENT.sub("~", kept))
    if any(name in kept for name in _REQUEST_HAS):
        kept = _OF_A_REQUEST.sub(r"\1~", kept)
    return kept


def arguments(value: Any) -> str:
    """Arguments by what they ask for: order of names, case, spaces and the way a number is written do not count."""
    return json.dumps(_meant(value, 0), sort_keys=True, ensure_ascii=False, default=str)


def _meant(value: Any, depth: int) -> Any:
    if depth > DEEPEST:
        return str(type(value))
    if isinstance(value, Mapping):
        return {
            str(name): _meant(one, depth + 1)
            for name, one in value.items()
            if one is not None and not _of_one_sending(str(name).lower(), one)
        }
    if isinstance(value, str):
        said = plain(value)
        return said.strip(" .!?\"'") or said
    if isinstance(value, Sequence):
        return [_meant(one, depth + 1) for one in value]
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, bool) else str(value)


def _of_one_sending(name: str, value: Any) -> bool:
    if _ONCE.search(name):
        return True
    return bool(_ONCE_WHEN_DRAWN.search(name)) and bool(_DRAWN.fullmatch(plain(str(value))))


def leaves(value: Any, path: str = "", depth: int = 0) -> list[tuple[str, Any]]:
    """Every value that holds no others, with its place."""
    if depth > DEEPEST:
        return []
    if isinstance(value, Mapping):
        parts = [(f"{path}.{name}" if path else str(name), one) for name, one in value.items()]
    elif isinstance(value, (list, tuple)):
        parts = [(f"{path}.{number}" if path else str(number), one) for number, one in enumerate(value)]
    else:
        return [(path, value)]
    return [leaf for place, one in parts for leaf in leaves(one, place, depth + 1)]


@dataclass(frozen=True, slots=True)
class Words:
    """A text as it is compared with others: its words in order, and the figures among them."""

    order: tuple[str, ...]
    figures: frozenset[str]

    def __len__(self) -> int:
        return len(self.order)

    @property
    def telling(self) -> tuple[str, ...]:
        """The words that say something by themselves, in order."""
        return _telling(self.order)

    def share(self, other: Words) -> float:
        """The share of words that two texts have in common, counted with repetitions; 1 is all."""
        one, two = _counts(self.order), _counts(other.order)
        both = sum(min(count, two[word]) for word, count in one.items() if word in two)
        return 2 * both / max(1, len(self) + len(other))

    def near(self, other: Words, share: float = 0.85) -> bool:
        """Whether two texts say the same in nearly the same words. Texts with different figures never do."""
        if not self.order or not other.order or not self._same_figures(other):
            return False
        if self.order == other.order or _opened_anew(self.order, other.order):
            return True
        one, two = self.telling, other.telling
        if (one and one == two) or _opened_anew(one, two, least=TELLING):
            return True
        least = min(len(self), len(other))
        if least < LONG_TEXT or 2 * least < share * (len(self) + len(other)):
            return False
        return self.share(other) >= share

    def filled_in(self, other: Words) -> bool:
        """Whether both are one form with something else in its places: letters to Ann and to Bea."""
        compared = SequenceMatcher(None, self.telling, other.telling, autojunk=False).get_opcodes()
        places = [place for place in compared if place[0] != "equal"]
        return bool(places) and all(
            kind == "replace" and max(end - start, stop - begin) <= MOST_FILLED
            for kind, start, end, begin, stop in places
        )

    def _same_figures(self, other: Words) -> bool:
        """A long text is recorded with its middle cut out: a figure at the cut may be there or not."""
        spare = 2 if min(len(self), len(other)) >= CUT_FROM else 0
        return len(self.figures ^ other.figures) <= spare


def _opened_anew(one: tuple[str, ...], two: tuple[str, ...], least: int = 1) -> bool:
    """Whether both are the same words behind another opening of a few."""
    most, shared = min(len(one), len(two)), 0
    while shared < most and one[-1 - shared] == two[-1 - shared]:
        shared += 1
    opening = max(len(one), len(two)) - shared
    if shared < least or opening > 2 * MOST_OPENING:
        return False
    if opening <= MOST_OPENING and shared * 2 >= most:
        return True
    return not tells(one[:-shared] + two[:-shared])


def words(text: str) -> tuple[str, ...]:
    """The words of a text, from its head and its tail when it is long."""
    found = _WORD.findall(text[:LONGEST].casefold())
    if len(found) <= MOST_WORDS:
        return tuple(found)
    return tuple(found[: MOST_WORDS // 2] + found[-MOST_WORDS // 2 :])


def tells(found: Iterable[str]) -> bool:
    """Whether words say anything beyond yes, no and go on."""
    return any(_tells(word) for word in found)


def _tells(word: str) -> bool:
    if word in _TELL_NOTHING:
        return False
    return word.isalpha() or word.partition("'")[0].partition("’")[0] not in _TELL_NOTHING


def worded(text: str) -> Words:
    """A text to compare with others."""
    found = words(text)
    figures = frozenset(word for word in found if not word.isalpha() and _FIGURE.search(word))
    return Words(found, figures)


@lru_cache(maxsize=256)
def _counts(order: tuple[str, ...]) -> Counter[str]:
    return Counter(order)


@lru_cache(maxsize=256)
def _telling(order: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for word in order if word not in _TELL_NOTHING and _tells(word))
