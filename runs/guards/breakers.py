"""Model calls that fail in a row, by model, over all runs that are fed. Keeps no time: it never half-opens by itself.

Whether it opens is decided by the engine's own rule (`runs.guards.breaking.due`), of which a recording, without
moments, leaves the failures in a row. What an open breaker does with a run (queue, probe, resume) is the engine's; here
it is seen and said.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from runs.guards.breaking import BreakerRule, Tally, due
from runs.guards.findings import Finding, Guard, Limits


@dataclass(slots=True, kw_only=True)
class Breakers:
    """Shared by the watches of all runs that call the same models."""

    limits: Limits = field(default_factory=Limits)
    _failures: dict[str, int] = field(default_factory=dict)

    def is_open(self, model: str) -> bool:
        return self._due(self._failures.get(model, 0))

    def _due(self, row: int) -> bool:
        return bool(due(BreakerRule(consecutive=self.limits.failures), Tally(row=row)))

    def outcome(self, step: int, model: str, failed: bool) -> Finding | None:
        """A model call has ended. The failure that opens the breaker is said, and every one after it."""
        self._failures[model] = self._failures.get(model, 0) + 1 if failed else 0
        if not self.is_open(model):
            return None
        count, name = self._failures[model], model or "the model"
        opens = not self._due(count - 1)
        return Finding(
            guard=Guard.BREAKER,
            step=step,
            scope=f"model {name}",
            figure=f"{count} of {self.limits.failures} failures",
            says=f"{count} calls of {name} failed in a row: its breaker "
            + ("opens." if opens else "is open, and this call would have waited."),
        )
