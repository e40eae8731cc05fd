"""What routing looks at: the steps of a run so far, as values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from runs.canonical import canonical
from runs.definitions import TaskState

GOING = ""  # the outcome of a step that has none yet


@dataclass(frozen=True, slots=True)
class Later:
    """An output that is fetched when a rule looks at it: a long history need not be held in memory."""

    fetch: Callable[[], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Visited:
    """A step: its node, and its output, which has met the node's contract; it may be a `Later`.

    `outcome`: done, failed, ended, or GOING. `parent` is the id of the step whose plan it is a task of, `place` its
    number in that plan from 0.
    """

    node: str
    output: Any = None
    id: int = 0
    outcome: str = TaskState.DONE
    parent: int | None = None
    place: int = 0


def output_of(visited: Visited) -> Any:
    """What the step gave, fetched if it must be."""
    return visited.output.fetch() if isinstance(visited.output, Later) else visited.output


def read_as(contract: type[BaseModel], value: Any) -> BaseModel:
    """A value as its contract. Raises pydantic's ValidationError."""
    return contract.model_validate_json(canonical(value))
