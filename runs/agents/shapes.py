"""What has to be reshaped between our request and a provider's: names of tools, the output's schema, parameters,
usage that nobody counted. Pure; knows no library.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from runs.agents.door import ModelRequest, Usage
from runs.agents.endpoints import Kind
from runs.errors import DataError

_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST_NAME = 64  # both protocols: ^[a-zA-Z0-9_-]{1,64}$
_OUTPUT = "final_answer"
_WRAPPED = "value"


@dataclass(frozen=True, slots=True)
class Names:
    """Our names of tools and the provider's, which may hold no dots. `output` is the tool that takes the answer."""

    sent: Mapping[str, str]
    output: str

    def ours(self, name: str) -> str:
        """A name from a reply as the agent's tool is called; one that was never sent stays as it is."""
        return next((ours for ours, theirs in self.sent.items() if theirs == name), name)

    def theirs(self, name: str) -> str:
        """A name for the wire, also of a tool that an earlier reply invented."""
        return self.sent.get(name) or _wire_name(name)


def names(request: ModelRequest) -> Names:
    """Names for the wire, each different from the others; the output's collides with no tool."""
    sent: dict[str, str] = {}
    for tool in request.tools:
        sent[tool["name"]] = _free(_wire_name(tool["name"]), sent)
    return Names(sent, _free(_OUTPUT, sent))


def _wire_name(name: str) -> str:
    return _NOT_IN_NAMES.sub("_", name)[:_LONGEST_NAME] or "_"


def _free(name: str, sent: Mapping[str, str]) -> str:
    taken, number, free = set(sent.values()), 1, name
    while free in taken:
        number += 1
        free = f"{name[: _LONGEST_NAME - 4]}_{number}"
    return free


def output_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema as arguments of a tool, which must be an object: anything else is wrapped into one."""
    if schema.get("type") == "object":
        return dict(schema)
    inner = {key: value for key, value in schema.items() if key != "$defs"}
    wrapped = {"type": "object", "properties": {_WRAPPED: inner}, "required": [_WRAPPED]}
    return wrapped | {"$defs": schema["$defs"]} if "$defs" in schema else wrapped


def unwrapped(schema: Mapping[str, Any], output: Any) -> Any:
    """Undo `output_schema` for a value that came back."""
    if schema.get("type") == "object" or not isinstance(output, Mapping) or set(output) != {_WRAPPED}:
        return output
    return output[_WRAPPED]


def read_output(text: str) -> Any:
    """A text as the object it is in JSON, else the text itself, which its contract will refuse."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, (dict, list)) else text


def read_arguments(text: str, tool: str) -> Mapping[str, Any]:
    """The arguments of a tool call. Raises DataError for what is no object in JSON."""
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError) as why:
        raise DataError(f"The arguments of the call to {tool[:80]} are no JSON.", where="tool_calls") from why
    if not isinstance(value, dict):
        raise DataError(f"The arguments of the call to {tool[:80]} are no object.", where="tool_calls")
    return value


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value)


def _effort(value: Any) -> bool:
    return value in ("none", "minimal", "low", "medium", "high", "xhigh")


# our parameter -> what the library calls it, whether a value can be one, who takes it
_PARAMETERS: dict[str, tuple[str, Callable[[Any], bool], tuple[Kind, ...]]] = {
    "temperature": ("temperature", _number, tuple(Kind)),
    "top_p": ("top_p", _number, tuple(Kind)),
    "top_k": ("top_k", _whole, (Kind.ANTHROPIC,)),
    "max_tokens": ("max_tokens", _whole, tuple(Kind)),
    "stop": ("stop_sequences", _texts, tuple(Kind)),
    "seed": ("seed", _whole, (Kind.OPENAI,)),
    "presence_penalty": ("presence_penalty", _number, (Kind.OPENAI,)),
    "frequency_penalty": ("frequency_penalty", _number, (Kind.OPENAI,)),
    "reasoning_effort": ("openai_reasoning_effort", _effort, (Kind.OPENAI,)),
}


def parameters(given: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """The agent's parameters in the library's words. Raises DataError: one that is ignored would be on record as
    obeyed."""
    settings: dict[str, Any] = {}
    for name, value in given.items():
        theirs, fits, kinds = _PARAMETERS.get(name, ("", _number, ()))
        if kind not in kinds:
            known = ", ".join(sorted(one for one, (_, _, takers) in _PARAMETERS.items() if kind in takers))
            raise DataError(
                f"The parameter {name!r} cannot be sent to a provider of kind {kind}: use {known}.",
                where=f"parameters.{name}",
            )
        if not fits(value):
            raise DataError(
                f"The parameter {name!r} cannot be {str(value)[:80]!r}.", where=f"parameters.{name}"
            )
        settings[theirs] = list(value) if isinstance(value, tuple) else value
    return settings


def estimated(request: ModelRequest, reply: str) -> Usage:
    """Usage that the provider did not count: about four characters a token, as for prose, and marked."""
    sent = len(request.prompt) + sum(len(m.text) + _size(m.tool_calls) for m in request.messages)
    sent += sum(_size(tool) for tool in request.tools) + _size(request.output_schema)
    return Usage(tokens_in=sent // 4 + 1, tokens_out=len(reply) // 4 + 1, estimated=True)


def _size(value: Any) -> int:
    return len(json.dumps(value, default=str)) if value else 0
