"""A copy of a definition for a trial: other agents, other tools, the same rules. Pure; registers nothing.

Every place where a definition names an agent or a tool is visited: nodes, delegates and error policies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from runs.definitions import (
    Agent,
    Another,
    Ask,
    Delegate,
    End,
    ErrorPolicy,
    Fallback,
    Node,
    Orchestrated,
    Pattern,
    Pipeline,
    Policy,
    RepairStep,
    Supervised,
    Tool,
    Verifies,
    Verify,
    Workflow,
)
from runs.testing.faults import CannotWork


def _same(one: Any) -> Any:
    return one


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What becomes of each part. `model` gets the agent and a model it may be asked on."""

    model: Callable[[Agent, str], str] = lambda agent, model: model
    tool: Callable[[Tool], Tool] = _same
    node: Callable[[Node], Node] = _same
    width: int | None = None  # steps side by side under a supervisor; None: as defined

    def workflow(self, workflow: Workflow) -> Workflow:
        return replace(workflow, pattern=self._pattern(workflow.pattern))

    def _pattern(self, pattern: Pattern) -> Pattern:
        match pattern:
            case Pipeline(nodes=nodes) | Orchestrated(nodes=nodes):
                return replace(pattern, nodes=self._nodes(nodes))
            case Supervised():
                return replace(
                    pattern,
                    supervisor=self._node(pattern.supervisor),
                    workers=self._nodes(pattern.workers),
                    then=self._nodes(pattern.then),
                    width=self.width or pattern.width,
                )
        raise CannotWork(f"A trial does not know the pattern {type(pattern).__name__}.")

    def _nodes(self, nodes: tuple[Node, ...]) -> tuple[Node, ...]:
        return tuple(self._node(node) for node in nodes)

    def _node(self, node: Node) -> Node:
        rules = node.errors
        errors = ErrorPolicy(
            recoverable=self._policy(node, rules.recoverable),
            data=self._policy(node, rules.data),
            reasoning=self._policy(node, rules.reasoning),
        )
        copy = replace(node, work=self._work(node.work), errors=errors, verifies=self._verifies(node))
        return self.node(copy)

    def _verifies(self, node: Node) -> Verifies | None:
        if node.verifies is None or node.verifies.back_to is None:
            return node.verifies
        return replace(node.verifies, back_to=self._agent(node.verifies.back_to))

    def _work(self, work: Any) -> Any:
        return self._agent(work) if isinstance(work, Agent) else work

    def _agent(self, agent: Agent) -> Agent:
        return replace(
            agent,
            model=self.model(agent, agent.model),
            tools=tuple(self.tool(tool) for tool in agent.tools),
            delegates=tuple(replace(one, agent=self._agent(one.agent)) for one in agent.delegates),
            when_full=agent.when_full and replace(agent.when_full, by=self._work(agent.when_full.by)),
        )

    def _policy(self, node: Node, policy: Policy) -> Policy:
        match policy:
            case Ask() | End():
                return policy
            case Fallback(models=models) if isinstance(node.work, Agent):
                policy = replace(policy, models=tuple(self.model(node.work, one) for one in models))
            case Another(agent=agent):
                policy = replace(policy, agent=self._agent(agent))
            case RepairStep(by=by) | Verify(by=by):
                policy = replace(policy, by=self._work(by))
        return replace(policy, then=self._policy(node, policy.then))


def agents_of(workflow: Workflow) -> list[Agent]:
    """Every agent a definition may ask, each name once, in the order of its nodes."""
    found: dict[str, Agent] = {}
    for node in workflow.nodes:
        for agent in _agents(node):
            found.setdefault(agent.name, agent)
    return list(found.values())


def _agents(node: Node) -> Iterator[Agent]:
    if isinstance(node.work, Agent):
        yield from _with_delegates(node.work)
    for policy in (node.errors.recoverable, node.errors.data, node.errors.reasoning):
        link: Policy = policy
        while not isinstance(link, (Ask, End)):
            match link:
                case Another(agent=agent):
                    yield from _with_delegates(agent)
                case RepairStep(by=Agent() as agent) | Verify(by=Agent() as agent):
                    yield from _with_delegates(agent)
            link = link.then
    if node.verifies and node.verifies.back_to:
        yield from _with_delegates(node.verifies.back_to)


def _with_delegates(agent: Agent) -> Iterator[Agent]:
    yield agent
    for one in agent.delegates:
        assert isinstance(one, Delegate)
        yield from _with_delegates(one.agent)
    if agent.when_full is not None and isinstance(agent.when_full.by, Agent):
        yield from _with_delegates(agent.when_full.by)
