"""What a tool call would do, canonically: its checked arguments, the digest that an approval is bound to, what a person
said of exactly that. Sends nothing and permits nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel, ValidationError

from runs import bodies
from runs.canonical import SPARE, canonical, plain, tame, told
from runs.definitions import Tool
from runs.engine.claimed import Claimed
from runs.engine.spend import permits
from runs.engine.spend.wanted import Wanted
from runs.errors import DataError, broken
from runs.models import Call, CallKind, Question, QuestionKind, QuestionState


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What would happen, canonically: the tool and its validated arguments."""

    tool: Tool
    arguments: BaseModel
    key: str
    question_id: int | None = None
    given: Any = field(init=False, compare=False)  # the arguments as plain data
    digest: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "given", plain(self.arguments))
        object.__setattr__(self, "digest", permits.approved_digest(self.tool.name, self.given))

    @property
    def data(self) -> dict[str, Any]:
        return {
            "tool": self.tool.name,
            "arguments": self.given,
            "sentence": plain(self.tool.sentence(self.arguments)),
        }


def check_arguments(tool: Tool, raw: Mapping[str, Any]) -> BaseModel:
    """The arguments as the tool's contract. Raises ContractBroken with the path of the wrong value."""
    try:
        arguments = tool.arguments.model_validate_json(canonical(raw, spare=SPARE))
        canonical(arguments)  # a contract may make of a text a number that JSON has not
    except ValidationError as error:
        raise broken(error, f"arguments of {tool.name}") from error
    except ValueError as error:
        raise DataError(f"arguments of {tool.name}: {told(error)}") from error
    return arguments


def as_sent(action: Action, call: Call) -> Action:
    """The action as it was permitted, which a person may have edited."""
    data = bodies.load(call.request)
    arguments = check_arguments(action.tool, data["arguments"])
    return replace(action, arguments=arguments, question_id=call.question_id)


def wanted(action: Action) -> Wanted:
    """What its permit is asked for."""
    return Wanted(
        kind=CallKind.TOOL,
        name=action.tool.name,
        key=action.key,
        request=action.data,
        effect=action.tool.effect_class,
        egress=action.tool.egress,
        digest=action.digest,
        question_id=action.question_id,
    )


def answered(claimed: Claimed, action: Action, kind: QuestionKind) -> Question | None:
    """The newest question about this action that was closed by a person or by its deadline."""
    return (
        Question.objects.filter(step_id=claimed.step.pk, call_key=action.key, kind=kind)
        .exclude(state__in=[QuestionState.OPEN, QuestionState.WITHDRAWN])
        .order_by("-pk")
        .first()
    )


def fit_to_keep(given: object) -> dict[str, Any]:
    """What a tool answered, fit to be kept: the effect has happened, so nothing may fail because of it."""
    kept = tame(given)
    return kept if isinstance(kept, dict) else {"answer": kept}
