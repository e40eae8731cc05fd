"""What follows an error: one pure function of the policy and of what was tried. No database, no clock.

A policy is a chain; each link is used up before the next one counts. Back-off is exponential with full jitter:
uniform in [0, min(cap, base * 2^tries)] (Brooker, "Exponential Backoff And Jitter", 2015), never shorter than what
the other side asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from runs.definitions import (
    Agent,
    Another,
    Ask,
    End,
    ErrorPolicy,
    Fallback,
    Node,
    Policy,
    Repair,
    RepairStep,
    Retry,
    Verify,
)
from runs.errors import ErrorClass
from runs.policies import links


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What went wrong in an attempt, already classified."""

    error_class: ErrorClass
    message: str
    where: str = ""
    retry_after: float | None = None  # seconds
    ask: bool = False  # nothing more is tried: a person comes, or the end where the policy ends with it
    person: bool = False  # only a person can mend it: nothing is tried, and the policy cannot end it


@dataclass(frozen=True, slots=True, kw_only=True)
class TryAgain:
    """A new attempt after a while; `note` is what the agent is told anew.

    `by` says who makes it, see `stand_in`; None: whoever made the last one.
    """

    after_seconds: float
    note: str = ""
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalate:
    """A person is asked; `reason` says what kind of error it was and what was tried, not the error itself."""

    reason: str
    priority: int
    deadline_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """The run ends as failed; under a supervisor the task alone."""

    reason: str


_NAMES = {
    ErrorClass.RECOVERABLE: "a recoverable error",
    ErrorClass.DATA: "a data error",
    ErrorClass.REASONING: "a reasoning error",
    ErrorClass.UNFORESEEN: "an error that no policy foresaw",
}
Verdict = TryAgain | Escalate | Stop


def judge(policy: ErrorPolicy, failure: Failure, *, tries: int, budget_left: int, jitter: float) -> Verdict:
    """The verdict on a failed attempt.

    `tries` counts earlier attempts of this step that failed with the same class, `budget_left` the retries the
    run may still spend, `jitter` is a number in [0, 1).
    """
    rule, spent = _link(_rule(policy, failure.error_class), tries)
    if failure.ask or failure.person or budget_left <= 0:
        rule = _end_of(rule)
    if failure.person and isinstance(rule, End):
        rule = Ask(priority=60)
    match rule:
        case Retry():
            return TryAgain(after_seconds=_wait(rule, spent, jitter, failure.retry_after))
        case Repair():
            return TryAgain(after_seconds=0.0, note=_repair_note(failure))
        case Fallback(models=models):
            return TryAgain(after_seconds=0.0, by=f"model:{models[spent]}")
        case Another(agent=agent):
            return TryAgain(after_seconds=0.0, by=f"agent:{agent.name}")
        case RepairStep(by=by):
            return TryAgain(after_seconds=0.0, by=f"repair:{work_name(by)}")
        case Verify(by=by):
            return TryAgain(after_seconds=0.0, by=f"verify:{work_name(by)}")
        case Ask() | End():
            return _last(rule, failure, tries, budget_left)


def _rule(policy: ErrorPolicy, error_class: ErrorClass) -> Policy:
    match error_class:
        case ErrorClass.RECOVERABLE:
            return policy.recoverable
        case ErrorClass.DATA:
            return policy.data
        case ErrorClass.REASONING:
            return policy.reasoning
        case ErrorClass.UNFORESEEN:
            return Ask(priority=60)


def _link(policy: Policy, tries: int) -> tuple[Policy, int]:
    """The link that answers the next failure after so many, and how many of them it has had itself."""
    for link in links(policy):
        if isinstance(link, (Ask, End)) or tries < link.times:
            return link, tries
        tries -= link.times
    raise LookupError("a chain ends with Ask or End")


def _end_of(policy: Policy) -> Ask | End:
    *_, last = links(policy)
    assert isinstance(last, (Ask, End))
    return last


def _wait(rule: Retry, tries: int, jitter: float, asked: float | None) -> float:
    span: float = min(rule.cap_seconds, rule.base_seconds * 2.0 ** min(tries, 60))
    return max(span * jitter, asked or 0.0)


def _repair_note(failure: Failure) -> str:
    at = f" at {failure.where}" if failure.where else ""
    return f"Your last answer was not accepted{at}: {failure.message}. Answer again and meet the contract."


def _last(rule: Ask | End, failure: Failure, tries: int, budget_left: int) -> Verdict:
    tried = f", tried {tries + 1} times" if tries else ""
    spent = ", the run's retries are used up" if tries and budget_left <= 0 else ""
    reason = f"{_NAMES[failure.error_class]}{tried}{spent}"
    match rule:
        case Ask():
            return Escalate(reason=reason, priority=rule.priority, deadline_seconds=rule.deadline_seconds)
        case End():
            return Stop(reason=f"{failure.message} ({reason})")


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """Who makes an attempt instead of the node's own work.

    `model`: the same agent on that model. `work`: another agent or function; `refused` says that it is given what
    was refused and why (a RefusedOutput) instead of the step's input.
    """

    model: str = ""
    work: Agent | Callable[[Any], Any] | None = None
    refused: bool = False


def back_to(agent: str) -> str:
    """Who makes an attempt when a person sends claims back, as it is kept with the attempt."""
    return f"claims:{agent}"


def stand_in_at(node: Node, by: str) -> StandIn:
    """Resolve who makes an attempt at a node; see `stand_in`. Raises LookupError."""
    again = node.verifies.back_to if node.verifies else None
    if again is not None and by == back_to(again.name):
        return StandIn(work=again, refused=True)
    return stand_in(node.errors, by)


def stand_in(policy: ErrorPolicy, by: str) -> StandIn:
    """Resolve a verdict's `by`; an empty one is the node itself. Raises LookupError for one that the policy
    does not name (any more)."""
    if not by:
        return StandIn()
    for link in _all_links(policy):
        match link:
            case Fallback(models=models) if by.removeprefix("model:") in models and by.startswith("model:"):
                return StandIn(model=by.removeprefix("model:"))
            case Another(agent=agent) if by == f"agent:{agent.name}":
                return StandIn(work=agent)
            case RepairStep(by=work) if by == f"repair:{work_name(work)}":
                return StandIn(work=work, refused=True)
            case Verify(by=work) if by == f"verify:{work_name(work)}":
                return StandIn(work=work, refused=True)
            case _:
                continue
    raise LookupError(f"the error policy names no {by!r}")


def _all_links(policy: ErrorPolicy) -> Iterator[Policy]:
    for chain in policy.chains:
        yield from links(chain)


def work_name(work: Agent | Callable[[Any], Any]) -> str:
    """What a stand-in is called in records; two under one name in one policy are refused by a check."""
    return work.name if isinstance(work, Agent) else getattr(work, "__name__", "function")
