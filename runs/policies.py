"""What follows an error, as chains that engineers write: data alone. `runs.verdicts` walks them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel

if TYPE_CHECKING:
    from runs.definitions import Agent


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Ask a person; denied at the deadline."""

    priority: int = 50
    deadline_seconds: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """End what failed: the run, or under a supervisor the task alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Try again with exponential back-off and full jitter, inside the run's retry budget."""

    times: int = 3
    base_seconds: float = 1.0
    cap_seconds: float = 30.0
    then: Policy = field(default_factory=Ask)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """Show the agent which value broke the contract and let it answer again."""

    times: int = 1
    then: Policy = field(default_factory=Ask)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """The same agent on other models, one attempt each, in this order."""

    models: tuple[str, ...]
    then: Policy = field(default_factory=Ask)

    @property
    def times(self) -> int:
        return len(self.models)


@dataclass(frozen=True, slots=True, kw_only=True)
class Another:
    """Another agent does the step from its input; it is not told what the first one said."""

    agent: Agent
    then: Policy = field(default_factory=Ask)
    times: ClassVar[int] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairStep:
    """A step of its own mends what was refused: an agent or a function from `RefusedOutput` to the node's `gives`."""

    by: Agent | Callable[[Any], BaseModel]
    then: Policy = field(default_factory=Ask)
    times: ClassVar[int] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify:
    """Somebody independent looks at what was refused and why, and gives the output he stands for: an agent that is
    not the node's own, or a function, from `RefusedOutput` to the node's `gives`."""

    by: Agent | Callable[[Any], BaseModel]
    then: Policy = field(default_factory=Ask)
    times: ClassVar[int] = 1


# A chain ends with a person or with the end; each link before it is used up first.
Policy = Retry | Repair | Fallback | Another | RepairStep | Verify | Ask | End


def links(policy: Policy) -> Iterator[Policy]:
    """The chain of a policy, link by link, to its end."""
    yield policy
    while not isinstance(policy, (Ask, End)):
        policy = policy.then
        yield policy


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorPolicy:
    """What follows an error, by class. What nobody foresaw always goes to a person. Without a word no agent is given
    its own broken output again."""

    recoverable: Policy = field(default_factory=Retry)
    data: Policy = field(default_factory=Ask)
    reasoning: Policy = field(default_factory=Ask)

    @property
    def chains(self) -> tuple[Policy, ...]:
        return (self.recoverable, self.data, self.reasoning)

    @property
    def stand_ins(self) -> tuple[Agent | Callable[[Any], BaseModel], ...]:
        """Everybody whom a chain may put in the place of the node's own work."""
        found: list[Agent | Callable[[Any], BaseModel]] = []
        for link in (link for chain in self.chains for link in links(chain)):
            match link:
                case Another(agent=agent):
                    found.append(agent)
                case RepairStep(by=by) | Verify(by=by):
                    found.append(by)
        return tuple(found)

    @property
    def models(self) -> tuple[str, ...]:
        """Every model that a chain falls back to."""
        chain_links = (link for chain in self.chains for link in links(chain))
        return tuple(model for link in chain_links if isinstance(link, Fallback) for model in link.models)
