"""The copy of a definition that a trial runs: scripted agents, stand-in tools, accept checks that are noted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from runs.agents.simulated import has_rule
from runs.definitions import Agent, Node, Workflow
from runs.errors import StepError
from runs.testing.caught import Accepted
from runs.testing.faults import NotScripted
from runs.testing.replies import PROVIDER, Scripts
from runs.testing.stand_ins import Changes, agents_of
from runs.testing.tools import Stood


def copy_for(
    workflow: Workflow, scripts: Scripts, stood: Stood, accepted: list[Accepted], *, width: int | None
) -> Workflow:
    """The copy. Raises NotScripted for an agent that could only ask a real model, or that is not there."""
    _check_names(workflow, scripts)

    def model(agent: Agent, asked: str) -> str:
        if agent.name in scripts:
            return f"{PROVIDER}/{asked}"
        if asked.startswith("simulated/"):
            return asked
        if not has_rule(agent.name):
            raise NotScripted(
                f"{agent.name} asks {asked}, and a trial asks no real model: give it a script in agents={{...}}, "
                f"or a rule with @simulated({agent.name!r})."
            )
        return f"simulated/{asked}"

    changes = Changes(model=model, tool=stood.tool, node=lambda node: _noting(node, accepted), width=width)
    return changes.workflow(workflow)


def _check_names(workflow: Workflow, scripts: Scripts) -> None:
    known = [agent.name for agent in agents_of(workflow)]
    strange = sorted(set(scripts.names()) - set(known))
    if strange:
        raise NotScripted(
            f"{workflow.name} has no agent {', '.join(strange)}; it has {', '.join(known) or 'none'}."
        )


def _noting(node: Node, accepted: list[Accepted]) -> Node:
    if node.accept is None:
        return node
    return replace(node, accept=_noted(node.name, node.accept, accepted))


def _noted(
    node: str, accept: Callable[[Any, Any], None], accepted: list[Accepted]
) -> Callable[[Any, Any], None]:
    def noted(given: Any, output: Any) -> None:
        try:
            accept(given, output)
        except StepError as error:
            accepted.append(Accepted(node=node, message=error.message[:500]))
            raise

    return noted
