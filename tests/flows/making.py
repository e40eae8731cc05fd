"""What workflows of tests have in common: closed contracts, simulated agents, one team. Registers nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict

from runs.definitions import Agent, Node, Pattern, Pipeline, Tool, Workflow

TEAM = "Testers"


class Closed(BaseModel):
    """A contract that takes what it names, and nothing else."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def agent(name: str, *tools: Tool, **more: Any) -> Agent:
    """A simulated agent: it does what is registered under its name."""
    terms: dict[str, Any] = {
        "model": f"simulated/{name}",
        "prompt": f"You are {name}.",
        "prompt_version": "1",
        **more,
    }
    return Agent(name=name, tools=tools, **terms)


def workflow(
    name: str, pattern: Pattern, *, goal: Callable[[Any], str] | None = None, **more: Any
) -> Workflow:
    """The first version of a workflow of the Testers; its goal is its name unless another is given."""
    terms: dict[str, Any] = {"version": 1, "team": TEAM, **more}
    return Workflow(name=name, goal=goal or (lambda given: name), pattern=pattern, **terms)


def pipeline(name: str, *nodes: Node, **more: Any) -> Workflow:
    """A workflow of one node after the other."""
    return workflow(name, Pipeline(nodes=nodes), **more)
