"""The bounds that engineers have written into definitions, as rows beside those of people. Pure.

They cannot be changed here, and they hold whatever people set: the smaller value decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from runs.definitions import Workflow
from runs.limits.kinds import LimitKind, LimitScope, Mode, Window
from runs.limits.rows import BUILT_IN, Row
from runs.patterns import Supervised

ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
SETTINGS = "the settings"


def of_workflow(workflow: Workflow) -> tuple[Row, ...]:
    """The bounds of one version, agents' by name; of two agents of one name the stricter."""
    if workflow.recorded:
        return ()
    origin = f"{workflow.name} v{workflow.version}"
    return (*_of_runs(workflow, origin), *_of_agents(workflow, origin))


def of_workflows(workflows: Iterable[Workflow]) -> tuple[Row, ...]:
    return tuple(row for workflow in workflows for row in of_workflow(workflow))


def built_in() -> tuple[Row, ...]:
    """What guards go by where nobody has set anything. A row of people that warns or observes replaces it where it
    covers the place; one that enforces holds beside it (`runs.limits.applying`)."""
    return _BUILT_IN


def intake(limit: int) -> Row:
    """How many runs may be under way before new ones are refused, as the settings say."""
    return _row(LimitKind.INTAKE, Window.NONE, limit, scope_kind=LimitScope.ORGANISATION, origin=SETTINGS)


def _of_runs(workflow: Workflow, origin: str) -> Iterator[Row]:
    bounds = [
        (LimitKind.WALL_TIME, Window.RUN, round(workflow.deadline_seconds * 1000)),
        (LimitKind.RETRIES, Window.RUN, workflow.retry_budget),
    ]
    if isinstance(workflow.pattern, Supervised):
        bounds += [
            (LimitKind.FAN_OUT_WIDTH, Window.NONE, workflow.pattern.most_tasks),
            (LimitKind.FAN_OUT_DEPTH, Window.NONE, workflow.pattern.depth),
            (LimitKind.STEPS_AT_ONCE, Window.RUN, workflow.pattern.width),
        ]
    for kind, window, value in bounds:
        yield _row(kind, window, value, scope_kind=LimitScope.WORKFLOW, scope=workflow.name, origin=origin)


def _of_agents(workflow: Workflow, origin: str) -> Iterator[Row]:
    turns: dict[str, int] = {}
    for agent in (agent for node in workflow.nodes for agent in node.agents):
        turns[agent.name] = min(agent.max_turns, turns.get(agent.name, agent.max_turns))
    for name, most in turns.items():
        yield _row(
            LimitKind.TURNS,
            Window.ATTEMPT,
            most,
            scope_kind=LimitScope.AGENT,
            scope=name,
            origin=origin,
            within=workflow.name,
        )


def _row(
    kind: LimitKind,
    window: Window,
    value: int,
    *,
    scope_kind: LimitScope,
    origin: str,
    scope: str = "",
    within: str = "",
) -> Row:
    return Row(
        kind=kind,
        window=window,
        scope_kind=scope_kind,
        scope=scope,
        value=value,
        mode=Mode.ENFORCE,
        since=ALWAYS,
        origin=origin,
        within=within,
    )


_BUILT_IN = tuple(
    _row(kind, window, value, scope_kind=LimitScope.ORGANISATION, origin=BUILT_IN)
    for kind, window, value in (
        (LimitKind.REPEATS, Window.NONE, 3),
        (LimitKind.IDLE_TURNS, Window.NONE, 8),
        (LimitKind.TAINTED_CALLS, Window.RUN, 0),
    )
)
