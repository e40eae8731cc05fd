"""What keeps a verify step from being one: it checks nothing, is not independent, or has no evidence to go by. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runs.checks.patterns import Problem, is_contract
from runs.claims import Claims, a_person
from runs.definitions import Agent, Node, RepairStep, Verifies, Verify, Workflow
from runs.policies import links


def verifying_problems(workflow: Workflow) -> Iterator[Problem]:
    """Everything that is wrong about a workflow's verify steps."""
    for node in workflow.nodes:
        if node.verifies is not None:
            yield from _Verifier(workflow, node, node.verifies).problems()


def unverified_text(workflow: Workflow) -> Iterator[Problem]:
    """Free text beside the claims: an invented fact there would go on, and nobody looks."""
    for node in workflow.nodes:
        names = _free_text(node.takes) if node.verifies else []
        if names:
            yield (
                "runs.W004",
                f"node {node.name!r} verifies the claims of {node.takes.__name__}, and nobody verifies its "
                f"{', '.join(names)}",
                "Make it claims as well, a choice or a figure; or let a node after it write the text from what stands.",
            )


def _free_text(contract: type[Any]) -> list[str]:
    schema = contract.model_json_schema()
    properties: Mapping[str, Any] = schema.get("properties", {})
    closed = {"enum", "const", "format", "pattern"}
    return [
        name
        for name, spec in properties.items()
        if name != "claims" and spec.get("type") == "string" and not closed & set(spec)
    ]


class _Verifier:
    """One verify step in its workflow."""

    def __init__(self, workflow: Workflow, node: Node, verifies: Verifies) -> None:
        self.node = node
        self.verifies = verifies
        self.known = {one.name: one for one in workflow.nodes}
        self.ways = [(way.source, way.target) for way in workflow.ways]
        self.where = f"verify step {node.name!r}"

    def problems(self) -> Iterator[Problem]:
        yield from self._contract()
        yield from self._checks_something()
        yield from self._sources()
        checked = [self.known[name] for name in self.verifies.nodes if name in self.known]
        yield from self._independent(checked)
        if checked and not self._evidence(checked):
            yield (
                "runs.E063",
                f"{self.where}: nothing that {' or '.join(self.verifies.nodes)} is given or asks for is evidence",
                "Give their agents tools that read, let them be given what no agent has written, or name function "
                "nodes in sources.",
            )
        yield from self._work()

    def _contract(self) -> Iterator[Problem]:
        node = self.node
        if is_contract(node.takes) and not issubclass(node.takes, Claims):
            yield (
                "runs.E062",
                f"{self.where} takes {node.takes.__name__}, which holds no claims",
                "Derive it from Claims: every claim names its quotes.",
            )
        if node.gives is not node.takes:
            yield (
                "runs.E062",
                f"{self.where} takes one contract and gives another",
                "Set gives to the same contract as takes: what it gives are the claims that stand.",
            )

    def _checks_something(self) -> Iterator[Problem]:
        if not self.verifies.nodes:
            yield "runs.E060", f"{self.where} checks nothing", "Name the nodes whose agents it checks."
        before = self._before(self.node.name)
        for name in self.verifies.nodes:
            if name not in self.known:
                yield "runs.E060", f"{self.where} checks {name!r}, and there is no such node", self._names()
            elif name == self.node.name or self.known[name].verifies:
                yield "runs.E060", f"{self.where} checks {name!r}, a verify step", self._names()
            elif not self.known[name].agents:
                yield (
                    "runs.E060",
                    f"{self.where} checks {name!r}, where no agent works",
                    "Name nodes with agents; a function node belongs into sources.",
                )
            elif name not in before:
                yield (
                    "runs.E060",
                    f"{self.where} checks {name!r}, which does not come before it",
                    "Let a way lead from there to the verify step.",
                )

    def _sources(self) -> Iterator[Problem]:
        before = self._before(self.node.name)
        for name in self.verifies.sources:
            if name not in before or name not in self.known:
                yield (
                    "runs.E060",
                    f"{self.where} quotes {name!r}, and no node of that name comes before it",
                    "Name function nodes that come before it.",
                )
            elif self.known[name].agents:
                yield (
                    "runs.E061",
                    f"{self.where}: its source {name!r} is an agent's work, and what an agent says is no evidence",
                    "Name function nodes that read records.",
                )

    def _independent(self, checked: list[Node]) -> Iterator[Problem]:
        by = self._by()
        agents = [agent for node in checked for agent in node.agents]
        back_to = self.verifies.back_to.with_delegates if self.verifies.back_to else ()
        names = {agent.name for agent in (*agents, *back_to)}
        models = {agent.model for agent in (*agents, *back_to)} | {
            m for node in checked for m in node.errors.models
        }
        for agent in by:
            if agent.name in names:
                yield (
                    "runs.E061",
                    f"{self.where}: {agent.name!r} would verify what it has said itself",
                    "Let another agent on another model verify it, a function, or a_person.",
                )
            elif agent.model in models:
                yield self._same_model(agent.name, agent.model)
        if by:
            yield from (
                self._same_model("its fallback", model)
                for model in self.node.errors.models
                if model in models
            )

    def _same_model(self, name: str, model: str) -> Problem:
        return (
            "runs.E061",
            f"{self.where}: {name!r} asks {model}, the model of whom it checks",
            "Ask another model: the same one is likely to invent the same.",
        )

    def _by(self) -> tuple[Agent, ...]:
        """Everybody who may verify: the node's work and its policy's stand-ins, with whom they may ask."""
        works = (self.node.work, *self.node.errors.stand_ins)
        return tuple(one for work in works if isinstance(work, Agent) for one in work.with_delegates)

    def _evidence(self, checked: list[Node]) -> bool:
        if self.verifies.sources or any(agent.tools for node in checked for agent in node.agents):
            return True
        return any(self._untouched(node.name) for node in checked)

    def _untouched(self, name: str) -> bool:
        """Whether no agent can have written what a node is given."""
        before = self._before(name)
        return name not in before and not any(self.known[one].agents for one in before)

    def _before(self, name: str) -> set[str]:
        """Every node from which a way leads here; the node itself where it stands in a circle."""
        found: set[str] = set()
        new = {name}
        while new:
            new = {source for source, target in self.ways if target in new} - found
            found |= new
        return found & set(self.known)

    def _work(self) -> Iterator[Problem]:
        back_to = self.verifies.back_to
        agents = (*self._by(), *(back_to.with_delegates if back_to else ()))
        for tool in (tool for agent in agents for tool in agent.tools if tool.acts):
            yield (
                "runs.E064",
                f"{self.where}: its tool {tool.name!r} acts",
                "Give it tools that only read: effect none, egress=False. Who verifies changes nothing.",
            )
        for link in (link for chain in self.node.errors.chains for link in links(chain)):
            if isinstance(link, (RepairStep, Verify)):
                yield (
                    "runs.E064",
                    f"{self.where}: its error policy has {type(link).__name__}",
                    "Take it away: a verifier that fails is tried again, replaced by Another, or a person is asked.",
                )
        if self.node.work is a_person and self.node.isolated:
            yield "runs.E064", f"{self.where}: a person cannot be isolated", "Take isolated away."

    def _names(self) -> str:
        return f"Use nodes where agents work; there are: {', '.join(self.known)}."
