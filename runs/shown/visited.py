"""What happened in a run, as its timeline is given it: steps, attempts, calls, questions, holds. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from runs.shown.guarded import Told, Wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """A model or tool call. `state` as in runs.models.CallState; `slow`: what it was slower than."""

    id: int
    name: str
    kind: str
    state: str
    begin: datetime
    end: datetime | None
    cost_micros: int | None = None
    slow: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """An attempt with its calls, oldest first. `words`: how it ended, where the state says too little."""

    id: int
    number: int
    state: str
    begin: datetime
    end: datetime | None
    calls: tuple[Called, ...] = ()
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question: open from `begin`, closed at `end` by a person or by its deadline."""

    id: int
    state: str
    verb: str
    by: str
    begin: datetime
    end: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Visited:
    """A step with its attempts and questions, oldest first. `parent`: the step whose plan it is a task of; `begun`:
    whether anybody has worked on it; `rest`: how many more tasks its plan has, by state, which are not given.
    `remarks`: what guards said of it; `slow`: what it was slower than; `on_path`: the run had to wait for it."""

    id: int
    node: str
    state: str
    begin: datetime
    end: datetime | None
    tries: tuple[Tried, ...] = ()
    questions: tuple[Asked, ...] = ()
    parent: int | None = None
    begun: bool = True
    rest: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[Told | Wait, ...] = ()
    slow: str = ""
    on_path: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A stretch during which a control held the run."""

    kind: str
    by: str
    begin: datetime
    end: datetime | None
