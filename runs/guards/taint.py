"""Arguments that came out of what was read, in calls that act or reach outside, and that nobody asked for.

The rule is provenance. A value that the person named is theirs. A value that stood alone in a field of a result is how
tools hand ids to each other. A value out of prose, in a place where it decides whom or what the call reaches, is
somebody else's: a person is asked, and sees where it came from. Whether the passage speaks to its reader, and of
this very action, sharpens the rule both ways; no phrase is the rule. Judges before the call, from what came before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from typing import Any

from runs.definitions import Effect
from runs.guards import likeness
from runs.guards.findings import Finding, Guard
from runs.guards.provenance import BREAK, Leaf, Origins, comparable, names, stands_free
from runs.recorded.toolsets import Declared

MOST_REACHES = 400  # values of one call that are looked for because they reach somebody
MOST_OTHERS = 40
MOST_WRAPPED = 3  # JSON in a text of JSON
STEM = 5  # letters that a word keeps in all its forms
NAME_WORDS = 8  # a longer text is no name

# What decides whom a call reaches: web addresses, mail addresses, accounts.
_LETTERS = r"a-z\u00df-\u024f\u0370-\u1fff\u3040-\ud7ff"
_ADDRESS = re.compile(
    rf"(?:[a-z][a-z0-9+.-]{{1,12}}://)?(?:[{_LETTERS}0-9-]{{1,63}}\.){{1,8}}[{_LETTERS}]{{2,24}}\b"
    r"(?::\d{1,5})?(?:/[^\s\"'<>)\]}]*)?"
    r"|\b[a-z][a-z0-9+.-]{1,12}://[^\s\"'<>)\]}]+"
    r"|\b(?:\d{1,3}\.){3}\d{1,3}\b"
)
_MAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_ACCOUNT = re.compile(r"\b(?=[a-z0-9]*\d{5})[a-z]{0,4}\d[a-z0-9]{7,40}\b|\+?\d[\d ()-]{7,20}\d")
_MOMENT = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}")
# An argument that points at one thing: an address, a file, an id. Words to search by bring what anybody wrote.
_POINTER = re.compile(r"^(?=\S*[./_@\d])\S{4,}$")
_KEPT_APART = re.compile(r"[^a-z0-9]+")

# The grammar of speaking to somebody and of wanting something done: closed classes of words, no phrases.
_YOU = frozenset({"you", "your", "yours", "yourself"})
_WANTS = frozenset(
    {
        "please",
        "must",
        "should",
        "need",
        "needs",
        "required",
        "shall",
        "ensure",
        "instead",
        "ignore",
        "immediately",
    }
)
_ORDER = frozenset({"first", "before", "after", "then", "now", "following"})
_PLAIN_VERBS = frozenset(
    {"open", "visit", "go", "click", "call", "send", "forward", "reply", "transfer", "pay", "download", "run", "use",
     "give", "share", "post", "make", "delete", "add", "invite", "write", "follow", "submit", "book", "reserve"}
)  # fmt: skip
_HAS_TO = re.compile(r"\b(?:has|have|need|needs|ought|got) to\b")
_SAY_NOTHING = frozenset(
    {"get", "set", "the", "for", "all", "and", "with", "from", "into", "new", "read", "list"}
)
_SENTENCE = re.compile(rf"(?<=[.!?:>)])\s+|\s*{BREAK}\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A value of the arguments, as it is looked for. `reaches`: it decides whom or what the call reaches."""

    place: str
    shown: str
    plain: str
    reaches: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that is not made yet. `acts`: it changes something; `says`: the words of its name that say what it does;
    `left`: those of them that the person did not use; `asked_for`: it only reads, or the person spoke of it at all."""

    tool: str
    acts: bool
    says: frozenset[str]
    left: frozenset[str]

    @property
    def asked_for(self) -> bool:
        return not self.acts or not self.says or self.left != self.says

    def goes_on(self, words: Collection[str]) -> bool:
        """Whether words speak of what this call does and the person did not ask for."""
        if not self.asked_for:
            return _some(self.says, words)
        return self.acts and bool(self.left) and _all(self.left, words)


@dataclass(slots=True, kw_only=True)
class Taint:
    """What the person has said, and what has been read since."""

    known: str = ""
    sure: set[str] = field(default_factory=set)
    used: frozenset[str] = frozenset()  # values of the calls so far
    origins: Origins = field(default_factory=Origins)
    _said: frozenset[str] | None = None
    _calls: dict[tuple[str, bool], Call] = field(default_factory=dict)

    def copy(self) -> Taint:
        """Another that knows the same, and does not learn what this one is told from now on."""
        return replace(self, sure=set(self.sure), origins=self.origins.copy(), _calls=dict(self._calls))

    def told(self, text: str) -> None:
        """The goal, or a message of the person who set it."""
        self.known += "\n" + comparable(text)
        self._said = None
        self._calls.clear()

    def vouched(self, text: str) -> None:
        """A value that the author of the run's own code stands for, wherever else it was read."""
        self.sure.add(comparable(text).strip(" .,;"))

    def read(self, step: int, source: str, args: Any, text: str, *, foreign: bool = False) -> None:
        """A result. `args`: what it was asked for with; `foreign`: see `Leaf`."""
        asked = [
            (one, comparable(str(one))) for _, one in likeness.leaves(args) if isinstance(one, (str, int))
        ]
        echo = frozenset(plain for _, plain in asked)
        self.used |= echo
        if not text:
            return
        named = any(
            isinstance(one, str) and _POINTER.search(one) and not _MOMENT.fullmatch(one) and self._has(plain)
            for one, plain in asked
        )
        self.origins.read(step, source, named and not foreign, text, echo, foreign=foreign)

    def heard(self, step: int, source: str, text: str) -> None:
        """What anybody else said. Where it repeats values of calls that were made before, they are not from it."""
        if text:
            self.origins.read(step, source, False, text, self.used)

    def before(self, step: int, tool: str, declared: Declared | None, args: Any) -> Finding | None:
        """What a person must see before this call. None for a call that neither acts nor reaches outside."""
        if declared is not None and declared.effect is Effect.NONE and not declared.egress:
            return None
        acts = declared is None or declared.effect is not Effect.NONE
        call = self._call(tool, acts)
        for value in values(args):
            why = None if value.plain in self.sure else self._tainted(call, value)
            if why is not None:
                return Finding(
                    guard=Guard.TAINT,
                    step=step,
                    scope=f"tool {tool}",
                    figure=value.place,
                    says=f"{tool} would get {value.place} = {_short(value.shown)}: {why}",
                )
        if not acts or not call.left:
            return None
        wish = self._wished(call)
        if wish is None:
            return None
        return Finding(
            guard=Guard.TAINT,
            step=step,
            scope=f"tool {tool}",
            figure="the call",
            says=f"{tool} would be called: nobody asked for that, but step {wish[0].step} ({wish[0].source}) does: "
            f"“…{_short(wish[1])}…”",
        )

    def _call(self, tool: str, acts: bool) -> Call:
        call = self._calls.get((tool, acts))
        if call is None:
            says = _doing(tool)
            left = frozenset(one for one in says if not _some({one}, self._words())) if acts else says
            call = self._calls[tool, acts] = Call(tool=tool, acts=acts, says=says, left=left)
        return call

    def _wished(self, call: Call) -> tuple[Leaf, str] | None:
        """A text that insists on just this action, though nobody asked for it, whatever its arguments are."""
        for leaf in self.origins.telling():
            if not all(one[:STEM] in leaf.plain for one in call.says):
                continue  # what every form of the words has; most texts need no more
            for sentence in _SENTENCE.split(leaf.plain):
                if not _all(call.says, likeness.words(sentence)):
                    continue
                at = leaf.plain.find(sentence)
                if _mood(leaf.passage(at, len(sentence))) >= 3:
                    return leaf, sentence
        return None

    def _words(self) -> frozenset[str]:
        """The words of the person."""
        if self._said is None:
            self._said = frozenset(likeness.words(self.known))
        return self._said

    def _tainted(self, call: Call, value: Value) -> str | None:
        held = self.origins.holding(value.plain)
        spoken = [(leaf, at) for leaf, at in held if not leaf.is_just(value.plain)]
        said = self._has(value.plain)
        vouched = len(held) > len(spoken) or said
        for leaf, at in spoken:
            passage = leaf.passage(at, len(value.plain))
            if self._wants(call, passage, value, vouched):
                return _source(leaf, at, value.plain, "that speaks to its reader")
            if not said and call.goes_on(_beside(passage, value.plain)):
                return _source(leaf, at, value.plain, "about an action that nobody asked for")
        if vouched or not value.reaches:
            return None
        for leaf, at in spoken:
            if not self._meant(call, leaf, value, leaf.passage(at, len(value.plain))):
                return _source(leaf, at, value.plain, "")
        larger = _larger(value.plain)
        if not held and larger:  # somebody's host with a part of the agent's own: where data leaves by
            return self._tainted(call, replace(value, plain=larger))
        if not held and self.origins.cut and not self._named(value):
            return "nobody asked for it, it was in nothing that can be seen here, and results before this call are cut."
        return None

    def _has(self, value: str) -> bool:
        """Whether the person named it."""
        start = self.known.find(value)
        while start >= 0:
            if stands_free(self.known, start, start + len(value)):
                return True
            start = self.known.find(value, start + 1)
        return False

    def _wants(self, call: Call, passage: str, value: Value, vouched: bool) -> bool:
        """Whether a passage speaks to its reader and wants this; where a value says little, it names the action too."""
        mood = _mood(passage)
        if value.reaches and not vouched:
            return mood >= 2
        if mood >= 3 and _some(call.says, _beside(passage, value.plain)):
            return True
        return mood >= 4 and not vouched and _some(call.says, likeness.words(passage))

    def _meant(self, call: Call, leaf: Leaf, value: Value, passage: str) -> bool:
        """Whether the person pointed at it: by the document that holds it, where they asked for what is done with it,
        or by a name that is part of it."""
        if _mood(passage) >= 2 or _starts_with_verb(passage, value.plain):
            return False
        return (leaf.named and call.asked_for) or self._named(value)

    def _named(self, value: Value) -> bool:
        named = [part for part in _KEPT_APART.split(_telling(value.plain)) if part]
        return bool(named) and all(self._has(part) for part in named)


def values(args: Any) -> Iterator[Value]:
    """What is looked for: addresses and accounts wherever they stand, and every short value as a whole."""
    found: dict[str, Value] = {}
    for place, leaf in _leaves(args, "", 0):
        for shown, plain, reaches in _values_of(leaf):
            if plain not in found and (plain.isdigit() or len(plain) > 2):
                found[plain] = Value(place=place or "arguments", shown=shown, plain=plain, reaches=reaches)
    every = found.values()
    yield from islice((one for one in every if one.reaches), MOST_REACHES)
    yield from islice((one for one in every if not one.reaches), MOST_OTHERS)


def _leaves(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    """Every value that holds no others, with its place: those of JSON in a text too, and names that reach somebody."""
    for place, leaf in likeness.leaves(value, path):
        inner = _inner(leaf) if depth < MOST_WRAPPED else None
        if inner is None:
            yield place, leaf
        else:
            yield from _leaves(inner, place, depth + 1)
    yield from ((name, name) for name in names(value) if any(_addresses(comparable(name))))


def _inner(leaf: Any) -> Any:
    if not isinstance(leaf, str) or leaf.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(leaf)
    except (ValueError, RecursionError):
        return None


def _values_of(leaf: Any) -> Iterator[tuple[str, str, bool]]:
    if isinstance(leaf, bool) or leaf is None:
        return
    text = comparable(str(leaf))
    if not isinstance(leaf, str):
        yield str(leaf), text, bool(_ACCOUNT.fullmatch(text))
        return
    short = " " not in text or len(likeness.words(_MAIL.sub(" ", text))) <= NAME_WORDS
    found = list(_addresses(text))
    for one in found:
        yield one, one, short  # inside a longer text it is what is told, not whom
    if short and text not in found:
        yield leaf, text.strip(" .,;"), False


def _addresses(text: str) -> Iterator[str]:
    mails = _MAIL.findall(text)
    yield from mails
    for found in _ADDRESS.findall(text):
        address = found.rstrip("/.,;:!?")
        if not any(address in mail for mail in mails) and not _FILE_END.search(address):
            yield address
    for found in _ACCOUNT.findall(text):
        if not _MOMENT.search(found):
            yield found.strip()


# A file's name looks like an address.
_FILE_END = re.compile(r"^[^/]+\.(?:txt|docx?|xlsx?|pdf|csv|json|md|py|pptx?|png|jpe?g|log|html?|zip|ya?ml)$")


def _larger(value: str) -> str:
    """The address that one is part of: without its path, its first name, or what is added to a mail's; empty for none.
    A larger one stands free only where somebody wrote just that, so "co.uk" is found in no other host."""
    host, slash, _ = value.partition("/")
    if slash:
        return host if "." in host else ""
    name, at, domain = host.partition("@")
    if at:
        plain, plus, _ = name.partition("+")
        return f"{plain}@{domain}" if plus else ""
    _, _, parent = host.partition(".")
    return parent if "." in parent and not parent.replace(".", "").isdigit() else ""


def _telling(value: str) -> str:
    """The part of an address that names somebody: before the @, or without the last part of the host."""
    if "@" in value:
        return value.split("@")[0]
    host, _, path = value.partition("/")
    return f"{host.rpartition('.')[0]} {path}"


def _mood(passage: str) -> int:
    """How much a passage speaks to its reader and wants something: 0 not, 2 clearly, 3 and more insists."""
    words = likeness.words(passage)
    you = sum(word in _YOU for word in words)
    wants = sum(word in _WANTS for word in words) + 2 * len(_HAS_TO.findall(passage))
    order = sum(word in _ORDER for word in words)
    if not you and not wants:
        return 0
    return min(you, 2) + min(wants, 2) + (1 if order >= 2 else 0)


def _starts_with_verb(passage: str, value: str) -> bool:
    """Whether the sentence that holds the value begins with what somebody should do."""
    for sentence in _SENTENCE.split(passage):
        if value in sentence:
            words = likeness.words(sentence)
            return bool(words) and words[0] in _PLAIN_VERBS
    return False


def _beside(passage: str, value: str) -> set[str]:
    """The words of the sentences that hold the value, without its own."""
    held = [sentence for sentence in _SENTENCE.split(passage) if value in sentence]
    return {word for sentence in held for word in likeness.words(sentence.replace(value, " "))}


@lru_cache(maxsize=1024)
def _doing(tool: str) -> frozenset[str]:
    """The words of a tool's name that say what it does."""
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", tool).casefold()
    return frozenset(word for word in re.split(r"[^a-z]+", spaced) if len(word) > 2) - _SAY_NOTHING


def _some(said: Collection[str], words: Collection[str]) -> bool:
    """Whether words name one of these, in whatever form: reserve, reservation."""
    return any(_same_stem(one, word) for one in said for word in words)


def _all(said: Collection[str], words: Collection[str]) -> bool:
    return bool(said) and all(_some({one}, words) for one in said)


def _same_stem(one: str, word: str) -> bool:
    """Whether a word is a form of another: pay, pay; book, booking; reserve, reservation."""
    return (
        word == one
        or (len(one) >= 4 and word.startswith(one))
        or (len(one) >= STEM and word[:STEM] == one[:STEM])
    )


def _source(leaf: Leaf, at: int, value: str, more: str) -> str:
    around = leaf.plain[max(0, at - 60) : at + len(value) + 40].replace(f"{BREAK} ", "")
    words = f", in a text {more}" if more else ""
    return f"it comes from step {leaf.step} ({leaf.source}){words}: “…{around}…”"


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"
