"""How much one model call may use at most, before it is sent: what is reserved for it. Rounded up; never exact.

Tokens in: a token for every three bytes of the request as UTF-8 (English text has about four bytes a token, code and
other languages fewer), plus one. Tokens out: the request's own bound (`max_tokens`), else RUNS_TOKENS_OUT. What a call
really used is booked in full whatever was reserved; more than that is an overrun.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings

from runs.agents import prices
from runs.agents.door import Usage
from runs.engine.spend.wanted import Wanted

BYTES_A_TOKEN = 3
MEASURED = frozenset({"tokens", "cost"})  # kinds of which a call may use more than one


class Estimate:
    """The most one call may use, by kind of limit; worked out once, and only what is asked for."""

    __slots__ = ("_usage", "_wanted")

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._usage: Usage | None = None

    @property
    def usage(self) -> Usage:
        if self._usage is None:
            self._usage = usage_of(self._wanted.body.size, self._wanted.parameters or {})
        return self._usage

    def of(self, kind: str) -> int:
        """In the kind's unit: tokens, millionths of a dollar, or one. Raises DataError for a model without a price."""
        match kind:
            case "tokens":
                return self.usage.tokens_in + self.usage.tokens_out
            case "cost":
                return prices.cost_micros(self._wanted.model, self.usage)
            case _:
                return 1


def usage_of(size: int, parameters: dict[str, Any]) -> Usage:
    """What a request of so many bytes may use: see the module."""
    given = parameters.get("max_tokens")
    out = given if isinstance(given, int) and 0 < given < 10**9 else int(settings.RUNS_TOKENS_OUT)
    return Usage(tokens_in=size // BYTES_A_TOKEN + 1, tokens_out=out)
