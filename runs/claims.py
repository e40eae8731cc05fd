"""The contracts of a verify step: claims that name their evidence, and what a verifier says of each.

No behaviour beyond validation; whether a quotation occurs is `runs.guards.grounding`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Quote(BaseModel):
    """One piece of evidence: where it stands, and its words."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    source: str = Field(
        max_length=200,
        description="Where it stands: the name of a tool whose result holds it, or “input” for what you were given",
    )
    text: str = Field(max_length=4000, description="The words that stand there, copied exactly")


class Claim(BaseModel):
    """One thing that is said to be so. An agent that finds no evidence gives no quotes: a person decides then."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    text: str = Field(min_length=1, max_length=4000)
    quotes: tuple[Quote, ...] = Field(default=(), max_length=50)


class Claims(BaseModel):
    """The base of every contract that a verify step takes. `claims` may hold a contract derived from Claim."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    claims: tuple[Claim, ...] = Field(max_length=500)


class Passage(BaseModel):
    """A place in a source that holds a quotation, with what stands round it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    source: str
    quote: str
    text: str


class Statement(BaseModel):
    """One claim as a verifier is given it. `number` counts from 0 in the claims as they were given."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    number: int
    text: str
    claim: dict[str, Any]
    passages: tuple[Passage, ...]


class ToVerify(BaseModel):
    """What a verifier is given: the claims whose quotations occur, each with the passages that hold them."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    statements: tuple[Statement, ...]


class Verdict(BaseModel):
    """Whether the passages say what a claim says. `why` is read by a person when they do not."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    number: int = Field(ge=0)
    holds: bool
    why: str = Field(default="", max_length=500)


class Verdicts(BaseModel):
    """What a verifier gives: one verdict for every statement."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    verdicts: tuple[Verdict, ...]


def a_person(given: ToVerify) -> Verdicts:
    """The work of a verify step whose verifier is a person: nothing holds before somebody has said so."""
    why = "A person verifies every claim here."
    return Verdicts(
        verdicts=tuple(Verdict(number=one.number, holds=False, why=why) for one in given.statements)
    )


def without(value: Mapping[str, Any], dropped: Collection[int]) -> dict[str, Any]:
    """A value that holds claims, without those of these numbers."""
    kept = [claim for number, claim in enumerate(value.get("claims", ())) if number not in dropped]
    return {**value, "claims": kept}
