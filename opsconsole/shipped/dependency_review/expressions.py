"""SPDX licence expressions: read, written again in one form, and held against a list of allowed ones. Pure.

Identifiers are not looked up: a list of all that exist would be out of date; ours is the one of what is allowed.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_TOKEN = re.compile(r"\s*(\(|\)|[A-Za-z0-9][A-Za-z0-9.+-]*)")
_WORDS = {"AND", "OR", "WITH"}
DEEPEST = 20


class NotAnExpression(ValueError):
    """The text is no SPDX expression; the message says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Licensed:
    """An expression: one licence, or several joined by AND or OR."""

    text: str
    join: str = ""
    parts: tuple["Licensed", ...] = ()

    def names(self) -> set[str]:
        """The identifiers in it, without exceptions."""
        if not self.parts:
            return {self.text.partition(" WITH ")[0]}
        return set().union(*(part.names() for part in self.parts))


def parse(text: str) -> Licensed:
    """An expression from its text. Raises NotAnExpression."""
    tokens = list(_tokens(text))
    found, rest = _joined(tokens, ("OR", "AND"), 0)
    if rest:
        raise NotAnExpression(f"{text!r:.80}: “{rest[0]}” is not expected there")
    return found


def allowed(expression: Licensed, names: Sequence[str]) -> bool:
    """Whether the list allows it: one side of an OR is enough, every side of an AND is needed."""
    if not expression.parts:
        return expression.text.casefold() in {name.casefold() for name in names}
    sides = (allowed(part, names) for part in expression.parts)
    return any(sides) if expression.join == "OR" else all(sides)


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            raise NotAnExpression(
                f"{text!r:.80} is not a licence as SPDX writes them, such as MIT OR Apache-2.0"
            )
        word = match.group(1)
        yield word.upper() if word.upper() in _WORDS else word
        at = match.end()


def _joined(tokens: list[str], joins: tuple[str, ...], depth: int) -> tuple[Licensed, list[str]]:
    """Sides joined by the first of `joins`, each of which may be joined by the next; AND binds closer than OR."""
    if not joins:
        return _one(tokens, depth)
    first, rest = _joined(tokens, joins[1:], depth)
    parts = [first]
    while rest and rest[0] == joins[0]:
        part, rest = _joined(rest[1:], joins[1:], depth)
        parts.append(part)
    if len(parts) == 1:
        return first, rest
    return Licensed(text=_written(parts, joins[0]), join=joins[0], parts=tuple(parts)), rest


def _written(parts: Sequence[Licensed], join: str) -> str:
    return f" {join} ".join(
        f"({part.text})" if part.join == "OR" and join == "AND" else part.text for part in parts
    )


def _one(tokens: list[str], depth: int) -> tuple[Licensed, list[str]]:
    if not tokens or tokens[0] in {*_WORDS, ")"}:
        raise NotAnExpression("a licence is missing in the expression")
    if tokens[0] == "(":
        if depth >= DEEPEST:
            raise NotAnExpression(f"more than {DEEPEST} brackets in each other")
        inner, rest = _joined(tokens[1:], ("OR", "AND"), depth + 1)
        if not rest or rest[0] != ")":
            raise NotAnExpression("a bracket is not closed")
        return inner, rest[1:]
    if len(tokens) > 2 and tokens[1] == "WITH":
        return Licensed(text=f"{tokens[0]} WITH {tokens[2]}"), tokens[3:]
    return Licensed(text=tokens[0]), tokens[1:]
