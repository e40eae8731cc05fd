"""What decides how runs of a definition go, part by part, and one digest over it. No database.

What decides counts with its code, through its app: rules, checks, approvals, contracts. What works counts with the code
of its own file: node functions. What reaches out counts with its name: how a tool performs its action. What shows does
not count, nor who owns it or how fast it goes: titles, labels, goals, sentences, samples, starts, the width of a plan.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from pydantic import BaseModel, PydanticUserError

from runs.canonical import canonical, digest, text_digest
from runs.code_digest import name_of, of_code
from runs.definitions import (
    Agent,
    Another,
    Delegate,
    Edge,
    ErrorPolicy,
    Node,
    Orchestrated,
    Policy,
    RepairStep,
    Supervised,
    Tool,
    Verifies,
    Verify,
    Workflow,
)
from runs.policies import links

SHORT = 12  # characters of a digest that people are shown and may write down
_DEEPEST = 8  # of agents that agents may ask
_NOT_TOLD = ("title", "description", "examples")

Part = tuple[str, Any]


def parts(workflow: Workflow, *, since: float = math.inf) -> dict[str, str]:
    """Each part by a name that its author understands, as a short digest or the plain value.

    `since`: when the definition was loaded (seconds since 1970). Raises SourceChanged.
    """
    return {name: _short(value) for name, value in _Definition(since).parts(workflow)}


def of_parts(workflow: Workflow, found: Mapping[str, str]) -> str:
    """SHA-256 in hex of name, version and everything that decides."""
    return digest({"name": workflow.name, "version": workflow.version, "parts": dict(found)})


def differing(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The parts that differ, in the order of the newer side, what is gone last."""
    changed = [name for name in after if before.get(name) != after[name]]
    return changed + [name for name in before if name not in after]


def _short(value: Any) -> str:
    text = canonical(value)
    return text if len(text) <= 2 * SHORT else text_digest(text)[:SHORT]


@dataclass(frozen=True, slots=True)
class _Definition:
    """One look at a definition whose code was loaded at `since`."""

    since: float

    def _code(self, work: object, *, far: bool) -> str:
        return of_code(work, far=far, since=self.since)

    def _contract(self, contract: type[BaseModel], *, told: bool = False) -> list[Any]:
        """A contract as it is checked; where an agent is told of it, with the words that it is told."""
        schema = _schema(contract)
        return [schema if told else _unworded(schema), self._code(contract, far=True)]

    def parts(self, workflow: Workflow) -> Iterator[Part]:
        pattern = workflow.pattern
        yield "pattern", type(pattern).__name__.lower()
        yield "order of the nodes", [node.name for node in workflow.nodes]
        yield "deadline", workflow.deadline_seconds
        yield "retry budget", workflow.retry_budget
        match pattern:
            case Orchestrated(edges=edges):
                for number, edge in enumerate(edges, start=1):
                    yield f"edge {number}: {edge.source} to {edge.target}", self._edge(edge)
            case Supervised() as supervised:
                yield "join", [supervised.join.need, supervised.join.rest]
                yield "bounds of plans", [supervised.most_tasks, supervised.depth]
                yield "workers", [node.name for node in supervised.workers]
        for node in workflow.nodes:
            yield from self._node(node)

    def _edge(self, edge: Edge) -> list[Any]:
        rules = [self._code(rule, far=True) if rule else None for rule in (edge.when, edge.hand)]
        return [edge.source, edge.target, edge.most, *rules]

    def _node(self, node: Node) -> Iterator[Part]:
        where = f"node {node.name}"
        told = isinstance(node.work, Agent)
        yield f"{where}: takes", self._contract(node.takes)
        yield f"{where}: gives", self._contract(node.gives, told=told)
        if not isinstance(node.work, Agent):
            yield f"{where}: work", [_called(node.work), self._code(node.work, far=False)]
        if node.accept:
            yield f"{where}: accept", self._code(node.accept, far=True)
        if node.isolated:
            yield f"{where}: isolated", node.seconds
        if node.verifies:
            yield f"{where}: verifies", self._verifies(node.verifies)
        yield f"{where}: errors", self._policies(node.errors)
        for agent in _agents(node):
            yield from self._agent(where, agent, 0)

    def _agent(self, where: str, agent: Agent, depth: int) -> Iterator[Part]:
        where = f"{where}, agent {agent.name}"
        yield f"{where}: model", [agent.model, dict(agent.parameters)]
        yield f"{where}: prompt", [agent.prompt_version, agent.prompt]
        yield f"{where}: turns", agent.max_turns
        if agent.when_full is not None:
            yield f"{where}: when it is full", self._stand_in("Compact", agent.when_full.by)
        for tool in agent.tools:
            yield f"{where}, tool {tool.name}", self._tool(tool)
        for delegate in agent.delegates:
            yield f"{where}, delegate {delegate.name}", self._delegate(delegate)
            if depth < _DEEPEST:
                yield from self._agent(where, delegate.agent, depth + 1)

    def _tool(self, tool: Tool) -> list[Any]:
        declared = [tool.effect_class, tool.egress, tool.repeatable, tool.description]
        approval = self._code(tool.approval, far=True) if tool.approval else None
        answers = [self._contract(tool.answers)] if tool.answers else []
        return [
            *declared,
            self._contract(tool.arguments, told=True),
            approval,
            name_of(tool.perform),
            *answers,
        ]

    def _delegate(self, delegate: Delegate) -> list[Any]:
        contracts = [self._contract(one, told=True) for one in (delegate.takes, delegate.gives)]
        return [delegate.description, delegate.agent.name, *contracts]

    def _verifies(self, verifies: Verifies) -> list[Any]:
        back_to = verifies.back_to.name if verifies.back_to else None
        return [list(verifies.nodes), list(verifies.sources), back_to]

    def _policies(self, errors: ErrorPolicy) -> list[Any]:
        return [[self._link(link) for link in links(chain)] for chain in errors.chains]

    def _link(self, link: Policy) -> list[Any]:
        match link:
            case Another(agent=agent):
                return ["Another", agent.name]
            case RepairStep(by=by) | Verify(by=by):
                return self._stand_in(type(link).__name__, by)
            case _:
                values = [getattr(link, one.name) for one in fields(link) if one.name != "then"]
                return [type(link).__name__, *values]

    def _stand_in(self, kind: str, by: Any) -> list[Any]:
        code = None if isinstance(by, Agent) else self._code(by, far=False)
        return [kind, by.name if isinstance(by, Agent) else _called(by), code]


def _agents(node: Node) -> Iterator[Agent]:
    back_to = node.verifies.back_to if node.verifies else None
    for work in (node.work, *node.errors.stand_ins, back_to):
        if isinstance(work, Agent):
            yield work


def _called(work: Any) -> str:
    return str(getattr(work, "__name__", type(work).__name__))


@functools.lru_cache(maxsize=1024)
def _schema(contract: type[BaseModel]) -> Any:
    try:
        return contract.model_json_schema()
    except PydanticUserError:  # a type that JSON Schema has no words for
        return name_of(contract)


def _unworded(schema: Any) -> Any:
    """A JSON Schema without its words. What stands under "properties" and "$defs" are names, not keywords."""
    if isinstance(schema, list):
        return [_unworded(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs") and isinstance(value, dict):
            found[key] = {name: _unworded(one) for name, one in value.items()}
        elif key not in _NOT_TOLD and key not in ("default", "const", "enum"):
            found[key] = _unworded(value)
        elif key not in _NOT_TOLD:
            found[key] = value
    return found
