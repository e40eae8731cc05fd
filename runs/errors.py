"""What may go wrong inside a step, by class, and one pure classifier. Never decides what follows: see verdicts.

The three classes are the ones of the error policies (DESIGN.md, "How a run moves"):
recoverable (try again later), data (the value is wrong), reasoning (the thinking is wrong).
Anything else has no class, and a person is asked.
"""

from __future__ import annotations

import enum

from pydantic import ValidationError


class ErrorClass(enum.StrEnum):
    RECOVERABLE = "recoverable"
    DATA = "data"
    REASONING = "reasoning"
    UNFORESEEN = "unforeseen"


class StepError(Exception):
    """An error whose class is known. `where` is the path of the wrong value, if there is one. `ask`: nothing
    more is tried, a person comes (or the end, where the error policy ends with it)."""

    error_class = ErrorClass.UNFORESEEN
    usage: object = None  # what a useless reply used all the same, if it said so (runs.agents.door.Usage)
    person = False  # whether only a person can mend it: one comes whatever the error policy says
    unbilled = False  # whether it is certain that nothing was used: it never left, or was refused as a whole

    def __init__(
        self, message: str, *, where: str = "", retry_after: float | None = None, ask: bool = False
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.retry_after = retry_after  # seconds, as the other side asked (Retry-After)
        self.ask = ask


class RecoverableError(StepError):
    """The other side could not answer now; the same request may work later."""

    error_class = ErrorClass.RECOVERABLE


class DataError(StepError):
    """A value is wrong: it broke a contract, or a check that the workflow states."""

    error_class = ErrorClass.DATA


class ContractBroken(DataError):
    """An agent's output or a tool's arguments do not meet their contract."""


class Unpriced(DataError):
    """A model has no price: nothing is sent, and a person is asked, who reads how to state one."""

    person = True


class ReasoningError(StepError):
    """The agent reasoned wrongly: an invented tool, a circle, turns used up."""

    error_class = ErrorClass.REASONING


def classify(error: BaseException) -> ErrorClass:
    """The class of an error; pure. Unknown errors are unforeseen, which always means a person."""
    if isinstance(error, StepError):
        return error.error_class
    if isinstance(error, ValidationError):
        return ErrorClass.DATA
    if isinstance(error, (ConnectionError, TimeoutError)):
        return ErrorClass.RECOVERABLE
    return ErrorClass.UNFORESEEN


def wrong_values(error: ValidationError) -> list[tuple[str, str]]:
    """(path, message) of every wrong value, without the library's own prefix."""
    found = error.errors(include_url=False, include_context=False)
    return [(".".join(map(str, one["loc"])), str(one["msg"]).removeprefix("Value error, ")) for one in found]


def broken(error: ValidationError, what: str) -> ContractBroken:
    """A pydantic error as one sentence an operator can act on, with the path of the first wrong value."""
    path, says = wrong_values(error)[0]
    got = repr(error.errors(include_url=False, include_context=False)[0].get("input"))[:80]
    if got not in says:
        says = f"{says}, got {got}"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    place = f"{path} of the {what}" if path else f"the {what}"
    return ContractBroken(f"{place}: {says}{more}", where=path or "(whole)")
