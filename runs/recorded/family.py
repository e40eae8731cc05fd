"""The workflows of recorded runs: "recorded:<what ran>", one for every name, made when asked for. No database."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from runs import registry
from runs.definitions import ErrorPolicy, Node, Repair, Retry, Workflow
from runs.recorded.items import Item, Recording, Said
from runs.recorded.pattern import Recorded

PREFIX = "recorded:"
TEAM = "Recorded"
DEADLINE_SECONDS = 30 * 24 * 3600.0  # a recording played at its own speed, with holds in it, takes its time


@dataclass(frozen=True, slots=True)
class Playback:
    """Marks work that the engine plays from the record."""

    def __call__(self, given: Any) -> BaseModel:
        raise LookupError("a recorded item is played by the engine; it is no function")


def name_of(workflow: str) -> str:
    """The name under which recorded runs of that workflow go here."""
    return f"{PREFIX}{workflow}"


@lru_cache(maxsize=1024)
def workflow(name: str, version: int) -> Workflow | None:
    """The definition behind a name of this family. There is one version: the recording is the run's own input."""
    if version != 1 or len(name) <= len(PREFIX):
        return None
    item = Node(
        name="item",
        work=Playback(),
        takes=Item,
        gives=Said,
        errors=ErrorPolicy(recoverable=Retry(times=4, base_seconds=0.5), data=Repair()),
    )
    return Workflow(
        name=name,
        version=version,
        team=TEAM,
        pattern=Recorded(item=item),
        goal=_goal,
        title="Recorded runs",
        description="Runs that were recorded elsewhere, played with the model and tool results they had.",
        deadline_seconds=DEADLINE_SECONDS,
    )


def _goal(recording: Recording) -> str:
    return " ".join(recording.goal.split()) or recording.run_id


registry.family(PREFIX, workflow)
