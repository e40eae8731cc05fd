"""What one version of a workflow has other than another: flat facts in words, compared. Pure.

Compares what a definition says, not what its functions do: changed code under an unchanged name is not seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runs.canonical import digest
from runs.definitions import Agent, Node, Workflow
from runs.rehearsal import policies
from runs.rehearsal.policies import PolicyChange
from runs.shown import described
from runs.shown.described import Acts
from runs.shown.drawing import Sketch, sketch
from runs.shown.fields import Contract, Field, contract

MOST = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One fact. An empty `before` means that it is new, an empty `after` that it is gone."""

    about: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """What changed between two versions, the newer one's order first. `left_out` counts those beyond MOST; `policies`:
    those of the newer one that differ, which can be tried on runs that are over."""

    since: int
    shown: tuple[Difference, ...]
    left_out: int
    policies: tuple[PolicyChange, ...] = ()


def between(older: Workflow, newer: Workflow) -> Differences:
    """What `newer` has other than `older`."""
    before, after = dict(_facts(older)), dict(_facts(newer))
    found = [
        Difference(about=about, before=before.get(about, ""), after=after.get(about, ""))
        for about in [*after, *(one for one in before if one not in after)]
        if before.get(about, "") != after.get(about, "") and not _inside(about, before, after)
    ]
    return Differences(
        since=older.version,
        shown=tuple(found[:MOST]),
        left_out=max(0, len(found) - MOST),
        policies=tuple(policies.changed(older, newer)),
    )


def _inside(about: str, before: dict[str, str], after: dict[str, str]) -> bool:
    """Whether it belongs to a node that is wholly new or gone, which is said once."""
    node, colon, _ = about.partition(": ")
    return bool(colon) and (node in before) != (node in after)


def _facts(workflow: Workflow) -> Iterator[tuple[str, str]]:
    yield "team", workflow.team
    yield "pattern", described.pattern(workflow)
    for limit in described.limits(workflow):
        yield f"limit {limit.name.lower()}", limit.words
    for node in workflow.nodes:
        yield f"node {node.name}", node.title or "there"
        yield from ((f"node {node.name}: {about}", words) for about, words in _node_facts(workflow, node))
    yield from _ways(sketch(workflow))


def _ways(drawn: Sketch | None) -> Iterator[tuple[str, str]]:
    for line in drawn.drawing.lines if drawn else ():
        yield f"way {line.source} → {line.target}", line.says or "there"


def _node_facts(workflow: Workflow, node: Node) -> Iterator[tuple[str, str]]:
    if isinstance(node.work, Agent):
        yield from _agent_facts(node.work)
    else:
        yield "work", described.by_whom(node)
    if node.verifies:
        yield "verifies", described.verifies(node)
    for tool in described.tools(node):
        yield f"tool {tool.name}", _tool(tool)
    yield from _contract_facts("takes", contract(node.takes))
    yield from _contract_facts("gives", contract(node.gives))
    for rule in described.errors(node.errors, task=described.part(workflow, node) == "worker"):
        yield f"after a {rule.error_class} error", rule.words
    if node.isolated:
        yield "isolated", f"in a process of its own, at most {described.duration(node.seconds)}"
    if node.accept is not None:
        yield "accept", "a check of its own beyond the contract"


def _agent_facts(agent: Agent) -> Iterator[tuple[str, str]]:
    yield "work", f"agent {agent.name}"
    yield "model", agent.model
    yield "prompt", f"version {agent.prompt_version}, text {digest(agent.prompt)[:8]}"
    yield "turns", str(agent.max_turns)
    yield (
        "when its context is full",
        "a person is asked" if agent.when_full is None else "said again in fewer words",
    )
    for name, value in sorted(agent.parameters.items()):
        yield f"parameter {name}", str(value)
    for one in agent.delegates:
        yield f"may ask {one.name}", f"agent {one.agent.name} on {one.agent.model}"


def _tool(tool: Acts) -> str:
    reach = ", reaches outside" if tool.egress else ""
    asks = "a rule says when a person is asked" if tool.asks else "never asks"
    return f"effect {tool.effect}{reach}, {asks}, unknown outcome: {tool.after_crash}"


def _contract_facts(side: str, shown: Contract) -> Iterator[tuple[str, str]]:
    yield side, shown.name
    for place, table in enumerate(shown.tables):
        for field in table.fields:
            name = field.name if place == 0 else f"{table.name}.{field.name}"
            yield f"{side} {name}", _field(field)


def _field(field: Field) -> str:
    must = (
        "required" if field.required else f"optional, else {field.default}" if field.default else "optional"
    )
    return ", ".join(one for one in (field.kind, field.limits, must) if one)
