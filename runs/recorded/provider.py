"""The provider behind "recorded/...": gives the reply that was recorded, after the time it took. Sends nothing.

What is played stands in the caller's context, which the process's loop takes over with the call: two runs that are
played at once never meet.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from runs.agents import door
from runs.agents.door import ModelReply, ModelRequest, Usage
from runs.errors import RecoverableError
from runs.recorded.items import Item

PREFIX = "recorded/"


class ProviderFailed(RecoverableError):
    """The recorded call failed. `usage` is what it used all the same."""

    def __init__(self, message: str, usage: Usage) -> None:
        super().__init__(message)
        self.usage = usage


_playing: ContextVar[Item] = ContextVar("playing")


@contextlib.contextmanager
def playing(item: Item) -> Iterator[None]:
    """While inside, the provider answers with this item's reply."""
    token = _playing.set(item)
    try:
        yield
    finally:
        _playing.reset(token)


async def ask(request: ModelRequest) -> ModelReply:
    """The recorded reply. Raises ProviderFailed when the recorded call failed."""
    item = _playing.get(None)
    if item is None:
        raise RecoverableError(f"Nothing is being played for {request.model}.")
    await asyncio.sleep(item.pause_s)
    usage = Usage(tokens_in=item.tokens_in, tokens_out=item.tokens_out)
    if item.provider_failed:
        raise ProviderFailed(item.error or f"{item.error_kind or 'provider'} error", usage)
    return ModelReply(model=item.model, text=item.output or "", usage=usage)


door.register("recorded", ask)
