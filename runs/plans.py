"""The contracts that the engine itself brings: a supervisor's plan, its results, and an output that was refused."""

from __future__ import annotations

import enum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Task(BaseModel):
    """One piece of a plan: which worker, and its input (checked against the worker's contract)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    worker: str
    input: dict[str, Any]


class Plan(BaseModel):
    """What a supervisor gives: data that the engine checks against the pattern before anybody acts on it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    tasks: tuple[Task, ...] = Field(min_length=1)


class TaskState(enum.StrEnum):
    DONE = "done"
    FAILED = "failed"  # its error policy ended it
    ENDED = "ended"  # a person ended it, or it was not needed any more


class TaskResult(BaseModel):
    """How one task ended. `results` are those of its own plan, when it was one for a worker that plans."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    worker: str
    input: dict[str, Any]
    state: TaskState
    output: dict[str, Any] | None = None
    results: tuple[TaskResult, ...] = ()


class Results(BaseModel):
    """What the node after the join takes: the run's input and every task of the plan, in the plan's order."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    input: dict[str, Any]
    results: tuple[TaskResult, ...]


class Said(BaseModel):
    """One entry of a conversation: `role` is user, assistant or tool, `calls` are the tools that it asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    role: str
    text: str
    calls: tuple[str, ...] = ()


class Conversation(BaseModel):
    """What is to be said in fewer words: what `agent` was given, and everything since. `tokens`: what is allowed."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    agent: str
    given: str
    said: tuple[Said, ...]
    tokens: int


class Summary(BaseModel):
    """The same in fewer words."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    text: str = Field(min_length=1)


class RefusedOutput(BaseModel):
    """What a repair step or a verifier is given. `output` is None when there was none, only an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    input: dict[str, Any]
    output: Any = None
    error: str
    where: str = ""
