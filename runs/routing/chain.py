"""One node after the other: pipelines, what follows a joined plan, recordings that are played."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runs.routing.history import GOING, Visited, output_of
from runs.routing.routes import Finish, Go, Route, Visit, Wait


def along(nodes: Sequence[str], given: Any, history: Sequence[Visited]) -> Route:
    """One node after the other. `given` is what the first one gets."""
    if not history:
        return Go(visits=(Visit(node=nodes[0], input=given),))
    last = history[-1]
    if last.outcome == GOING:
        return Wait()
    place = nodes.index(last.node) + 1
    if place == len(nodes):
        return Finish(output=output_of(last))
    return Go(visits=(Visit(node=nodes[place], input=output_of(last)),))


def played(history: Sequence[Visited]) -> Route:
    """Every step was planned at the start: when the last one has settled, all have. It is all that is looked at."""
    last = history[-1]
    return Wait() if last.outcome == GOING else Finish(output=last.output)
