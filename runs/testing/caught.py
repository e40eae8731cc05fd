"""What stood in the way of something wrong, read from a run's events. Pure; judges nothing itself."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from runs.models import QuestionKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A node's accept check that refused an output: the trial's copy of the definition notes it."""

    node: str
    message: str


class Asked(Protocol):
    """The part of a question that is looked at."""

    kind: str
    title: str


Happened = tuple[str, str, Mapping[str, Any]]  # kind, place, data
_FOLLOWED = {
    "model": "fallback model",
    "agent": "another agent",
    "repair": "repair step",
    "verify": "verifier",
}
_OUTPUT = re.compile(r"(^| of )the (output|answer of )")
DEADLINE = "deadline"
_REFUSED = ("contract", "argument contract", "plan check", "accept check", "data error")
_BY_PLACE = {"tool": "unknown tool", "loop": "loop", "context": "context limit", "again": "failed twice"}
_THOUGHT = (*_BY_PLACE.values(), "turns", "reasoning error", "unforeseen error")
_BOUNDS = ("call time limit", DEADLINE, "join", "bound of an edge", "no edge")
_TRIED = ("retry policy", "repair", *_FOLLOWED.values(), "error policy", "policy ended it")
_PEOPLE = (
    "approval",
    *(f"escalation: {kind}" for kind in QuestionKind.values if kind != QuestionKind.APPROVAL),
)
CAUGHT_BY = frozenset({*_REFUSED, *_THOUGHT, *_BOUNDS, *_TRIED, *_PEOPLE})  # everything that `caught` may say


def caught(
    events: Sequence[Happened], questions: Mapping[int, Asked], accepted: Sequence[Accepted]
) -> tuple[str, ...]:
    """Everything that stepped in, in order, each once."""
    found: list[str] = []
    failed: dict[str, str] = {}  # place -> the class of its last failed attempt
    for kind, place, data in events:
        match kind:
            case "attempt failed":
                found.append(_guard(data, accepted))
                failed[place] = str(data["error_class"])
            case "attempt" if place in failed:
                found.append(_followed(str(data.get("by", "")), failed.pop(place)))
            case "asked":
                asked = questions.get(data["question"])
                failed.pop(place, None)
                found.append(_asked(asked) if asked else "escalation")
            case "failed" if re.search(r"\d+ of \d+ tasks are needed", str(data.get("reason", ""))):
                found.append("join")
            case "failed" if "deadline" in str(data.get("reason", "")):
                found.append(DEADLINE)
            case "failed" | "task failed":
                found.append("policy ended it")
    return tuple(dict.fromkeys(filter(None, found)))


def _guard(data: Mapping[str, Any], accepted: Sequence[Accepted]) -> str:
    error, error_class, where = str(data["error"]), str(data["error_class"]), str(data.get("where", ""))
    if any(one.message == error for one in accepted):
        return "accept check"
    match error_class:
        case "recoverable":
            return "call time limit" if _ran_out(error) else ""
        case "reasoning":
            return _reasoning(error, where)
        case "data":
            return _data(error, where)
    return f"{error_class} error"


def _ran_out(error: str) -> bool:
    return error.startswith(("TimeoutError", "no answer within"))


def _reasoning(error: str, where: str) -> str:
    if where in _BY_PLACE:
        return _BY_PLACE[where]
    return "turns" if re.search(r" used its \d+ turns", error) else "reasoning error"


def _data(error: str, where: str) -> str:
    if re.search(r"\barguments of ", error):
        return "argument contract"
    if where.startswith("tasks") and re.search(r"^(tasks of the plan|tasks\.\d+|.*input of task )", error):
        return "plan check"
    return "contract" if _OUTPUT.search(error) else "data error"


def _followed(by: str, error_class: str) -> str:
    """What the error policy did."""
    if by:
        return _FOLLOWED.get(by.partition(":")[0], "error policy")
    return {"recoverable": "retry policy", "data": "repair"}.get(error_class, "error policy")


def _asked(asked: Asked) -> str:
    if asked.kind == "approval":
        return "approval"
    if "no edge out of" in asked.title:
        return "bound of an edge" if "used up" in asked.title else "no edge"
    return f"escalation: {asked.kind}"
