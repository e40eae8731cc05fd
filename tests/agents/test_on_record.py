"""Requests and replies on record: the key of a call is made of them, so a run that waits finds its calls again."""

from __future__ import annotations

from dataclasses import asdict, fields, replace

from runs.agents.door import Message, ModelReply, ModelRequest, ToolCall, Usage, reply_data, request_data
from runs.canonical import canonical

CALL = ToolCall(id="c1", name="look", arguments={"name": "lamp", "deep": {"of": [1, 2.5, None, True]}})
REQUEST = ModelRequest(
    model="simulated/small",
    agent="writer",
    prompt="Write.",
    prompt_version="3",
    messages=(
        Message(role="user", text="{}"),
        Message(role="assistant", text="I look", tool_calls=(CALL,)),
        Message(role="tool", text="{}", call_id="c1"),
    ),
    tools=({"name": "look", "description": "Looks", "parameters": {"type": "object"}},),
    output_schema={"type": "object"},
    parameters={"max_tokens": 10},
    seconds_left=7.5,
)
REPLY = ModelReply(
    model="small-2",
    text="yes",
    tool_calls=(CALL,),
    output={"a": [1]},
    usage=Usage(tokens_in=5, tokens_out=6, cached_in=2, estimated=True),
)


def test_every_part_of_a_request_is_on_record_but_the_time_that_was_left() -> None:
    assert canonical(request_data(REQUEST)) == canonical(asdict(replace(REQUEST, seconds_left=0)))
    assert set(request_data(REQUEST)) == {field.name for field in fields(ModelRequest)}


def test_every_part_of_a_reply_is_on_record() -> None:
    assert canonical(reply_data(REPLY)) == canonical(asdict(REPLY))
