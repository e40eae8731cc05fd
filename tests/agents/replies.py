"""What the two protocols look like on the wire: bodies and events for the model server. Written from their public
references; the model ids are invented."""

from __future__ import annotations

import json
from typing import Any

MODEL = "tiny-2026-11-01"
OUTPUT = "final_answer"
Calls = list[tuple[str, Any]]


def completion(
    text: str | None = None,
    calls: Calls | None = None,
    *,
    finish: str = "",
    usage: Any = (120, 30),
    **more: Any,
) -> dict[str, Any]:
    """A chat completion. A call's arguments may be given as text, to break them."""
    message: dict[str, Any] = {"role": "assistant", "content": text, **more}
    if calls:
        message["tool_calls"] = [_openai_call(place, *call) for place, call in enumerate(calls)]
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1763700000,
        "model": MODEL,
        "choices": [
            {"index": 0, "message": message, "finish_reason": finish or ("tool_calls" if calls else "stop")}
        ],
    }
    return body | ({"usage": _openai_usage(*usage)} if usage else {})


def output(value: Any, **more: Any) -> dict[str, Any]:
    """A completion that gives the final answer."""
    return completion(calls=[(OUTPUT, value)], **more)


def chunks(
    text: str = "",
    calls: Calls | None = None,
    *,
    usage: Any = (120, 30),
    finish: str = "stop",
    done: bool = True,
) -> list[str]:
    """The same as server-sent events, in pieces of three letters."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": text[at : at + 3]} for at in range(0, len(text), 3)]
    for place, (name, arguments) in enumerate(calls or []):
        start = _openai_call(place, name, "") | {"index": place}
        whole = arguments if isinstance(arguments, str) else json.dumps(arguments)
        deltas.append({"tool_calls": [start]})
        deltas += [
            {"tool_calls": [{"index": place, "function": {"arguments": whole[at : at + 3]}}]}
            for at in range(0, len(whole), 3)
        ]
    events = [_chunk([{"index": 0, "delta": delta, "finish_reason": None}]) for delta in deltas]
    if finish:
        events.append(_chunk([{"index": 0, "delta": {}, "finish_reason": finish}]))
    if usage:
        events.append(_chunk([], usage=_openai_usage(*usage)))
    return [*events, "data: [DONE]\n\n"] if done else events


def _chunk(choices: list[Any], **more: Any) -> str:
    body = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1763700000,
        "model": MODEL,
        "choices": choices,
    }
    return f"data: {json.dumps(body | more)}\n\n"


def _openai_call(place: int, name: str, arguments: Any) -> dict[str, Any]:
    whole = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": f"call_{place}", "type": "function", "function": {"name": name, "arguments": whole}}


def _openai_usage(tokens_in: int, tokens_out: int, cached: int = 0) -> dict[str, Any]:
    return {
        "prompt_tokens": tokens_in,
        "completion_tokens": tokens_out,
        "total_tokens": tokens_in + tokens_out,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def error(message: str, code: str = "", kind: str = "invalid_request_error") -> dict[str, Any]:
    """An OpenAI error."""
    return {"error": {"message": message, "type": kind, "code": code or None, "param": None}}


def claude(text: str = "", calls: Calls | None = None, *, stop: str = "") -> dict[str, Any]:
    """An Anthropic message."""
    content: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    content += [
        {"type": "tool_use", "id": f"toolu_{place}", "name": name, "input": arguments}
        for place, (name, arguments) in enumerate(calls or [])
    ]
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": content,
        "stop_reason": stop or ("tool_use" if calls else "end_turn"),
        "stop_sequence": None,
        "usage": {"input_tokens": 120, "output_tokens": 30},
    }


def claude_events(name: str, arguments: Any, *, ends: bool = True) -> list[str]:
    """An Anthropic stream with one tool call."""
    whole = json.dumps(arguments)
    start = claude() | {
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": 120, "output_tokens": 1},
    }
    block = {"type": "tool_use", "id": "toolu_0", "name": name, "input": {}}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": block},
    ]
    events += [
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "input_json_delta", "partial_json": whole[at : at + 3]},
        }
        for at in range(0, len(whole), 3)
    ]
    if ends:
        events += [
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "tool_use", "stop_sequence": None},
                "usage": {"output_tokens": 30},
            },
            {"type": "message_stop"},
        ]
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]


def claude_error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}
