"""A call's name and arguments against what the tool's owner declares, before it is made; the tool's no, after.

Strict: an argument that the contract does not name breaks it, and nothing is turned into what it should have been.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError

from pydantic import BaseModel, ValidationError

from runs.canonical import plain, told
from runs.errors import ContractBroken, DataError, broken
from runs.guards.findings import Finding, Guard
from runs.recorded.toolsets import Declared, Tools

UNPROCESSABLE = 422  # what was sent is understood, and not taken
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


def refusing(contract: type[BaseModel], given: Any, error: BaseException) -> str | None:
    """What an error says against arguments that were given; None for one that may be about anything else.

    About the arguments is a ContractBroken, a DataError whose `where` is one of them, an answer 422, and a
    ValidationError about a value that was given, where it was given: one about what the tool read is its own.
    """
    for one in (error, error.__cause__):
        match one:
            case ContractBroken():
                return one.message
            case DataError() if (
                one.where.removeprefix("arguments.").partition(".")[0] in contract.model_fields
            ):
                return one.message
            case ValidationError() if any(
                _was_given(wrong, given) for wrong in one.errors(include_url=False)
            ):
                return broken(one, "arguments").message
            case BaseException() if UNPROCESSABLE in (_status(one), _status(getattr(one, "response", None))):
                return told(error)
    return None


def _was_given(wrong: Mapping[str, Any], given: Any) -> bool:
    """Whether a wrong value stands among the arguments at its place; of a missing one, what it is missing in."""
    value = given
    place = wrong["loc"][:-1] if wrong["type"] == "missing" else wrong["loc"]
    for part in place:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return False
    try:
        return bool(value == plain(wrong["input"]))
    except (TypeError, ValueError):  # no data, so nothing that was given
        return False


def _status(answer: object) -> object:
    """The status of an answer over HTTP, as clients name it."""
    return getattr(answer, "status_code", None) or (answer.code if isinstance(answer, HTTPError) else None)


def _line(text: str) -> str:
    return " ".join(text.split())[:300] or "it does not say why."
