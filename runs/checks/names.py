"""Names that would not fit into their columns, or under which two different things would be one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from runs.checks.patterns import Problem
from runs.definitions import Agent, Another, Node, RepairStep, Verify, Workflow
from runs.policies import links
from runs.verdicts import work_name

LONGEST_NAME = 80
LONGEST_TOOL = 100
LONGEST_MODEL = 120


def name_problems(workflow: Workflow) -> Iterator[Problem]:
    """Everything that is wrong about what things are called."""
    yield from _written("the workflow", workflow.name, LONGEST_NAME)
    yield from _written("its team", workflow.team, LONGEST_NAME)
    for node in workflow.nodes:
        yield from _written("a node", node.name, LONGEST_NAME)
        for agent in node.agents:
            yield from _of_agent(agent)
        for model in node.errors.models:
            yield from _written("a model", model, LONGEST_MODEL)
        yield from _two_under_one(node)


def _of_agent(agent: Agent) -> Iterator[Problem]:
    yield from _written("an agent", agent.name, LONGEST_NAME)
    yield from _written("a model", agent.model, LONGEST_MODEL)
    yield from _written("a prompt's version", agent.prompt_version, 40)
    names = [*(tool.name for tool in agent.tools), *(delegate.name for delegate in agent.delegates)]
    for name in names:
        yield from _written("a tool", name, LONGEST_TOOL)


def _written(what: str, name: str, longest: int) -> Iterator[Problem]:
    if not name or len(name) > longest or not name.isprintable() or name != name.strip():
        yield (
            "runs.E047",
            f"{what} is named {name[:90]!r}",
            f"Give it 1 to {longest} characters that can be seen, without a space at either end.",
        )


def _two_under_one(node: Node) -> Iterator[Problem]:
    """A recorded attempt or call names who made it; two under one name could be taken for each other."""
    tools = [tool for agent in node.agents for tool in agent.tools]
    named: list[tuple[str, str, Any]] = [
        ("tool", tool.name, (tool.arguments, tool.perform)) for tool in tools
    ]
    named += [("stand-in", *one) for one in _stand_ins(node)]
    for what, name in _ambiguous(named):
        yield (
            "runs.E048",
            f"node {node.name!r} has two different things under the name {name!r} ({what})",
            "Give each a name of its own (a lambda has none: use def).",
        )


def _stand_ins(node: Node) -> Iterator[tuple[str, Any]]:
    for link in (link for chain in node.errors.chains for link in links(chain)):
        match link:
            case Another(agent=work):
                yield f"agent:{work_name(work)}", work
            case RepairStep(by=work):
                yield f"repair:{work_name(work)}", work
            case Verify(by=work):
                yield f"verify:{work_name(work)}", work
            case _:
                continue


def _ambiguous(named: Iterable[tuple[str, str, Any]]) -> list[tuple[str, str]]:
    first: dict[tuple[str, str], Any] = {}
    found: dict[tuple[str, str], None] = {}
    for what, name, thing in named:
        if first.setdefault((what, name), thing) != thing:
            found[(what, name)] = None
    return list(found)
