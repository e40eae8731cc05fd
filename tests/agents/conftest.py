"""A model server a test, and providers that reach it: "local" and "streaming" by one protocol, "claude" and "verse" by
the other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from runs.agents import door, providers
from runs.agents.door import Message, ModelReply, ModelRequest
from runs.agents.endpoints import Endpoint, Kind
from tests.agents.model_server import ModelServer, serving

KEY = "sk-secret-0123456789"
SCHEMA = {
    "type": "object",
    "properties": {"words": {"type": "integer"}},
    "required": ["words"],
    "additionalProperties": False,
}


@pytest.fixture(scope="session", autouse=True)
def _loaded() -> None:
    """Loading takes longer than a lease on a busy machine, and nobody extends leases here."""
    providers._load()


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def endpoints(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, Endpoint]:
    """Registered behind the door for one test."""
    local = Endpoint(
        name="local", kind=Kind.OPENAI, url=f"{server.url}/v1", key=KEY, key_setting="MODEL_KEY_LOCAL"
    )
    claude = replace(
        local, name="claude", kind=Kind.ANTHROPIC, url=server.url, key_setting="MODEL_KEY_CLAUDE"
    )
    mine = (
        local,
        replace(local, name="streaming", stream=True),
        claude,
        replace(claude, name="verse", stream=True),
    )
    monkeypatch.setattr(door, "_providers", dict(door._providers))
    monkeypatch.setattr(providers, "_endpoints", {})
    providers.register(mine)
    return {one.name: one for one in mine}


def request(model: str = "local/tiny", **more: Any) -> ModelRequest:
    return ModelRequest(
        **{
            "model": model,
            "agent": "counter",
            "prompt": "Count the words.",
            "prompt_version": "1",
            "messages": (Message(role="user", text='{"text":"one two three"}'),),
            "output_schema": SCHEMA,
            "seconds_left": 20.0,
            **more,
        }
    )


def asked(model: str = "local/tiny", **more: Any) -> ModelReply:
    """The checked reply to one request."""
    return door.checked(asyncio.run(door.ask(request(model, **more))))
