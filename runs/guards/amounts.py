"""What a recorded run has used up by counting: model calls, and the length of its history. One finding a limit.

Counts alone: what is too many is decided where the engine decides it (`runs.guards.caps`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from runs.guards.caps import crosses, first_over
from runs.guards.findings import Finding, Guard, Limits, tokens


@dataclass(slots=True, kw_only=True)
class Amounts:
    limits: Limits = field(default_factory=Limits)
    model_calls: int = 0
    longest: int = 0

    def asked_model(self, step: int) -> Finding | None:
        """Before a model call: whether it is one too many."""
        used, self.model_calls = self.model_calls, self.model_calls + 1
        if not crosses(used, 1, self.limits.turns) or crosses(used - 1, 1, self.limits.turns):
            return None
        return Finding(
            guard=Guard.TURNS,
            step=step,
            scope="run",
            figure=f"{self.model_calls} of {self.limits.turns}",
            says=f"This is model call {self.model_calls}; a run may make {self.limits.turns}.",
        )

    def grew(self, step: int, length: int) -> Finding | None:
        """After any step: the history is `length` tokens long."""
        before, self.longest = self.longest, max(self.longest, length)
        if not first_over(before, self.longest, self.limits.context):
            return None
        return Finding(
            guard=Guard.CONTEXT,
            step=step,
            scope="run",
            figure=f"{tokens(length)} of {tokens(self.limits.context)} tokens",
            says=f"The history is {tokens(length)} tokens long; the limit is {tokens(self.limits.context)}.",
        )
