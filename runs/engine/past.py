"""What routing looks at: a run's steps as values. An output is fetched when it is asked for. Decides nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from runs import bodies, routing
from runs.definitions import Orchestrated, Pipeline, Recorded, Supervised, Workflow
from runs.engine import versions
from runs.models import Body, Run, Step
from runs.models.step import SETTLED_STEPS


def past(workflow: Workflow, run: Run) -> list[routing.Visited]:
    """Every step of the run that its definition may look at, oldest first; of a chain the last one alone."""
    if isinstance(workflow.pattern, Supervised):
        return _of_tasks(run)
    rules = isinstance(workflow.pattern, Orchestrated)
    steps = run.steps.order_by("seq")
    if not rules:
        steps = steps.select_related("output")
    if isinstance(workflow.pattern, (Pipeline, Recorded)):
        steps = steps.reverse()[:1]
    known = versions.seen(workflow, run, steps) if run.migrated_seq else steps
    return [
        routing.Visited(
            id=step.pk,
            node=step.node,
            output=_later(step) if rules else bodies.load(step.output) if step.output else None,
            outcome=outcome(step.state),
        )
        for step in known
    ]


def outcome(state: str) -> str:
    return state if state in SETTLED_STEPS else routing.GOING


def _later(step: Step) -> routing.Later:
    return routing.Later(lambda: bodies.load(Body.objects.get(pk=step.output_id)))


def _of_tasks(run: Run) -> list[routing.Visited]:
    """Plans and their tasks, by the thousand: no model objects, no outputs that nobody asks for."""
    outputs = _Outputs(run)
    rows = versions.own(run).order_by("seq").values_list("pk", "node", "state", "parent", "place", "output")
    return [
        routing.Visited(
            id=pk,
            node=node,
            output=routing.Later(outputs.of(parent, digest)) if digest else None,
            outcome=outcome(state),
            parent=parent,
            place=place,
        )
        for pk, node, state, parent, place, digest in rows
    ]


class _Outputs:
    """The outputs of a run's tasks, a plan's at a time: whoever joins a plan asks for all of them."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._texts: dict[int | None, dict[str, str]] = {}

    def of(self, parent: int | None, digest: str) -> Callable[[], Any]:
        """Fetches the output of a task of that plan."""
        return lambda: json.loads(self._of_plan(parent)[digest])

    def _of_plan(self, parent: int | None) -> dict[str, str]:
        if parent not in self._texts:
            tasks = Step.objects.filter(run=self._run, parent=parent).values("output")
            self._texts[parent] = dict(Body.objects.filter(pk__in=tasks).values_list("digest", "content"))
        return self._texts[parent]
