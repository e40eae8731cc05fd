"""What a guard says, and the limits it goes by. Values only."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

LONGEST_SENTENCE = 600  # characters


class Guard(enum.StrEnum):
    """Every guard that acquires nothing, by the name that it has on screens, in events and in reports."""

    LOOP = "loop"
    SCHEMA = "schema"
    UNKNOWN_TOOL = "unknown_tool"
    CONTRACT_DRIFT = "contract_drift"
    TAINT = "taint"
    CONTEXT = "context"
    TURNS = "turns"
    BREAKER = "breaker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One guard, the step it is about, whom it binds, the figure it goes by, and a sentence for people.

    `of` names the limit it goes by (a field of `Limits`), `value` is what was counted; empty and None where nothing is.
    """

    guard: Guard
    step: int
    scope: str
    figure: str
    says: str
    of: str = ""
    value: int | None = None

    @property
    def as_json(self) -> dict[str, str | int]:
        return {"guard": self.guard.value, "step": self.step, "detail": self.says[:LONGEST_SENTENCE]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`turns`: model calls a run; `context`: tokens of the history; `repeats`: occurrences of the same thing that make
    a loop; `stale`: calls in a row that bring nothing new; `failures`: model calls in a row that open a breaker.
    """

    turns: int = 20
    context: int = 16_000
    repeats: int = 3
    stale: int = 8
    failures: int = 5


LEAST = {"repeats": 2, "stale": 2}  # once is no repetition
MOST = 10**9


class WrongLimit(ValueError):
    """A limit that cannot be set; the message says what can."""


def limits_of(settings: Iterable[str], base: Limits | None = None) -> Limits:
    """Limits from texts like "turns=30". Raises WrongLimit with a sentence that says what is possible."""
    found = base or Limits()
    kinds = [field.name for field in fields(Limits)]
    for setting in settings:
        kind, equals, value = setting.partition("=")
        if not equals or kind not in kinds:
            raise WrongLimit(
                f"{setting!r} sets no limit; give KIND=VALUE with KIND one of {', '.join(kinds)}."
            )
        found = replace(found, **{kind: _number(kind, value)})
    return found


def _number(kind: str, value: str) -> int:
    least = LEAST.get(kind, 1)
    if not value.isascii() or not value.isdigit() or not least <= (number := int(value[:12])) <= MOST:
        raise WrongLimit(f"{kind}={value} is no limit; give a whole number from {least} to {MOST:,}.")
    return number


def tokens(number: float) -> str:
    """A figure as people read it."""
    return f"{number:,.0f}" if math.isfinite(number) else "?"
