"""What a card says of claims that do not stand: each beside what is missing. Pure: no database, no markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubted:
    """A claim that does not stand. `found`: its quotations that do occur; `lacks`: what does not, and why; `why`: what
    the verifier says."""

    number: int
    text: str
    found: tuple[Mapping[str, Any], ...]
    lacks: tuple[Mapping[str, Any], ...]
    why: str


def doubted(action: Mapping[str, Any]) -> tuple[Doubted, ...]:
    """The claims of an action that do not stand; nothing where it is not about claims."""
    claims = _claims(action)
    return tuple(_one_doubted(one, claims) for one in action.get("open", ()) if isinstance(one, Mapping))


def standing(action: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The other claims of an action."""
    numbers = {one["number"] for one in action.get("open", ())}
    return tuple(claim for number, claim in enumerate(_claims(action)) if number not in numbers)


def _claims(action: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    if "open" not in action:
        return ()
    value = action.get("value")
    return value.get("claims", ()) if isinstance(value, Mapping) else ()


def _one_doubted(doubt: Mapping[str, Any], claims: Sequence[Mapping[str, Any]]) -> Doubted:
    lacks = tuple(doubt.get("lacks", ()))
    missing = {(one["source"], one["quote"]) for one in lacks}
    quotes = claims[doubt["number"]].get("quotes", ())
    return Doubted(
        number=doubt["number"],
        text=doubt["text"],
        found=tuple(one for one in quotes if (one["source"], one["text"]) not in missing),
        lacks=lacks,
        why=doubt.get("why", ""),
    )
