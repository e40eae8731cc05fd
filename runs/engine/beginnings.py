"""Which node comes first in definitions whose runs began here lately: what the straight way needs to begin a run in the
statement that reads it. No database.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from runs import registry, routing
from runs.definitions import Agent, Node, Orchestrated, Pipeline, Workflow
from runs.models import Run

KEPT = 64  # definitions: all of it is sent with every beginning


@dataclass(frozen=True, slots=True)
class Beginnings:
    """By what runs bear of their definition; `text` is the same for PostgreSQL, each as [node, agent]."""

    edition: int
    first: Mapping[str, tuple[Workflow, Node]]
    text: str

    def of(self, run: Run) -> tuple[Workflow, Node] | None:
        return self.first.get(_key(run))


_known = Beginnings(edition=-1, first={}, text="{}")


def known() -> Beginnings:
    """What is known here; nothing, once a version was registered or taken away since."""
    if _known.edition == registry.edition():
        return _known
    return Beginnings(edition=registry.edition(), first={}, text="{}")


def learn(run: Run) -> Beginnings:
    """What is known then; of that run nothing, when its version is gone or its first step hangs on its input."""
    global _known
    before = known()
    workflow = registry.workflow(run.workflow, run.version, run.definition)
    node = None if workflow is None else _first(workflow)
    if workflow is None or node is None:
        return before
    first = dict([*before.first.items(), (_key(run), (workflow, node))][-KEPT:])
    text = json.dumps({key: [node.name, agent_of(node)] for key, (_, node) in first.items()})
    _known = Beginnings(edition=before.edition, first=first, text=text)
    return _known


def _key(run: Run) -> str:
    """As `straight._BEGIN` puts it together in SQL."""
    return f"{run.definition} {run.version} {run.workflow}"


def _first(workflow: Workflow) -> Node | None:
    if not isinstance(workflow.pattern, (Pipeline, Orchestrated)):
        return None
    visit = only(routing.route(workflow, None, ()))
    return None if visit is None else workflow.node(visit.node)


def only(route: routing.Route | None) -> routing.Visit | None:
    """The one visit that comes next, when it is one and nothing else is to be done."""
    if isinstance(route, routing.Go) and len(route.visits) == 1 and not route.drop:
        return route.visits[0]
    return None


def agent_of(node: Node) -> str:
    return node.work.name if isinstance(node.work, Agent) else ""
