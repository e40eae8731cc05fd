"""The three patterns in which nodes may follow each other: data alone. `runs.routing` decides from them."""

from __future__ import annotations

import enum
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from runs.recorded.pattern import Recorded

if TYPE_CHECKING:
    from runs.definitions import Node

END = "end"  # where the last edge of an orchestrated workflow leads


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A line from node to node, for drawings: what may follow what, and what it says."""

    source: str
    target: str
    says: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Each node transforms and hands on to the next."""

    nodes: tuple[Node, ...]

    @property
    def ways(self) -> tuple[Way, ...]:
        return _chain(self.nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """What a rule may look at: the run's input and every output so far, oldest first, as their contracts.

    An output is fetched when it is looked at, so that a run of many steps costs each of them no more.
    """

    input: Any
    outputs: Mapping[str, Sequence[Any]]

    def last(self, node: str) -> Any:
        """The newest output of a node. Raises LookupError when it has none."""
        found = self.outputs.get(node)
        if not found:
            raise LookupError(f"{node} has given nothing yet")
        return found[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A transition. The edges out of a node are tried in their order; the first that holds is taken.

    `when(output)` looks at the source's validated output; without it the edge always holds. `hand(trail)` makes the
    target's input; without it the source's output is handed on. `most`: how often a run may take this edge; every
    circle needs one edge that has it. `says` names the condition on drawings.
    """

    source: str
    target: str  # a node, or END
    when: Callable[[Any], bool] | None = None
    hand: Callable[[Trail], BaseModel] | None = None
    most: int | None = None
    says: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orchestrated:
    """A state machine: it begins at the first node, and rules over validated outputs decide every transition."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    @property
    def ways(self) -> tuple[Way, ...]:
        return tuple(
            Way(source=e.source, target=e.target, says=e.says) for e in self.edges if e.target != END
        )


class Rest(enum.StrEnum):
    """What happens to the tasks still open when enough are done."""

    WAIT = "wait"  # everything settles first
    END = "end"  # they are ended, their questions withdrawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """When a plan is joined. `need`: all tasks (None), a number of them, or a share (a float above 0, up to 1)."""

    need: int | float | None = None
    rest: Rest = Rest.WAIT

    def needed(self, tasks: int) -> int:
        """How many of so many tasks must be done; may be more than there are."""
        if self.need is None:
            return tasks
        if isinstance(self.need, float):
            return max(1, math.ceil(self.need * tasks - 1e-9))
        return self.need


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervised:
    """A supervisor returns a plan, the engine fans out to workers on the list and joins, then `then` follow in order.

    `most_tasks` bounds each plan, `depth` how deep plans of workers may stand in plans (1: the supervisor's only),
    `width` how many steps of one run are performed at once. The supervisor performs nothing itself: it has no tool
    that acts. The first node of `then` takes `Results`; without one they are the run's output.
    """

    supervisor: Node
    workers: tuple[Node, ...]
    then: tuple[Node, ...] = ()
    join: Join = field(default_factory=Join)
    most_tasks: int = 50
    depth: int = 1
    width: int = 8

    @property
    def nodes(self) -> tuple[Node, ...]:
        return (self.supervisor, *self.workers, *self.then)

    @property
    def ways(self) -> tuple[Way, ...]:
        planners = [self.supervisor, *(worker for worker in self.workers if worker.plans and self.depth > 1)]
        out = [Way(source=one.name, target=worker.name) for one in planners for worker in self.workers]
        if self.then:
            out += [Way(source=worker.name, target=self.then[0].name) for worker in self.workers]
        return (*out, *_chain(self.then))


def _chain(nodes: tuple[Node, ...]) -> tuple[Way, ...]:
    return tuple(Way(source=one.name, target=after.name) for one, after in itertools.pairwise(nodes))


Pattern = Pipeline | Orchestrated | Supervised | Recorded
