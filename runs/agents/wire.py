"""One request to one model over HTTP, through pydantic_ai's direct requests. The only module that imports it.

Sends once: the client libraries' own retries are off, redirects are not followed, and every call has a connection of
its own, so that none fails on a line that went dead while it was idle. Decides nothing about what follows an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import anthropic
import httpx2
import openai
from pydantic_ai import direct, exceptions
from pydantic_ai import messages as parts
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from runs.agents import faults, shapes
from runs.agents.door import LARGEST_BYTES, Message, ModelReply, ModelRequest, ToolCall, Usage
from runs.agents.endpoints import Endpoint, Kind
from runs.agents.faults import Fault
from runs.errors import DataError, StepError

CONNECT_SECONDS = 10.0
EARLY_SECONDS = 0.05  # before the engine's own time-out of the same length, which could not say who was late
LARGEST_BODY = 2 * LARGEST_BYTES  # of a reply in one piece: room for escapes
LARGEST_STREAM = 16 * LARGEST_BYTES  # of a stream, where a few letters come in 200 bytes and more
MAX_TOKENS = 4096  # of a reply, where the protocol demands a limit (Anthropic) and the agent states none


async def send(endpoint: Endpoint, request: ModelRequest) -> ModelReply:
    """The reply to one request, sent once, within `request.seconds_left`.

    Raises errors of `runs.errors`; what came of a useless reply is in their `usage`. Cancelling closes the connection.
    """
    names = shapes.names(request)
    asked = _asked(request, names)
    settings = _settings(endpoint, request)
    try:
        async with asyncio.timeout(max(request.seconds_left - EARLY_SECONDS, 0.001)):
            async with _client(endpoint) as http:
                model = _model(endpoint, request.model.partition("/")[2], http)
                response = await _exchange(model, asked, settings, _expected(request, names), endpoint.stream)
    except Exception as error:
        # Without its cause: a traceback of the libraries may show headers.
        raise _error(endpoint, _fault(error, endpoint)) from None
    try:
        return _reply(endpoint, request, names, response)
    except StepError:
        raise
    except Exception as error:  # the libraries check a stream's values less than a whole body's
        fault = Fault(kind=faults.Kind.UNREADABLE, words=endpoint.hidden(str(error)))
        raise _error(endpoint, fault) from None


def warm() -> None:
    """Import and build what the first request would otherwise wait for, with the loop of all calls."""
    _tls()
    for kind in Kind:
        endpoint = Endpoint(name="warm", kind=kind, url="http://127.0.0.1:1", key="none")
        _model(endpoint, "none", httpx2.AsyncClient(verify=_tls()))


@functools.cache
def _tls() -> ssl.SSLContext:
    """Reading the certificates takes 20 ms: once a process."""
    return httpx2.create_ssl_context()


@contextlib.asynccontextmanager
async def _client(endpoint: Endpoint) -> AsyncIterator[httpx2.AsyncClient]:
    limit = LARGEST_STREAM if endpoint.stream else LARGEST_BODY

    async def bound(response: httpx2.Response) -> None:
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise _Large("compressed, though that was not asked for")
        response.stream = _Bounded(response.stream, limit)

    async with httpx2.AsyncClient(
        verify=_tls(),
        timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
        # Plain, so that what is counted is what will be in memory.
        headers={"Accept-Encoding": "identity"},
        event_hooks={"response": [bound]},
    ) as http:
        yield http


class _Large(Exception):
    """More than is taken."""


class _Bounded(httpx2.AsyncByteStream):
    """A body that ends with an error where it grows beyond what is taken."""

    def __init__(self, stream: Any, limit: int) -> None:
        self._stream = stream
        self._left = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            self._left -= len(piece)
            if self._left < 0:
                raise _Large("its body does not end")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


def _model(endpoint: Endpoint, name: str, http: httpx2.AsyncClient) -> Model[Any]:
    """The library's model; building one with its client takes 0.2 ms."""
    key = endpoint.key or "none"
    if endpoint.kind is Kind.ANTHROPIC:
        claude = anthropic.AsyncAnthropic(
            api_key=key,
            base_url=endpoint.url,
            http_client=http,
            max_retries=0,
            # The client sends the key as a bearer token; gateways may know only the older header.
            default_headers={} if endpoint.official else {"X-Api-Key": key},
        )
        return AnthropicModel(name, provider=AnthropicProvider(anthropic_client=claude))
    client = openai.AsyncOpenAI(api_key=key, base_url=endpoint.url, http_client=http, max_retries=0)
    strict = OpenAIModelProfile(openai_chat_streaming_requires_finish_reason=True)
    if endpoint.official:
        return OpenAIChatModel(name, provider=OpenAIProvider(openai_client=client), profile=strict)
    # Everybody but OpenAI itself knows the older word, max_tokens.
    profile = strict | OpenAIModelProfile(openai_chat_supports_max_completion_tokens=False)
    provider = OpenAICompatibleProvider(endpoint.name, openai_client=client)
    return OpenAIChatModel(name, provider=provider, profile=profile)


def _settings(endpoint: Endpoint, request: ModelRequest) -> ModelSettings:
    given = shapes.parameters(request.parameters, endpoint.kind)
    if endpoint.kind is Kind.ANTHROPIC:
        given.setdefault("max_tokens", MAX_TOKENS)
    settings: ModelSettings = {"max_retries": 0, "framing_announcement": "never"}
    settings.update(given)  # type: ignore[typeddict-item]  # names and kinds are checked by shapes.parameters
    return settings


def _expected(request: ModelRequest, names: shapes.Names) -> ModelRequestParameters:
    """Tools, and the output as one more tool; then the model must call one of them."""
    tools = [
        ToolDefinition(
            name=names.sent[tool["name"]],
            description=tool.get("description") or None,
            parameters_json_schema=dict(tool["parameters"]),
        )
        for tool in request.tools
    ]
    instructions = [parts.InstructionPart(content=request.prompt)] if request.prompt else []
    if not request.output_schema:
        return ModelRequestParameters(function_tools=tools, instruction_parts=instructions)
    output = ToolDefinition(
        name=names.output,
        description="Give your final answer. It ends your work.",
        parameters_json_schema=shapes.output_schema(request.output_schema),
        kind="output",
    )
    return ModelRequestParameters(
        function_tools=tools,
        output_mode="tool",
        output_tools=[output],
        allow_text_output=False,
        instruction_parts=instructions,
    )


def _asked(request: ModelRequest, names: shapes.Names) -> list[parts.ModelMessage]:
    """The conversation in the library's parts. Raises DataError for a result of a call that nobody made."""
    called: dict[str, str] = {}
    asked: list[parts.ModelMessage] = []
    for message in request.messages:
        match message.role:
            case "assistant":
                called |= {call.id: names.theirs(call.name) for call in message.tool_calls}
                asked.append(parts.ModelResponse(parts=list(_said(message, names))))
            case "user":
                _add(asked, parts.UserPromptPart(content=message.text))
            case "tool" if message.call_id in called:
                result = parts.ToolReturnPart(
                    tool_name=called[message.call_id], content=message.text, tool_call_id=message.call_id
                )
                _add(asked, result)
            case _:
                raise DataError(f"A message of role {message.role!r} fits nowhere here.", where="messages")
    return asked


def _said(message: Message, names: shapes.Names) -> Iterator[parts.ModelResponsePart]:
    if message.text:
        yield parts.TextPart(content=message.text)
    for call in message.tool_calls:
        yield parts.ToolCallPart(
            tool_name=names.theirs(call.name), args=dict(call.arguments), tool_call_id=call.id
        )


def _add(asked: list[parts.ModelMessage], part: parts.UserPromptPart | parts.ToolReturnPart) -> None:
    """What is said to the model between two of its replies is one message."""
    if asked and isinstance(asked[-1], parts.ModelRequest):
        asked[-1] = parts.ModelRequest(parts=[*asked[-1].parts, part])
    else:
        asked.append(parts.ModelRequest(parts=[part]))


async def _exchange(
    model: Model[Any],
    asked: list[parts.ModelMessage],
    settings: ModelSettings,
    expected: ModelRequestParameters,
    stream: bool,
) -> parts.ModelResponse:
    if not stream:
        return await direct.model_request(
            model, asked, model_settings=settings, model_request_parameters=expected, instrument=False
        )
    async with direct.model_request_stream(
        model, asked, model_settings=settings, model_request_parameters=expected, instrument=False
    ) as pieces:
        async for _ in pieces:
            pass
    response = pieces.get()
    if response.finish_reason is None:
        raise _CutStream("the stream ended before the reply did")
    return response


class _CutStream(Exception):
    """A stream that ended in order, but before its reply had ended."""


def _reply(
    endpoint: Endpoint, request: ModelRequest, names: shapes.Names, response: parts.ModelResponse
) -> ModelReply:
    """The response in our words. Tool calls go first: an output beside them was made without their results.

    Such an output stays on record and is not used; the model is asked again. Raises StepError with `usage`.
    """
    words = endpoint.hidden(response.text or "")
    calls = [part for part in response.parts if isinstance(part, parts.ToolCallPart)]
    usage = _usage(request, response, words + "".join(map(_raw, calls)))
    try:
        _check_ended(endpoint, response, words, calls)
        answers = [_output(endpoint, request, part) for part in calls if part.tool_name == names.output]
        if len(answers) > 1:
            raise DataError(f"The reply gives {len(answers)} final answers: give one.", where="output")
        asked = tuple(_call(endpoint, names, part) for part in calls if part.tool_name != names.output)
    except StepError as error:
        error.usage = usage
        raise
    output = answers[0] if answers else _spoken(request, words)
    return ModelReply(
        model=endpoint.hidden(response.model_name or request.model.partition("/")[2]),
        text=words,
        tool_calls=asked,
        output=output if answers or not asked else None,
        usage=usage,
    )


def _check_ended(
    endpoint: Endpoint, response: parts.ModelResponse, words: str, calls: list[parts.ToolCallPart]
) -> None:
    if response.finish_reason == "content_filter":
        details = response.provider_details or {}
        refusal = endpoint.hidden(str(details.get("refusal") or words))
        raise _error(endpoint, Fault(kind=faults.Kind.REFUSAL, words=refusal))
    if response.finish_reason == "length":
        raise _error(endpoint, Fault(kind=faults.Kind.LENGTH))
    if not words and not calls:
        raise _error(endpoint, Fault(kind=faults.Kind.UNREADABLE, words="it holds no text and no call"))


def _raw(part: parts.ToolCallPart) -> str:
    """The arguments as the provider sent them; the library's own text hides what is no JSON."""
    return part.args if isinstance(part.args, str) else json.dumps(part.args or {})


def _output(endpoint: Endpoint, request: ModelRequest, part: parts.ToolCallPart) -> Any:
    value = shapes.read_output(endpoint.hidden(_raw(part)))
    return shapes.unwrapped(request.output_schema, value)


def _spoken(request: ModelRequest, words: str) -> Any:
    """A text where an output was asked for may be that output all the same."""
    return (
        shapes.unwrapped(request.output_schema, shapes.read_output(words)) if request.output_schema else words
    )


def _call(endpoint: Endpoint, names: shapes.Names, part: parts.ToolCallPart) -> ToolCall:
    name = names.ours(endpoint.hidden(part.tool_name))
    arguments = shapes.read_arguments(endpoint.hidden(_raw(part)), name)
    return ToolCall(id=endpoint.hidden(part.tool_call_id), name=name, arguments=arguments)


def _usage(request: ModelRequest, response: parts.ModelResponse, said: str) -> Usage:
    """As the provider counted, or estimated where it did not: a reply is never free by silence."""
    counted = response.usage
    if counted.unmeasured_requests or not counted.input_tokens:
        return shapes.estimated(request, said)
    return Usage(
        tokens_in=counted.input_tokens,
        tokens_out=counted.output_tokens,
        cached_in=min(counted.cache_read_tokens, counted.input_tokens),
    )


def _error(endpoint: Endpoint, fault: Fault | StepError) -> StepError:
    if isinstance(fault, StepError):
        return fault
    return faults.error_of(fault, provider=endpoint.name, setting=endpoint.key_setting, now=datetime.now(UTC))


def _fault(error: Exception, endpoint: Endpoint) -> Fault | StepError:
    """What happened, in our words, from whatever the libraries raised."""
    chain = list(_chain(error))
    large = next((one for one in chain if isinstance(one, _Large)), None)
    if isinstance(error, StepError):
        return error
    if large is not None:
        return Fault(kind=faults.Kind.LARGE, words=str(large))
    if isinstance(error, exceptions.UserError):
        return DataError(f"The request cannot be sent: {endpoint.hidden(str(error))[:300]}", where="request")
    status = next((one for one in chain if getattr(one, "status_code", 0) >= 300), None)
    if status is not None:
        return _status(status, chain, endpoint)
    words = endpoint.hidden(str(error))
    if isinstance(error, (TimeoutError, exceptions.ModelTimeoutError)):
        return Fault(kind=faults.Kind.TIMEOUT, words=words)
    if _broke_off(chain):
        return Fault(kind=faults.Kind.CUT, words=words)
    if isinstance(error, exceptions.ModelConnectionError):
        return Fault(kind=faults.Kind.CONNECTION, words=words)
    return Fault(kind=faults.Kind.UNREADABLE, words=words)


def _broke_off(chain: list[BaseException]) -> bool:
    torn = (_CutStream, httpx2.ReadError, httpx2.RemoteProtocolError)
    return any(isinstance(one, torn) for one in chain) or "finish_reason" in str(chain[0])


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _status(error: Any, chain: list[BaseException], endpoint: Endpoint) -> Fault:
    headers = getattr(error, "headers", None) or getattr(getattr(error, "response", None), "headers", None)
    code = getattr(error, "provider_error_code", None) or getattr(error, "provider_error_type", None)
    if any(isinstance(one, exceptions.ModelContextWindowExceededError) for one in chain):
        code = "context_length_exceeded"
    return Fault(
        kind=faults.Kind.STATUS,
        status=error.status_code,
        code=str(code or ""),
        words=endpoint.hidden(_words(getattr(error, "body", None))),
        headers={name.lower(): value for name, value in dict(headers or {}).items()},
    )


def _words(body: Any) -> str:
    """The sentence in an error's body, wherever the provider puts it."""
    inner = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(inner, dict):
        inner = inner.get("message") or json.dumps(inner, default=str)
    return inner if isinstance(inner, str) else ""
