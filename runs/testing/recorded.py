"""A run on record as scripts for a trial: what its agents replied, and what its tools that act answered. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from runs import bodies
from runs.agents.door import ModelReply, ToolCall, Usage
from runs.errors import DataError, ErrorClass, ReasoningError, RecoverableError
from runs.models import Call, CallKind, CallState, Run
from runs.testing.faults import TrialFault
from runs.testing.replies import Reply, Script
from runs.testing.tools import ToolScript

_ERRORS: dict[str, type[Exception]] = {
    ErrorClass.RECOVERABLE: RecoverableError,
    ErrorClass.DATA: DataError,
    ErrorClass.REASONING: ReasoningError,
}


def recorded_scripts(run_id: int) -> dict[str, Script]:
    """By agent: every reply its model gave and every error its provider raised, in order."""
    found: dict[str, list[Reply]] = {}
    for call in _calls(run_id, CallKind.MODEL):
        found.setdefault(call.name, []).append(
            Reply(whole=_reply(call)) if call.state == CallState.DONE else Reply(error=_error(call))
        )
    return dict(found)


def recorded_tools(run_id: int) -> dict[str, ToolScript]:
    """By tool that acts: what it answered, in order. Other tools are performed again."""
    found: dict[str, list[Mapping[str, Any] | BaseException]] = {}
    for call in _calls(run_id, CallKind.TOOL):
        if call.egress or call.effect != "none":
            answer = bodies.load(call.response) if call.response else _error(call)
            found.setdefault(call.name, []).append(answer)
    return dict(found)


def _calls(run_id: int, kind: CallKind) -> Iterable[Call]:
    if not Run.objects.filter(pk=run_id).exists():
        raise TrialFault(f"There is no run {run_id} in this database whose calls could be given again.")
    ended = Call.objects.filter(run_id=run_id, kind=kind, state__in=[CallState.DONE, CallState.FAILED])
    return ended.select_related("response").order_by("pk")


def _reply(call: Call) -> ModelReply:
    assert call.response is not None
    data = bodies.load(call.response)
    return ModelReply(
        model=data["model"],
        text=data["text"],
        tool_calls=tuple(ToolCall(**one) for one in data["tool_calls"]),
        output=data["output"],
        usage=Usage(**data["usage"]),
    )


def _error(call: Call) -> BaseException:
    kind = _ERRORS.get(call.error_class)
    return kind(call.error) if kind else RuntimeError(call.error)
