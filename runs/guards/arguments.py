"""A call's name and arguments against what the tool's owner declares, before it is made; the tool's no, after.

Strict: an argument that the contract does not name breaks it, and nothing is turned into what it should have been.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from runs.guards.findings import Finding, Guard
from runs.recorded.toolsets import Declared, Tools

REJECTED = ("schema", "unknown_tool")  # how a runtime says that it did not take a call


@dataclass(frozen=True, slots=True, kw_only=True)
class Contracts:
    """`declared` is None when nobody declared anything; then `names` are all that is known, and may be empty."""

    declared: Tools | None = None
    names: Collection[str] = ()

    def tool(self, name: str) -> Declared | None:
        return (self.declared or {}).get(name)

    def before(self, step: int, agent: str, tool: str, args: Any) -> Finding | None:
        """What is wrong with a call that is not made yet: its tool is unknown, or its arguments break the contract."""
        names = self.declared if self.declared is not None else self.names
        if names and tool not in names:
            return Finding(
                guard=Guard.UNKNOWN_TOOL,
                step=step,
                scope=f"agent {agent}",
                figure=tool,
                says=f"{agent or 'The agent'} asked for {tool or 'a tool without a name'}, which it does not have.",
            )
        known = self.tool(tool)
        if known is None:
            return None
        if not isinstance(args, dict):
            return self._breaks(step, tool, "", "the arguments are no JSON object")
        broken = known.broken(args)
        return self._breaks(step, tool, *broken) if broken else None

    def after(self, step: int, tool: str, accepted: bool, error_kind: str, error: str) -> Finding | None:
        """Contract drift: the declared contract took the arguments, and the tool did not."""
        known = self.tool(tool)
        if not accepted or known is None or known.schema is None or error_kind not in REJECTED:
            return None
        return Finding(
            guard=Guard.CONTRACT_DRIFT,
            step=step,
            scope=f"tool {tool}",
            figure=error_kind,
            says=f"{tool} rejected arguments that its declared contract accepts: {_line(error)}",
        )

    def _breaks(self, step: int, tool: str, place: str, how: str) -> Finding:
        at = f" at {place}" if place else ""
        return Finding(
            guard=Guard.SCHEMA,
            step=step,
            scope=f"tool {tool}",
            figure=place or "arguments",
            says=f"The arguments of {tool} break its contract{at}: {how}",
        )


def _line(text: str) -> str:
    return " ".join(text.split())[:300] or "it does not say why."
