"""A run that has been, as a rehearsal looks at it: what it called, when, what that used, what people answered. Values.

Money in millionths of a US dollar. A moment is None where the recording has none. What is None was not recorded.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from runs.limits.kinds import LimitKind
from runs.limits.rows import Where

Spans = tuple[tuple[datetime, datetime], ...]  # from, until


class How(enum.StrEnum):
    """How a run went, as far as its record says."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ENDED = "ended"  # by a person
    UNDER_WAY = "under way"
    UNKNOWN = "unknown"  # a recording that does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class PastCall:
    """One sending of a model or tool call. `first`: not sent again after a failure; of a model call, so a turn."""

    step: int
    kind: str  # "model" or "tool"
    agent: str = ""
    tool: str = ""
    model: str = ""
    begun: datetime | None = None
    ended: datetime | None = None
    tokens_in: int | None = 0
    tokens_out: int | None = 0
    cost: int | None = 0
    context: int | None = None  # tokens of the history that a model call was sent with
    first: bool = True
    failed: bool = False  # of a recording: that the record marks it so, and its model or tool is to blame
    node: str = ""  # the place of the workflow

    @property
    def tokens(self) -> int | None:
        if self.tokens_in is None or self.tokens_out is None:
            return None
        return self.tokens_in + self.tokens_out


@dataclass(frozen=True, slots=True, kw_only=True)
class PastStep:
    """One visit to a place of the workflow. `waits`: when it was held or waited for a person.

    `tasks`: how many a plan that it made had; `depth`: how many plans that one stands in, its own counted.
    """

    number: int
    node: str = ""
    agent: str = ""
    begun: datetime | None = None
    ended: datetime | None = None
    waits: Spans = ()
    tasks: int = 0
    depth: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRetry:
    step: int
    at: datetime | None = None
    position: int | None = None  # how many calls had been made; None: by its moment


@dataclass(frozen=True, slots=True, kw_only=True)
class PastQuestion:
    """What a person was asked, and what came of it. `capped`: asked because a limit was used up. `took`: from taking
    the card to the answer, where it was taken."""

    asked: datetime
    answered: datetime | None = None
    verb: str = ""
    by: str = ""
    title: str = ""
    number: int = 0
    took: timedelta | None = None
    capped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRefusal:
    """A limit that stopped the run when it was under way: the number of its row, and when."""

    limit: int
    step: int
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PastFinding:
    """What a guard says of the run when it is fed with it again: about which call, and before which it would have
    stopped (both counted from 0), with what figure."""

    call: int
    position: int
    step: int
    value: int
    says: str
    at: datetime | None = None


Watched = Callable[
    [LimitKind, int], Iterable[PastFinding]
]  # kind and value of a limit -> what guards say by it


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """`calls` in order of their beginnings. `told` has what the record does not hold, a sentence each.

    `timed`: whether its moments are those of the work. `retries`, `watched` None: they cannot be told.
    """

    key: str
    number: int | None = None
    team: str = ""
    workflow: str = ""
    goal: str = ""
    begun: datetime | None = None
    ended: datetime | None = None
    seen_until: datetime | None = None  # of one under way: the moment it was read
    timed: bool = True
    how: How = How.UNKNOWN
    held: Spans = ()
    calls: tuple[PastCall, ...] = ()
    steps: tuple[PastStep, ...] = ()
    retries: tuple[PastRetry, ...] | None = ()
    questions: tuple[PastQuestion, ...] = ()
    refusals: tuple[PastRefusal, ...] = ()
    watched: Watched | None = None

    def where(self, call: PastCall) -> Where:
        return Where(
            team=self.team,
            workflow=self.workflow,
            agent=call.agent,
            tool=call.tool,
            model=call.model,
            run=self.number,
        )

    def position_at(self, moment: datetime | None) -> int:
        """How many calls had begun before that moment."""
        if moment is None:
            return len(self.calls)
        return sum(call.begun is None or call.begun < moment for call in self.calls)
