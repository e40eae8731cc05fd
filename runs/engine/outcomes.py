"""How an attempt may end, as values that settle matches on. No database."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from runs.canonical import cut, told
from runs.engine.questions import Asking
from runs.engine.refusals import Refusal
from runs.errors import StepError, classify
from runs.verdicts import Failure

LONGEST_PLACE = 500  # characters of the path of a wrong value: an agent may have chosen its names


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """The node's output; it has met its contract. `text` is its canonical JSON, where somebody knows it already."""

    value: BaseModel
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The attempt parks at a question and goes on after the answer. `history` is what was said so far."""

    asking: Asking
    history: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The attempt failed. `blamed` is the call whose reply was wrong: it is not replayed.

    `rejected` is the output that broke the contract, if that was it; a person may mend it.
    """

    failure: Failure
    blamed: int | None = None
    rejected: Any = None
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A control cut the attempt in flight, or refused its next permit."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The lease is gone, or nobody can say: somebody else goes on, nothing of this may be applied."""

    why: str = "another worker holds this run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """A guard has no room now: the same attempt goes on by itself, and holds nothing meanwhile."""

    refusal: Refusal


Outcome = Output | Asked | Failed | Cut | Lost | Later


class Refused(Exception):
    """A permit was refused: by a control or a lost fence. Nothing was sent."""

    def __init__(self, why: str, *, lost: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.lost = lost


class Blocked(Exception):
    """A guard has no room now, and will have by itself. Nothing was sent."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.says)
        self.refusal = refusal


class Blamed(Exception):
    """A step error, and the model call whose reply is to blame for it; None when what the reply asked for could not be
    done now: then it holds, and a retry does the same and not what a model would word anew. `rejected` is the node's
    output, where that was wrong."""

    def __init__(self, error: StepError, call: int | None, *, rejected: Any = None, words: str = "") -> None:
        super().__init__(error.message)
        self.error = error
        self.call = call
        self.rejected = rejected
        self.words = words


class Unapproved(Exception):
    """An effect came without the approval it needs. Nothing was sent; a person is asked, for nobody foresaw it."""


class Park(Exception):
    """Unwinds an attempt to its question."""

    def __init__(self, asking: Asking) -> None:
        super().__init__(asking.title)
        self.asking = asking


class CutInFlight(Exception):
    """The call in flight was cancelled."""

    def __init__(self, why: str, *, lost: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.lost = lost


def failed(
    error: BaseException, *, blamed: int | None = None, rejected: Any = None, words: str = ""
) -> Failed:
    """An attempt that failed with this error."""
    failure = Failure(
        error_class=classify(error),
        message=told(error),
        where=cut(getattr(error, "where", ""))[:LONGEST_PLACE],
        retry_after=_seconds(getattr(error, "retry_after", None)),
        ask=getattr(error, "ask", False) is True,
        person=getattr(error, "person", False) is True,
    )
    return Failed(failure=failure, blamed=blamed, rejected=rejected, words=words)


def _seconds(asked: object) -> float | None:
    """What the other side asked to wait, if that is a time."""
    if not isinstance(asked, (int, float)) or not math.isfinite(asked) or asked < 0:
        return None
    return float(asked)
