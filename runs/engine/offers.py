"""What an agent is offered with every request: its tools and the agents that it may ask, by their contracts."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from runs.canonical import canonical
from runs.definitions import Agent, Delegate, Tool
from runs.schemas import schema_of

_Offer = tuple[str, str, type[BaseModel]]


def of(agent: Agent) -> list[Tool | Delegate]:
    return [*agent.tools, *agent.delegates]


def schemas(agent: Agent) -> tuple[dict[str, Any], ...]:
    """As providers take them; the caller's own copies."""
    return tuple(_schema(offer) for offer in _offers(agent))


def size(agent: Agent, gives: type[BaseModel]) -> int:
    """Characters of the schemas of what it is offered and of what it gives."""
    return _size(tuple(_offers(agent)), gives)


def _offers(agent: Agent) -> list[_Offer]:
    return [
        (one.name, one.description, one.takes if isinstance(one, Delegate) else one.arguments)
        for one in of(agent)
    ]


def _schema(offer: _Offer) -> dict[str, Any]:
    name, description, takes = offer
    return {"name": name, "description": description, "parameters": schema_of(takes)}


@lru_cache(maxsize=512)
def _size(offers: tuple[_Offer, ...], gives: type[BaseModel]) -> int:
    return len(canonical([*map(_schema, offers), schema_of(gives)]))
