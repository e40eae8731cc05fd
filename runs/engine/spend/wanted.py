"""What a call asks its permit with, and how it ended: values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from runs import bodies
from runs.agents.door import Usage
from runs.errors import ErrorClass
from runs.models import Body, CallKind, CallState


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A call that asks for its permit. `key` is stable over retries of the step."""

    kind: CallKind
    name: str
    key: str
    request: Any = None  # or its body, in `stored`
    effect: str = "none"
    egress: bool = False
    digest: str = ""
    question_id: int | None = None
    simulated: bool = False
    model: str = ""
    prompt_version: str = ""
    parameters: dict[str, Any] | None = None
    stored: list[Body] = field(default_factory=list, compare=False, repr=False)

    @property
    def body(self) -> Body:
        """The request as it will be stored; made once."""
        if not self.stored:
            self.stored.append(bodies.of(self.request))
        return self.stored[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a call ended. Usage is booked whatever else happens."""

    state: CallState
    response: Any = None
    error: str = ""
    error_class: ErrorClass | None = None
    usage: Usage | None = None
    cost_micros: int | None = None
    model_returned: str = ""
    latency_ms: int | None = None
    certain: bool = True  # whether it is known what was used; else what was reserved stays so
    handed_at: datetime | None = None  # by PostgreSQL's clock, while the gate was still held

    @property
    def tokens(self) -> int:
        """Tokens in and out; none as long as nobody knows."""
        return self.usage.tokens_in + self.usage.tokens_out if self.usage else 0
