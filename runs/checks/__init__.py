"""System checks: a definition that cannot work is refused before anything runs, by file and with the fix."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Error, Warning, register
from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError

from runs import registry
from runs.agents import door
from runs.agents.prices import price
from runs.agents.simulated import has_rule
from runs.canonical import canonical, told
from runs.checks.names import name_problems
from runs.checks.patterns import Problem, is_contract, pattern_problems, policy_problems
from runs.checks.shapes import registered_problems, shape_problems
from runs.checks.verifying import unverified_text, verifying_problems
from runs.definitions import Agent, Delegate, Effect, Node, Tool, Workflow
from runs.errors import DataError, wrong_values
from runs.schemas import schema_of
from runs.signals import question_asked


@register("workflows")
def check_workflows(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Every registered definition, and that somebody hears of the engine's questions."""
    found: list[CheckMessage] = []
    for workflow, first, second in registry.registered_twice():
        found.append(_twice(workflow, first, second))
    for given, place in registry.unfindable():
        found.append(_unfindable(given, place))
    wrong: set[int] = set()
    for workflow, place in registry.versions():
        for code, text, hint in registered_problems(workflow) or _inner_problems(workflow):
            wrong.add(id(workflow))
            found.append(Error(f"{place}: {workflow.name} v{workflow.version}: {text}", hint=hint, id=code))
    for workflow in registry.all_newest():
        if id(workflow) in wrong:
            continue
        found += [
            Warning(f"{workflow.name} v{workflow.version}: {text}", hint=hint, id=code)
            for code, text, hint in _doubts(workflow)
        ]
    if not question_asked.has_listeners():
        found.append(
            Error(
                "Nobody listens to runs.signals.question_asked: questions of runs would reach no person.",
                hint="Add an app that connects a receiver ('escalations') to INSTALLED_APPS.",
                id="runs.E001",
            )
        )
    return found


def _twice(workflow: Workflow, first: str, second: str) -> CheckMessage:
    return Error(
        f"{second}: {workflow.name} v{workflow.version} is registered already at {first}, with other content.",
        hint="Raise `version` in the new definition; runs keep the version they started with.",
        id="runs.E002",
    )


def _unfindable(given: object, place: str) -> CheckMessage:
    what = f"version={given.version!r}" if isinstance(given, Workflow) else repr(given)[:80]
    name = given.name if isinstance(given, Workflow) else "what is registered"
    return Error(
        f"{place}: {name!r} cannot be found by its name and version: {what}.",
        hint="Register a Workflow whose name is a text and whose version is a whole number.",
        id="runs.E044",
    )


def problems(workflow: Workflow) -> list[Problem]:
    """Everything that keeps a definition from working; what cannot even be looked at is said, never raised."""
    return list(shape_problems(workflow)) or _inner_problems(workflow)


def _inner_problems(workflow: Workflow) -> list[Problem]:
    """Of a definition whose fields are right: before, nothing else may be looked at."""
    try:
        return list(_problems(workflow))
    except Exception as error:  # an author's property, a contract with hooks of its own
        return [("runs.E045", f"it cannot be checked: {told(error)}", "See that its parts can be looked at.")]


def doubts(workflow: Workflow) -> list[Problem]:
    """What lets runs start and would still surprise their author; nothing of a definition that cannot work."""
    return [] if problems(workflow) else _doubts(workflow)


def _doubts(workflow: Workflow) -> list[Problem]:
    return [*_without_rules(workflow), *_odd_samples(workflow), *unverified_text(workflow)]


def _without_rules(workflow: Workflow) -> Iterator[Problem]:
    names: dict[str, str] = {}
    for node in workflow.nodes:
        for agent in node.agents:
            falls_back = agent is node.work and any(
                one.startswith("simulated/") for one in node.errors.models
            )
            if (agent.simulated or falls_back) and not has_rule(agent.name):
                names.setdefault(agent.name, node.name)
    for name, place in names.items():
        yield (
            "runs.W002",
            f"agent {name!r} of node {place!r} is simulated and has no rule: it can answer in tests with a script only",
            f"Register a rule with @simulated({name!r}), or name the model that it is to ask.",
        )


def _odd_samples(workflow: Workflow) -> Iterator[Problem]:
    if workflow.samples is None:
        return
    fix = "Give inputs that meet the contract of the first node; check_workflow begins its runs with them."
    try:
        for number, one in enumerate(workflow.samples(), start=1):
            yield from _odd_sample(workflow, number, one, fix)
    except Exception as error:  # the author's own function
        yield "runs.W003", f"its samples cannot be had: {told(error)}", fix


def _odd_sample(workflow: Workflow, number: int, given: Any, fix: str) -> Iterator[Problem]:
    try:
        workflow.takes.model_validate_json(canonical(given))
    except ValidationError as error:
        path, says = wrong_values(error)[0]
        yield "runs.W003", f"sample {number} breaks its contract: {path or 'input'}: {says}", fix
    except ValueError as error:
        yield "runs.W003", f"sample {number} is nothing that JSON can hold: {told(error)}", fix


def _problems(workflow: Workflow) -> Iterator[Problem]:
    if not workflow.nodes:
        yield "runs.E003", "it has no nodes", "Give the pattern at least one Node."
        return
    for name, count in Counter(node.name for node in workflow.nodes).items():
        if count > 1:
            yield "runs.E004", f"{count} nodes are named {name!r}", "Give every node a name of its own."
    if workflow.version < 1:
        yield "runs.E005", f"version {workflow.version} is not a positive number", "Start at version=1."
    if workflow.deadline_seconds <= 0:
        yield "runs.E006", "its deadline is not positive", "Set deadline_seconds above 0."
    for one in workflow.replaces:
        if not re.fullmatch(r"[0-9a-f]{12,64}", one):
            yield (
                "runs.E051",
                f"replaces has {one!r}, which is no digest of an earlier content",
                "Copy the 12 characters that a refused start names.",
            )
    yield from name_problems(workflow)
    for node in workflow.nodes:
        yield from _node_problems(node)
        yield from policy_problems(node)
    yield from pattern_problems(workflow.pattern)
    yield from verifying_problems(workflow)


def _node_problems(node: Node) -> Iterator[Problem]:
    sides: tuple[tuple[str, Any], ...] = (
        ("takes", node.takes),
        ("gives", node.gives),
    )  # authors may not type-check
    for side, contract in sides:
        if not is_contract(contract):
            yield (
                "runs.E007",
                f"node {node.name!r}: {side} is {contract!r}",
                f"Set {side} to a pydantic model: every edge has a contract.",
            )
    for agent in node.agents:
        yield from _agent_problems(node.name, agent)
    for model in node.errors.models:
        yield from _model_problems(node.name, model)
    yield from _work_problems(node)


def _work_problems(node: Node) -> Iterator[Problem]:
    work: Any = node.work
    if isinstance(work, Agent):
        if node.isolated:
            yield (
                "runs.E018",
                f"node {node.name!r} is isolated, and its work is an agent",
                "Take isolated away: an agent's calls are cut as they are. Only a function is put into a process.",
            )
        return
    if not callable(work):
        yield "runs.E008", f"node {node.name!r}: work is not callable", "Give an Agent or a function."
    elif node.isolated and "<" in getattr(work, "__qualname__", "<"):
        yield (
            "runs.E018",
            f"node {node.name!r}: its isolated work is no plain function of a module",
            "Define it with def at the top of a module, so that a child process can import it.",
        )
    elif inspect.iscoroutinefunction(work):
        yield "runs.E009", f"node {node.name!r}: work is async", "Give a plain function; only agents wait."


def _model_problems(node: str, model: str) -> Iterator[Problem]:
    provider = model.partition("/")[0]
    if not door.known(provider):
        yield (
            "runs.E011",
            f"node {node!r}: no provider named {provider!r} for model {model!r}",
            f"Use one of: {', '.join(door.names())}; or name {provider!r} in MODEL_PROVIDERS.",
        )
    try:
        price(model)
    except DataError as error:
        yield "runs.E012", f"node {node!r}: {error}", "An unpriced model is refused, not free."


def _agent_problems(node: str, agent: Agent) -> Iterator[Problem]:
    yield from _model_problems(node, agent.model)
    if agent.max_turns < 1:
        yield "runs.E013", f"node {node!r}: max_turns is {agent.max_turns}", "Allow at least one turn."
    names = [*(tool.name for tool in agent.tools), *(delegate.name for delegate in agent.delegates)]
    for name, count in Counter(names).items():
        if count > 1:
            yield "runs.E014", f"node {node!r}: {count} tools are named {name!r}", "Name every tool once."
    for delegate in agent.delegates:
        yield from _delegate_problems(node, delegate)
    for tool in agent.tools:
        yield from _tool_problems(node, tool)


def _delegate_problems(node: str, delegate: Delegate) -> Iterator[Problem]:
    for side, contract in (("takes", delegate.takes), ("gives", delegate.gives)):
        if not is_contract(contract):
            yield (
                "runs.E020",
                f"delegate {delegate.name!r} of {node!r}: {side} is {contract!r}",
                f"Set {side} to a pydantic model: what agents say to each other has a contract too.",
            )


def _lax(arguments: type[BaseModel]) -> str:
    """The first model of the arguments, however deep, that takes what it does not name."""
    if arguments.model_config.get("extra") != "forbid":
        return "its model"
    schema = schema_of(arguments)
    for name, one in schema.get("$defs", {}).items():
        if "properties" in one and one.get("additionalProperties") is not False:
            return str(name)
    return ""


def _unseen_fields(arguments: type[BaseModel]) -> str:
    """Fields that a dump leaves out or masks."""
    masked = (SecretStr, SecretBytes)
    names = [
        name
        for name, spec in arguments.model_fields.items()
        if spec.exclude or (inspect.isclass(spec.annotation) and issubclass(spec.annotation, masked))
    ]
    return ", ".join(names)


def _tool_problems(node: str, tool: Tool) -> Iterator[Problem]:
    arguments: Any = tool.arguments
    if not (inspect.isclass(arguments) and issubclass(arguments, BaseModel)):
        yield (
            "runs.E015",
            f"tool {tool.name!r} of {node!r} has no argument model",
            "Set arguments to a pydantic model.",
        )
    elif lax := _lax(arguments):
        yield (
            "runs.E016",
            f"tool {tool.name!r} of {node!r} accepts arguments that {lax} does not name",
            "Set model_config = ConfigDict(extra='forbid') on its argument model, and on each inside it.",
        )
    elif unseen := _unseen_fields(arguments):
        yield (
            "runs.E019",
            f"tool {tool.name!r} of {node!r} has arguments that no screen and no digest would hold: {unseen}",
            "Drop exclude=True and secret types: what is approved must be what is shown.",
        )
    if tool.effect_class is not Effect.NONE and tool.approval is None:
        yield (
            "runs.E017",
            f"tool {tool.name!r} of {node!r} has an effect ({tool.effect_class}) and no approval rule",
            "Set approval to a function; one that returns None says 'never ask' in so many words.",
        )
    answers: Any = tool.answers  # whatever an author has put there
    if answers is not None and not (inspect.isclass(answers) and issubclass(answers, BaseModel)):
        yield (
            "runs.E065",
            f"tool {tool.name!r} of {node!r}: answers is {answers!r}",
            "Set it to a pydantic model of the answer, with Untrusted() where others have written, or leave it out.",
        )
    yield from _look_problems(node, tool)


def _look_problems(node: str, tool: Tool) -> Iterator[Problem]:
    where = f"tool {tool.name!r} of {node!r}"
    if tool.look is not None and tool.find is not None:
        yield "runs.E049", f"{where} states look and find", "Keep look: it is given the arguments, too."
    for name, function, wanted in (("look", tool.look, "arguments, key"), ("find", tool.find, "key")):
        if function is None:
            continue
        if inspect.iscoroutinefunction(function):
            yield "runs.E050", f"{where}: its {name} is async", "Give a plain function; only agents wait."
        elif not _takes(function, len(wanted.split(", "))):
            yield "runs.E050", f"{where}: its {name} does not take ({wanted})", f"Define it with ({wanted})."


def _takes(function: Any, number: int) -> bool:
    """Whether a function can be called with so many values; one that does not say so is believed."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*range(number))
    except TypeError:
        return False
    return True
