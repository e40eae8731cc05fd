"""What routing can say: which visits come next, that something has to be waited for, how a run ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Work for one node, with the input it gets."""

    node: str
    input: Any
    parent: int | None = None
    place: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """These visits come next; more than one means side by side. The steps in `drop` are not needed any more."""

    visits: tuple[Visit, ...]
    drop: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Nothing comes before what is going now has settled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """Nothing is left to do; this is the run's output."""

    output: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """It cannot go on by the definition: a join that cannot be met any more."""

    reason: str


Route = Go | Wait | Finish | Fail


class NoWay(Exception):
    """No edge out of a node holds: the definition does not say what comes next. A person is asked.

    `most`: how often an edge may be taken that would hold but for that; None when there is none.
    """

    def __init__(self, says: str, *, most: int | None = None) -> None:
        super().__init__(says)
        self.most = most
