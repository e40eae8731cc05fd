"""What installed workflows call their agents, tools and models: whom a limit can name. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from runs.definitions import Workflow
from runs.limits.kinds import LimitScope


def names_of(
    workflows: Iterable[Workflow], models: Iterable[str] = ()
) -> Mapping[LimitScope, frozenset[str]]:
    """By scope, every name that occurs in those definitions. `models`: others that are known ("provider/model")."""
    found: dict[LimitScope, set[str]] = {scope: set() for scope in LimitScope}
    found[LimitScope.MODEL] |= set(models)
    for workflow in workflows:
        found[LimitScope.WORKFLOW].add(workflow.name)
        found[LimitScope.TEAM].add(workflow.team)
        for node in workflow.nodes:
            found[LimitScope.MODEL].update(node.errors.models)
            for agent in node.agents:
                found[LimitScope.AGENT].add(agent.name)
                found[LimitScope.MODEL].add(agent.model)
                found[LimitScope.TOOL].update(tool.name for tool in agent.tools)
    found[LimitScope.PROVIDER] |= {name.partition("/")[0] for name in found[LimitScope.MODEL] if "/" in name}
    return {scope: frozenset(name for name in names if name) for scope, names in found.items()}
