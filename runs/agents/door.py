"""The one door to models: a request goes in, a validated-shape reply comes out. Never decides what follows.

A provider is an async function registered under the first part of the model's name ("simulated/extractor-1").
The engine owns the loop around it, so that every call is permitted, recorded and replayed on its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runs.canonical import SPARE, canonical, told
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
    """Tokens as the provider counted them; `estimated` where it did not. `cached_in` is the part of `tokens_in`
    that the provider had kept from an earlier request and may charge less for."""

    tokens_in: int = 0
    tokens_out: int = 0
    cached_in: int = 0
    estimated: bool = False


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


def request_data(request: ModelRequest) -> dict[str, Any]:
    """A request as it stands on record: all of it but the time that was left, which differs each time."""
    return {
        "model": request.model,
        "agent": request.agent,
        "prompt": request.prompt,
        "prompt_version": request.prompt_version,
        "messages": [_message_data(one) for one in request.messages],
        "tools": request.tools,
        "output_schema": request.output_schema,
        "parameters": request.parameters,
        "seconds_left": 0,
    }


def reply_data(reply: ModelReply) -> dict[str, Any]:
    """A reply as it stands on record."""
    usage = reply.usage
    return {
        "model": reply.model,
        "text": reply.text,
        "tool_calls": [_call_data(one) for one in reply.tool_calls],
        "output": reply.output,
        "usage": {
            "tokens_in": usage.tokens_in,
            "tokens_out": usage.tokens_out,
            "cached_in": usage.cached_in,
            "estimated": usage.estimated,
        },
    }


def _message_data(one: Message) -> dict[str, Any]:
    calls = [_call_data(call) for call in one.tool_calls]
    return {"role": one.role, "text": one.text, "tool_calls": calls, "call_id": one.call_id}


def _call_data(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "name": call.name, "arguments": call.arguments}


MOST_CALLS = 32  # tool calls in one reply: more than anybody could follow
LARGEST_BYTES = 4_000_000  # of one reply as JSON: room for an output of a megabyte, escaped
_MOST_TOKENS = 2**31 - 1


def checked(reply: object) -> ModelReply:
    """A provider's reply, if it is one. Raises DataError for everything else: what a provider gives is data too."""
    if not isinstance(reply, ModelReply):
        raise DataError(f"The provider gave a {type(reply).__name__} for a reply.", where="reply")
    if not (isinstance(reply.model, str) and isinstance(reply.text, str)):
        raise DataError("The provider's model and text are not both texts.", where="reply")
    _check_calls(reply.tool_calls)
    if usage_of(reply) is None:
        raise DataError("The provider's usage is not two numbers of tokens.", where="usage")
    try:
        size = len(canonical(reply_data(reply), spare=SPARE))
    except (ValueError, TypeError, RecursionError) as why:
        raise DataError(f"The reply cannot be kept as JSON: {told(why)}.", where="reply") from why
    if size > LARGEST_BYTES:
        raise DataError(f"The reply has {size:,} characters; {LARGEST_BYTES:,} are taken.", where="reply")
    return reply


def _check_calls(asked: object) -> None:
    if not isinstance(asked, (tuple, list)) or not all(isinstance(one, ToolCall) for one in asked):
        raise DataError("The provider's tool calls are not a list of tool calls.", where="tool_calls")
    if not all(isinstance(one.id, str) and isinstance(one.name, str) for one in asked):
        raise DataError("A tool call's id and name are not both texts.", where="tool_calls")
    if len(asked) > MOST_CALLS:
        raise DataError(
            f"{len(asked)} tool calls in one reply; at most {MOST_CALLS} are.", where="tool_calls"
        )


def usage_of(reply: object) -> Usage | None:
    """What a reply says was used, even one that is useless otherwise; None when it says nothing that counts."""
    usage = getattr(reply, "usage", None)
    if not isinstance(usage, Usage):
        return None
    counts = (usage.tokens_in, usage.tokens_out, usage.cached_in)
    if not all(type(one) is int and 0 <= one <= _MOST_TOKENS for one in counts):
        return None
    return usage if usage.cached_in <= usage.tokens_in and type(usage.estimated) is bool else None


Provider = Callable[[ModelRequest], Awaitable[ModelReply]]
_providers: dict[str, Provider] = {}


def register(name: str, provider: Provider) -> None:
    _providers[name] = provider


async def ask(request: ModelRequest) -> ModelReply:
    """Send one request; the reply is not `checked` yet. Raises whatever the provider raises, DataError without one."""
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
