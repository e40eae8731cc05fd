"""Canonical JSON and its digest: what an approval is bound to and what a body is stored under. Pure."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

_SURROGATE = re.compile("[\ud800-\udfff]")
DEEPEST = 64  # levels of nesting; hostile depth would exhaust the stack of whoever reads it
SPARE = 16  # of those levels, for what a value from outside will be put into
LONGEST = 2000  # characters of an error's words
# Kept: to make one costs half of what it does with a small value.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_EXACT = 1e16  # from here on PostgreSQL writes a float as a whole number, Python with an exponent


def canonical(value: Any, *, spare: int = 0) -> str:
    """The one JSON text of a value: sorted keys, no spaces.

    Raises ValueError for NaN, infinities and what is nested deeper than DEEPEST; `spare` levels are kept for
    what the value will be put into.
    """
    return _ENCODER.encode(_plain(value, spare))


def digest(value: Any) -> str:
    """SHA-256 in hex of the canonical JSON."""
    return text_digest(canonical(value))


def text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def plain(value: Any) -> Any:
    """The value as JSON-able data that PostgreSQL can keep and gives back the same.

    Outside text may hold NUL (PostgreSQL has no place for it) and lone surrogates (UTF-8 has none); they
    become U+2400 and U+FFFD, so that hostile text is stored and shown instead of breaking the run.
    Raises ValueError for what is nested deeper than DEEPEST.
    """
    return _plain(value, 0)


def _plain(value: Any, depth: int) -> Any:
    if depth > DEEPEST:
        raise ValueError(f"nested deeper than {DEEPEST} levels")
    kind = type(value)
    if kind is str:  # what is frequent and cheap to see comes first
        return _text(value)
    if kind is int or kind is bool or value is None:
        return value
    if kind is dict:
        return {_text(str(key)): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, BaseModel):
        return _plain(value.model_dump(mode="json"), depth)
    if isinstance(value, Mapping):
        return {_text(str(key)): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, int):
        return value
    return _plain(str(value), depth)


def _text(value: str) -> str:
    if value.isascii() and "\x00" not in value:
        return value
    return _SURROGATE.sub("\ufffd", value.replace("\x00", "\u2400"))


def _number(value: float) -> float | int:
    """A float as it comes back from a jsonb column, so that the digest of what was stored stays the same."""
    if _EXACT <= abs(value) < math.inf:
        return int(value)
    return value + 0.0  # no minus before a zero


def tame(value: Any) -> Any:
    """`plain` for what must be kept whatever it is, such as the answer to an effect: what is no JSON is said."""
    try:
        canonical(value, spare=SPARE)
    except (ValueError, RecursionError) as why:
        return {"unreadable": f"The answer cannot be kept: {why}"[:200]}
    return plain(value)


def told(error: BaseException) -> str:
    """The words of an error that somebody else wrote, at most LONGEST characters; its class when it has none."""
    try:
        words = str(error)
    except Exception:
        words = ""
    return cut(words) or type(error).__name__


def cut(text: Any) -> str:
    """A text from outside for a place where a sentence is expected; empty for what is no text."""
    words: str = plain(text if isinstance(text, str) else "")
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"
