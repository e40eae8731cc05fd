"""An attempt or a call as the inspector shows it: what it was given, what came out, what it cost. Reads only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runs import bodies, registry
from runs.models import Attempt, Body, Call, CallKind, Run, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """An attempt with its calls, or one call, with bodies. `context` is what it was given, `output` what came of it."""

    step: Step
    attempt: Attempt
    call: Call | None
    calls: tuple[Call, ...]
    context: Body | None
    output: Body | None
    output_words: str
    contract: str
    tokens_in: int
    tokens_out: int
    cost_micros: int
    latency_ms: int

    @property
    def finished(self) -> bool:
        return self.attempt.finished_at is not None


def of(run: Run, attempt_id: int | None, call_id: int | None) -> Inspected | None:
    """What was chosen on the timeline; None when this run has no such attempt or call."""
    call = _call(run, call_id) if call_id is not None else None
    wanted = call.attempt_id if call else attempt_id
    attempt = (
        Attempt.objects.select_related("step__input", "step__output", "rejected_output")
        .filter(step__run=run, pk=wanted)
        .first()
        if wanted is not None
        else None
    )
    if attempt is None:
        return None
    if call is not None:
        return _inspected(run, attempt, call, ())
    calls = Call.objects.filter(attempt=attempt).select_related("request", "response").order_by("pk")
    return _inspected(run, attempt, None, tuple(calls))


def loaded(body: Body | None) -> Any:
    """The value of a body; its text when it is not JSON."""
    if body is None:
        return None
    try:
        return bodies.load(body)
    except ValueError:
        return body.content


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One thing an agent was given: who said it, and what."""

    who: str
    said: Any


def turns(request: Any) -> tuple[Turn, ...]:
    """A model request as the agent reads it, in order: prompt and messages. Empty for anything else, and for a
    recorded call whose context was not recorded."""
    if not isinstance(request, dict) or not isinstance(request.get("messages"), list):
        return ()
    found = [Turn(who="prompt", said=request["prompt"])] if request.get("prompt") else []
    for message in request["messages"]:
        if not isinstance(message, dict):
            continue
        if message.get("text"):
            found.append(Turn(who=str(message.get("role", "")), said=_maybe_json(message["text"])))
        for asked in message.get("tool_calls") or ():
            found.append(Turn(who=f"asks for {asked.get('name', 'a tool')}", said=asked.get("arguments", {})))
    return tuple(found)


def _maybe_json(text: str) -> Any:
    """Engine messages are JSON texts; what is not stays text."""
    if text[:1] not in ("{", "["):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _call(run: Run, call_id: int) -> Call | None:
    return Call.objects.select_related("request", "response").filter(run=run, pk=call_id).first()


def _inspected(run: Run, attempt: Attempt, call: Call | None, calls: Sequence[Call]) -> Inspected:
    step = attempt.step
    asked = [call] if call else [one for one in calls if one.kind == CallKind.MODEL]
    last_request = asked[-1].request if asked else step.input
    output, words = _output(step, attempt, call)
    return Inspected(
        step=step,
        attempt=attempt,
        call=call,
        calls=tuple(calls),
        context=last_request,
        output=output,
        output_words=words,
        contract=_contract(run, step),
        tokens_in=sum(one.tokens_in or 0 for one in asked),
        tokens_out=sum(one.tokens_out or 0 for one in asked),
        cost_micros=sum(one.cost_micros or 0 for one in asked),
        latency_ms=sum(one.latency_ms or 0 for one in asked),
    )


def _output(step: Step, attempt: Attempt, call: Call | None) -> tuple[Body | None, str]:
    """What came out, and in a word what it is."""
    if call is not None:
        return call.response, "reply" if call.response else ""
    if attempt.rejected_output is not None:
        return attempt.rejected_output, "broken"
    if attempt.state == "done" and step.output is not None:
        return step.output, "met"
    if step.answered_by and step.output is not None:
        return step.output, "person"
    return None, ""


def _contract(run: Run, step: Step) -> str:
    workflow = registry.workflow(run.workflow, run.version)
    if workflow is None:
        return ""
    try:
        return workflow.node(step.node).gives.__name__
    except LookupError:
        return ""
