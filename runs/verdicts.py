"""What follows an error: one pure function of the policy and of what was tried. No database, no clock.

Back-off is exponential with full jitter: uniform in [0, min(cap, base * 2^tries)] (Brooker, "Exponential
Backoff And Jitter", 2015), never shorter than what the other side asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from runs.definitions import Ask, End, ErrorPolicy, Policy, Repair, Retry
from runs.errors import ErrorClass


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What went wrong in an attempt, already classified."""

    error_class: ErrorClass
    message: str
    where: str = ""
    retry_after: float | None = None  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class TryAgain:
    """A new attempt after a while; `note` is what the agent is told anew."""

    after_seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalate:
    """A person is asked; `reason` says what kind of error it was and what was tried, not the error itself."""

    reason: str
    priority: int
    deadline_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """The run ends as failed."""

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
    rule = _rule(policy, failure.error_class)
    match rule:
        case Retry() if tries < rule.times and budget_left > 0:
            return TryAgain(after_seconds=_wait(rule, tries, jitter, failure.retry_after))
        case Repair() if tries < rule.times and budget_left > 0:
            return TryAgain(after_seconds=0.0, note=_repair_note(failure))
        case Retry() | Repair():
            return _last(rule.then, failure, tries, budget_left)
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


def _wait(rule: Retry, tries: int, jitter: float, asked: float | None) -> float:
    span: float = min(rule.cap_seconds, rule.base_seconds * 2.0**tries)
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
