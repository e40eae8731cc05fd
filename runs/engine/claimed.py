"""What a worker has claimed to perform: one attempt, as a value; or why there is nothing to perform."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from runs.definitions import Agent, Node, Workflow
from runs.engine.sent import Sent
from runs.models import Attempt, Run, Step
from runs.routing import Visited
from runs.verdicts import StandIn


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """One attempt to perform. Everything but the ids is a snapshot; the fence says whether it still counts."""

    run: Run
    workflow: Workflow
    node: Node
    step: Step
    attempt: Attempt
    fence: int
    worker: str
    seconds_left: float  # of the run's deadline, when it was claimed
    stand_in: StandIn = field(default_factory=StandIn)
    past: tuple[Visited, ...] | None = (
        None  # the steps before this one, when it is alone; None: not known here
    )
    began: float = field(default_factory=time.monotonic)
    most_seconds: float = math.inf  # in one go, where people limit that
    sent: Sent = field(default_factory=Sent, compare=False, repr=False)

    def left(self) -> float:
        """Seconds that are left of the run's deadline now; never below zero."""
        return max(0.0, self.seconds_left - (time.monotonic() - self.began))

    def left_for_a_call(self) -> float:
        """Seconds that the next call may take: what is left of the run's deadline, and of this step in one go."""
        return max(0.0, min(self.left(), self.began + self.most_seconds - time.monotonic()))

    @property
    def work(self) -> Agent | Callable[[Any], Any]:
        """Who performs it: the node's own work, or who the error policy put in its place."""
        return self.stand_in.work or self.node.work


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """Nothing to perform now, and why: waits, held, final, taken, later, others (they go on at the same run),
    dropped (this step is not needed any more), lost (nobody knows how it ended; others may go on)."""

    why: str


Next = tuple[Claimed, ...] | Nothing
