"""Registers the providers of real models that the settings name. Sends nothing itself: that is `wire`.

`wire` imports pydantic_ai, which takes seconds and tens of megabytes. Every process registers the names (a
definition is checked against them); only one that asks a model loads it, in a thread, so that other calls go on.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Iterable
from functools import partial
from types import ModuleType

from runs.agents import door
from runs.agents.door import ModelReply, ModelRequest
from runs.agents.endpoints import Endpoint

_endpoints: dict[str, Endpoint] = {}
_wire: ModuleType | None = None


def register(endpoints: Iterable[Endpoint]) -> None:
    """Make every endpoint a provider behind the door."""
    for endpoint in endpoints:
        _endpoints[endpoint.name] = endpoint
        door.register(endpoint.name, partial(ask, endpoint))


def endpoint(name: str) -> Endpoint | None:
    """The endpoint of that name, or None for providers that are none (simulated, recorded)."""
    return _endpoints.get(name)


async def ask(endpoint: Endpoint, request: ModelRequest) -> ModelReply:
    """Send one request, exactly once. Raises errors of `runs.errors`; cancelling closes the connection."""
    wire = _wire
    if wire is None:
        wire = await asyncio.to_thread(_load)
    reply: ModelReply = await wire.send(endpoint, request)
    return reply


def load_beside() -> None:
    """Load in a thread what the first real call would wait for, when there is an endpoint at all."""
    if _endpoints:
        threading.Thread(target=_load, name="providers", daemon=True).start()


def _load() -> ModuleType:
    global _wire
    wire = importlib.import_module("runs.agents.wire")
    wire.warm()
    _wire = wire
    return wire
