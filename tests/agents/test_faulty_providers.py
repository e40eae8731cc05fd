"""Providers that fail in every way the network knows: one error of a known class each, after one request."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import resource
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from runs.agents import door, providers
from runs.agents.door import Usage
from runs.agents.endpoints import Endpoint
from runs.errors import DataError, ReasoningError, RecoverableError, StepError, classify
from tests import patience
from tests.agents.conftest import KEY, asked, request
from tests.agents.model_server import ModelServer, Reply, answer, endless, silence, streamed
from tests.agents.replies import (
    OUTPUT,
    chunks,
    claude,
    claude_error,
    claude_events,
    completion,
    error,
    output,
)
from tests.agents.test_replies import BANK

HTML = "<html><body><h1>502 Bad Gateway</h1></body></html>"
LATER = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)


def failed(model: str, **more: Any) -> StepError:
    """The error of a request that must fail, with a class that the engine knows."""
    with pytest.raises(StepError) as raised:
        asked(model, **more)
    return raised.value


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer(429, error("Slow down.", "rate_limit_exceeded")), RecoverableError),
        (answer(408, error("Too slow.")), RecoverableError),
        (answer(409, error("Busy.")), RecoverableError),
        (answer(500, error("Broken.")), RecoverableError),
        (answer(502, HTML, kind="text/html"), RecoverableError),
        (answer(503, error("Overloaded.")), RecoverableError),
        (answer(529, ""), RecoverableError),
        (answer(200, '{"id": "chatcmpl-1", "choices": [{"ind'), RecoverableError),
        (answer(200, HTML, kind="text/html"), RecoverableError),
        (answer(200, HTML), RecoverableError),
        (answer(200, ""), RecoverableError),
        (answer(200, "[]"), RecoverableError),
        (answer(200, "null"), RecoverableError),
        (answer(200, {"choices": []}), RecoverableError),
        (answer(200, {"error": {"message": "upstream is gone"}}), RecoverableError),
        (answer(200, {"choices": [{"message": {"content": 7}}], "usage": "lots"}), RecoverableError),
        (answer(200, completion("")), RecoverableError),
        (answer(200, b"\xff\xfe\x00"), RecoverableError),
        (answer(200, "[" * 100_000), RecoverableError),
        (answer(400, error("Unknown field.")), DataError),
        (answer(404, error("The model `tiny` does not exist.", "model_not_found")), DataError),
        (answer(422, {"detail": [{"msg": "wrong"}]}), DataError),
        (answer(400, error("The response was filtered.", "content_filter")), ReasoningError),
        (answer(200, completion("", finish="content_filter")), ReasoningError),
        (answer(200, completion(refusal="I will not do that.")), ReasoningError),
        (answer(200, output('{"wor', finish="length")), DataError),
        (answer(200, completion(calls=[("bank_pay", "{broken")])), DataError),
        (answer(200, completion(calls=[("bank_pay", "[1]")])), DataError),
        (answer(200, completion(calls=[(OUTPUT, {"words": 1}), (OUTPUT, {"words": 2})])), DataError),
    ],
)
def test_each_failure_has_its_class_and_is_asked_once(
    server: ModelServer, reply: Reply, kind: type[StepError]
) -> None:
    server.says(reply)
    wrong = failed("local/tiny", tools=(BANK,))
    assert type(wrong) is kind, wrong
    assert wrong.message
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer(429, claude_error("rate_limit_error", "Slow down.")), RecoverableError),
        (answer(529, claude_error("overloaded_error", "Overloaded.")), RecoverableError),
        (answer(500, claude_error("api_error", "Broken.")), RecoverableError),
        (answer(200, HTML, kind="text/html"), RecoverableError),
        (answer(200, "{"), RecoverableError),
        (answer(200, {}), RecoverableError),
        (answer(400, claude_error("invalid_request_error", "max_tokens: too large")), DataError),
        (answer(200, claude("No.", stop="refusal")), ReasoningError),
        (answer(200, claude("Thr", stop="max_tokens")), DataError),
    ],
)
def test_each_failure_of_the_other_protocol_has_its_class_and_is_asked_once(
    server: ModelServer, reply: Reply, kind: type[StepError]
) -> None:
    server.says(reply)
    wrong = failed("claude/tiny")
    assert type(wrong) is kind, wrong
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"Retry-After": "7"}, 7.0, 7.0),
        ({"Retry-After": LATER}, 3600.0, 7200.0),  # made when the tests were collected
        ({"retry-after-ms": "1500", "Retry-After": "2"}, 1.5, 1.5),
    ],
)
@pytest.mark.parametrize("provider", ["local", "claude"])
def test_what_the_provider_asks_to_wait_is_handed_on(
    server: ModelServer, provider: str, headers: dict[str, str], least: float, most: float
) -> None:
    server.says(answer(429, error("Slow down."), headers))
    asked_for = failed(f"{provider}/tiny").retry_after
    assert asked_for is not None
    assert least <= asked_for <= most
    assert len(server.seen) == 1


@pytest.mark.parametrize(("status", "provider"), [(401, "local"), (403, "local"), (401, "claude")])
def test_a_wrong_key_names_the_setting_and_goes_to_a_person(
    server: ModelServer, status: int, provider: str
) -> None:
    server.says(answer(status, error(f"Incorrect API key provided: {KEY}.", "invalid_api_key")))
    wrong = failed(f"{provider}/tiny")
    assert f"MODEL_KEY_{provider.upper()}" in wrong.message
    assert classify(wrong) == "unforeseen"
    assert KEY not in wrong.message


def test_used_up_credit_is_not_tried_again(server: ModelServer) -> None:
    server.says(answer(429, error("You exceeded your current quota.", "insufficient_quota")))
    assert classify(failed("local/tiny")) == "unforeseen"


@pytest.mark.parametrize(
    ("provider", "reply"),
    [
        (
            "local",
            answer(400, error("This model's maximum context length is 8192.", "context_length_exceeded")),
        ),
        ("local", answer(400, error("the request exceeds the available context size (4096 tokens)"))),
        ("claude", answer(400, claude_error("invalid_request_error", "prompt is too long: 210000 tokens"))),
        ("local", answer(413, "")),
    ],
)
def test_too_long_a_context_is_told_apart(server: ModelServer, provider: str, reply: Reply) -> None:
    server.says(reply)
    wrong = failed(f"{provider}/tiny")
    assert (type(wrong), wrong.where) == (DataError, "context")


def test_a_redirect_is_not_followed_and_takes_no_key_elsewhere(server: ModelServer) -> None:
    server.says(answer(307, "", {"Location": f"{server.url}/elsewhere"}))
    assert "MODEL_PROVIDERS" in failed("local/tiny").message
    assert [seen.path for seen in server.seen] == ["/v1/chat/completions"]


def test_a_provider_that_is_not_there_is_recoverable(endpoints: dict[str, Endpoint]) -> None:
    with socket.socket() as free:  # bound, and nobody listens
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        providers.register([replace(endpoints["local"], url=nowhere)])
        wrong = failed("local/tiny")
    assert type(wrong) is RecoverableError
    assert "could not be reached" in wrong.message


@pytest.mark.parametrize(
    ("provider", "reply"),
    [
        ("streaming", streamed(chunks("One, two, three.", finish="", done=False), ends="cut")),
        ("streaming", streamed(chunks("One, two, three.", finish="", done=False, usage=None), ends="early")),
        (
            "streaming",
            streamed(chunks(calls=[(OUTPUT, {"words": 3})], finish="", done=False)[:6], ends="cut"),
        ),
        ("streaming", streamed([*chunks("One")[:2], 'data: {"error": {"message": "overloaded"}}\n\n'])),
        ("streaming", streamed([*chunks("One")[:2], "data: {broken\n\n"])),
        ("streaming", streamed([], ends="early")),
        ("verse", streamed(claude_events(OUTPUT, {"words": 3}, ends=False), ends="cut")),
        ("verse", streamed(claude_events(OUTPUT, {"words": 3}, ends=False), ends="early")),
        ("local", streamed([], ends="cut")),
    ],
)
def test_an_answer_that_breaks_off_is_recoverable(server: ModelServer, provider: str, reply: Reply) -> None:
    server.says(reply)
    assert type(failed(f"{provider}/tiny")) is RecoverableError
    assert len(server.seen) == 1


@pytest.mark.parametrize("provider", ["local", "streaming", "claude", "verse"])
def test_a_call_that_never_returns_ends_with_its_time(server: ModelServer, provider: str) -> None:
    events = chunks("One")[:2] if provider == "streaming" else claude_events(OUTPUT, {}, ends=False)[:1]
    server.says(silence if provider in ("local", "claude") else streamed(events, ends="never"))
    wrong = patience.ends(lambda: failed(f"{provider}/tiny", seconds_left=3.0))
    assert type(wrong) is RecoverableError
    assert "in time" in wrong.message
    assert server.seen[0].gone.wait(patience.SECONDS)


@pytest.mark.parametrize("provider", ["local", "streaming"])
def test_a_body_without_end_is_refused_in_bounded_memory(server: ModelServer, provider: str) -> None:
    server.says(endless())
    wrong = failed(f"{provider}/tiny")
    assert (type(wrong), wrong.where) == (DataError, "reply")
    assert server.seen[0].gone.wait(patience.SECONDS)
    assert server.seen[0].sent < 100_000_000


def test_a_compressed_bomb_is_refused_unread(server: ModelServer) -> None:
    bomb = gzip.compress(b" " * 100_000_000)
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    server.says(answer(200, bomb, {"Content-Encoding": "gzip"}))
    assert type(failed("local/tiny")) is DataError
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_a_reply_over_the_door_s_own_limit_is_refused(server: ModelServer) -> None:
    server.says(answer(200, output({"words": "x" * (door.LARGEST_BYTES + 1)})))
    assert failed("local/tiny").where == "reply"


@pytest.mark.parametrize(
    "reply",
    [
        answer(200, output('{"wor', finish="length")),
        answer(200, completion(refusal="I will not do that.")),
        answer(200, completion(calls=[("bank_pay", "{broken")])),
    ],
)
def test_a_useless_reply_says_what_it_used(server: ModelServer, reply: Reply) -> None:
    server.says(reply)
    assert failed("local/tiny", tools=(BANK,)).usage == Usage(tokens_in=120, tokens_out=30)


@pytest.mark.parametrize(
    "parameters", [{"logit_bias": {}}, {"top_k": 5}, {"temperature": "hot"}, {"seed": True}]
)
def test_a_parameter_that_cannot_be_sent_is_refused_before_anything_is(
    server: ModelServer, parameters: dict[str, Any]
) -> None:
    assert failed("local/tiny", parameters=parameters).where.startswith("parameters.")
    assert server.seen == []


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
@pytest.mark.parametrize("provider", ["local", "claude"])
def test_no_error_holds_a_key_or_a_page_of_text(server: ModelServer, provider: str, status: int) -> None:
    words = f"Authorization: Bearer {KEY} \x00 " + "blah " * 1000
    server.says(answer(status, error(words), {"x-echo": KEY}))
    wrong = failed(f"{provider}/tiny")
    assert KEY not in repr(wrong)
    assert len(wrong.message) < 600
    assert wrong.__cause__ is None
    assert wrong.__suppress_context__


def test_cancelling_the_task_closes_the_connection(server: ModelServer) -> None:
    server.says(silence)

    async def cancelled() -> None:
        task = asyncio.create_task(_ask("claude/tiny"))
        await asyncio.to_thread(server.asked.wait, patience.SECONDS)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert server.seen[0].gone.wait(patience.SECONDS)


async def _ask(model: str) -> None:
    await door.ask(request(model))


def test_many_calls_wait_at_once(server: ModelServer) -> None:
    server.says(answer(body=json.dumps(output({"words": 3}))))

    async def many() -> None:
        await asyncio.gather(*(_ask("local/tiny") for _ in range(40)))

    asyncio.run(many())
    assert len(server.seen) == 40
