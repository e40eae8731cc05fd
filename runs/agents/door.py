"""The one door to models: a request goes in, a validated-shape reply comes out. Never decides what follows.

A provider is an async function registered under the first part of the model's name ("simulated/extractor-1").
The engine owns the loop around it, so that every call is permitted, recorded and replayed on its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runs.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call the model asks for. `arguments` is untrusted until validated."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One entry of the conversation. role: user, assistant, tool (with `call_id`)."""

    role: str
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    call_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens as the provider counted them."""

    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """Everything that is sent. The first message is the step's input as JSON text."""

    model: str
    agent: str
    prompt: str
    prompt_version: str
    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()  # name, description, parameters (JSON Schema)
    output_schema: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seconds_left: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReply:
    """What came back: either tool calls, or an `output` (untrusted), with the model's own words in `text`."""

    model: str  # the id the provider returned, which may differ from the one asked for
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    output: Any = None
    usage: Usage = field(default_factory=Usage)


Provider = Callable[[ModelRequest], Awaitable[ModelReply]]
_providers: dict[str, Provider] = {}


def register(name: str, provider: Provider) -> None:
    _providers[name] = provider


async def ask(request: ModelRequest) -> ModelReply:
    """Send one request. Raises RecoverableError, DataError, or whatever the provider did not foresee."""
    name = request.model.partition("/")[0]
    provider = _providers.get(name)
    if provider is None:
        raise DataError(
            f"No provider named {name!r}: model {request.model!r} cannot be asked.", where="model"
        )
    return await provider(request)


def known(name: str) -> bool:
    """Whether a provider of that name is registered."""
    return name in _providers


def names() -> list[str]:
    return sorted(_providers)
