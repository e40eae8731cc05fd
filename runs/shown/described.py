"""A definition in words, for the Workflows pages: pattern, agents, tools, what follows an error, limits. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from runs.claims import a_person
from runs.definitions import (
    Agent,
    Another,
    Ask,
    Delegate,
    End,
    ErrorPolicy,
    Fallback,
    Join,
    Node,
    Orchestrated,
    Pipeline,
    Policy,
    Repair,
    RepairStep,
    Rest,
    Retry,
    Supervised,
    Tool,
    Verify,
    Workflow,
)
from runs.policies import links
from runs.recorded.pattern import Recorded
from runs.verdicts import work_name

_DEEPEST = 8  # of agents that agents may ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Acts:
    """A tool as a row: what it is for, how far it goes, whether a person may have to agree."""

    name: str
    says: str
    effect: str
    egress: bool
    asks: bool
    after_crash: str
    holder: str  # the agent that has it


@dataclass(frozen=True, slots=True, kw_only=True)
class Works:
    """An agent as a row. `role` says why it is here: the node's own, asked by another, a stand-in after an error."""

    name: str
    model: str
    simulated: bool
    prompt: str
    prompt_version: str
    max_turns: int
    parameters: tuple[tuple[str, str], ...]
    role: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Follows:
    """What follows an error of one class."""

    error_class: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """A node as the page shows it. `agents` is empty for a function."""

    name: str
    title: str
    part: str  # supervisor, worker, or ""
    work: str
    takes: str
    gives: str
    isolated: bool
    seconds: float
    accepts: bool
    verifies: str  # empty for a node that is no verify step
    agents: tuple[Works, ...]
    tools: tuple[Acts, ...]
    errors: tuple[Follows, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    name: str
    words: str
    note: str = field(default="")


def pattern_name(workflow: Workflow) -> str:
    """The pattern in a word."""
    return type(workflow.pattern).__name__.lower()


def pattern(workflow: Workflow) -> str:
    """The pattern in a sentence."""
    match workflow.pattern:
        case Pipeline(nodes=nodes):
            return f"{len(nodes)} nodes, one after the other" if len(nodes) > 1 else "1 node"
        case Orchestrated(nodes=nodes, edges=edges):
            return (
                f"{_count(len(nodes), 'node')}; {_count(len(edges), 'rule')} over outputs decide what follows"
            )
        case Supervised() as supervised:
            workers = _count(len(supervised.workers), "worker")
            after = ", then ".join(node.name for node in supervised.then)
            return (
                f"{supervised.supervisor.name} plans up to {_count(supervised.most_tasks, 'task')} for {workers}, "
                f"{supervised.width} side by side; {join(supervised.join)}{f'; then {after}' if after else ''}"
            )
        case Recorded():
            return "one step a recorded item, in their order"


def join(rule: Join) -> str:
    """When a plan is joined, in words."""
    rest = "the others settle first" if rule.rest == Rest.WAIT else "the others are ended"
    match rule.need:
        case None:
            return "joined when all are done"
        case float(share):
            return f"joined when {math.ceil(share * 100)} % are done, {rest}"
        case number:
            return f"joined when {number} {'is' if number == 1 else 'are'} done, {rest}"


def stations(workflow: Workflow) -> tuple[Station, ...]:
    """Every node, in the definition's order."""
    return tuple(_station(workflow, node) for node in workflow.nodes)


def agents(workflow: Workflow) -> tuple[Works, ...]:
    """Every agent of a workflow once, those first that nodes name themselves."""
    found: dict[tuple[str, str], Works] = {}
    own = [works(node.work) for node in workflow.nodes if isinstance(node.work, Agent)]
    for one in [*own, *(agent for node in workflow.nodes for agent in _agents_of(node))]:
        found.setdefault((one.name, one.model), one)
    return tuple(found.values())


def works(agent: Agent, role: str = "") -> Works:
    return Works(
        name=agent.name,
        model=agent.model,
        simulated=agent.simulated,
        prompt=agent.prompt,
        prompt_version=agent.prompt_version,
        max_turns=agent.max_turns,
        parameters=tuple((str(name), str(value)) for name, value in agent.parameters.items()),
        role=role,
    )


def limits(workflow: Workflow) -> tuple[Limit, ...]:
    """Everything that bounds a run of this workflow, except what its team or model is bounded by."""
    found = [
        Limit(
            name="Deadline", words=duration(workflow.deadline_seconds), note="of a run, held time not counted"
        ),
        Limit(name="Retries", words=str(workflow.retry_budget), note="of all steps of a run together"),
        Limit(name="Width", words=str(workflow.width), note=_side_by_side(workflow.width)),
    ]
    turns = [node.work.max_turns for node in workflow.nodes if isinstance(node.work, Agent)]
    if turns:
        found.append(Limit(name="Turns", words=f"{max(turns)}", note="of an agent in an attempt, at most"))
    match workflow.pattern:
        case Supervised() as supervised:
            found += _supervised_limits(supervised)
        case Orchestrated() as machine:
            found += [
                Limit(
                    name=f"{edge.source} → {edge.target}", words=f"{edge.most:,}×", note="in a run, at most"
                )
                for edge in machine.edges
                if edge.most is not None
            ]
    return tuple(found)


def policy(rule: Policy, *, task: bool = False) -> str:
    """A chain in words: "retry 3 times, then model X, then a person". `task`: the end is that of a task alone."""
    return ", then ".join(_link(link, task) for link in links(rule))


def duration(seconds: float) -> str:
    """A time in words: 30 s, 5 min, 24 h, 7 d."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size or (seconds >= size and seconds % size == 0):
            return f"{seconds / size:g} {unit}" if seconds % size == 0 else f"{seconds / size:.1f} {unit}"
    return f"{seconds:g} s"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _side_by_side(width: int) -> str:
    return "step of a run at a time" if width == 1 else "steps of a run performed side by side"


def _supervised_limits(pattern: Supervised) -> list[Limit]:
    return [
        Limit(name="Tasks", words=str(pattern.most_tasks), note="in a plan, at most"),
        Limit(name="Depth", words=str(pattern.depth), note="plans in plans, at most"),
        Limit(name="Join", words=join(pattern.join).removeprefix("joined when "), note=""),
    ]


def _station(workflow: Workflow, node: Node) -> Station:
    agents_here = tuple(_agents_of(node))
    role = part(workflow, node)
    return Station(
        name=node.name,
        title=node.title,
        part=role,
        work=by_whom(node),
        takes=node.takes.__name__,
        gives=node.gives.__name__,
        isolated=node.isolated,
        seconds=node.seconds,
        accepts=node.accept is not None,
        verifies=verifies(node),
        agents=agents_here,
        tools=tuple(tools(node)),
        errors=errors(node.errors, task=role == "worker"),
    )


def by_whom(node: Node) -> str:
    """Who works at a node, in a word."""
    if node.work is a_person:
        return "person"
    return "agent" if isinstance(node.work, Agent) else "function"


def verifies(node: Node) -> str:
    """What a verify step looks at, in a sentence; empty for another node."""
    rule = node.verifies
    if rule is None:
        return ""
    records = f" and what {' and '.join(rule.sources)} read" if rule.sources else ""
    back = f"sent back to {rule.back_to.name}" if rule.back_to else "sent back to nobody"
    return (
        f"what {' and '.join(rule.nodes)} claim, against inputs, tool results{records}; what does not stand goes to a "
        f"person (denied after {duration(rule.deadline_seconds)}) and may be {back}"
    )


def errors(rules: ErrorPolicy, *, task: bool) -> tuple[Follows, ...]:
    """What follows an error, by class. What no policy foresaw always goes to a person."""
    classes = (("recoverable", rules.recoverable), ("data", rules.data), ("reasoning", rules.reasoning))
    return tuple(Follows(error_class=name, words=policy(rule, task=task)) for name, rule in classes)


def part(workflow: Workflow, node: Node) -> str:
    """What the node is under a supervisor: supervisor, worker, or empty."""
    if not isinstance(workflow.pattern, Supervised):
        return ""
    if node.name == workflow.pattern.supervisor.name:
        return "supervisor"
    return "worker" if node in workflow.pattern.workers else ""


def _agents_of(node: Node) -> Iterator[Works]:
    """The node's own agent, those it may ask, and the stand-ins of its error policies."""
    if isinstance(node.work, Agent):
        yield works(node.work)
        yield from (works(one.agent, f"asked by {holder}") for one, holder in _delegates(node.work))
    for name, rule in (
        ("a recoverable error", node.errors.recoverable),
        ("a data error", node.errors.data),
        ("a reasoning error", node.errors.reasoning),
    ):
        for stand_in in _stand_ins(rule):
            yield works(stand_in, f"after {name}")
    if node.verifies and node.verifies.back_to:
        yield works(node.verifies.back_to, "for claims that are sent back")


def _delegates(agent: Agent, depth: int = 0) -> Iterator[tuple[Delegate, str]]:
    if depth >= _DEEPEST:
        return
    for one in agent.delegates:
        yield one, agent.name
        yield from _delegates(one.agent, depth + 1)


def _stand_ins(rule: Policy) -> Iterator[Agent]:
    for link in links(rule):
        match link:
            case Another(agent=agent):
                yield agent
            case RepairStep(by=Agent() as agent) | Verify(by=Agent() as agent):
                yield agent


def tools(node: Node) -> Iterator[Acts]:
    """The tools of a node's agent and of those it may ask."""
    if not isinstance(node.work, Agent):
        return
    asked = [one.agent for one, _ in _delegates(node.work)]
    for agent in [node.work, *asked]:
        for tool in agent.tools:
            yield _acts(tool, agent.name)


def _acts(tool: Tool, holder: str) -> Acts:
    return Acts(
        name=tool.name,
        says=tool.description,
        effect=str(tool.effect_class),
        egress=tool.egress,
        asks=tool.approval is not None,
        after_crash=_after_crash(tool),
        holder=holder,
    )


def _after_crash(tool: Tool) -> str:
    """What happens when nobody knows whether it took place."""
    if not tool.acts:
        return "call again"
    if tool.looks:
        return "look by its key"
    return "send again, it is safe" if tool.repeatable else "ask a person"


def _link(link: Policy, task: bool) -> str:
    match link:
        case Retry(times=times, base_seconds=base, cap_seconds=cap):
            between = f", {duration(base)} to {duration(cap)} apart" if cap else ""
            return f"retry {_times(times)}{between}"
        case Repair(times=times):
            return f"let it try again {_times(times)}, told what was wrong"
        case Fallback(models=models):
            return ", then ".join(f"model {model}" for model in models)
        case Another(agent=agent):
            return f"another agent, {agent.name}"
        case RepairStep(by=by):
            return f"a repair step by {work_name(by)}"
        case Verify(by=by):
            return f"a verifier, {work_name(by)}"
        case Ask(deadline_seconds=seconds):
            return f"a person (denied after {duration(seconds)})"
        case End():
            return "end the task" if task else "end the run"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
