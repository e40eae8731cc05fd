"""An attempt or a call as the inspector shows it: what it was given, what came out, what it cost. Reads only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Case, F, OuterRef, Subquery, TextField, When
from django.db.models.functions import Left, Length, Substr

from runs import bodies, registry
from runs.models import Attempt, Body, Call, CallKind, Run, Step
from runs.shown import words

WHOLE = 256 * 1024  # bytes; of a longer text only the beginning is fetched
HEAD = 4_000  # characters of it
MOST_TURNS = 40
MOST_CALLS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """An attempt with its calls, or one call, with bodies. `context` is what it was given, `output` what came of it;
    of very long ones the content is only the beginning. `task_head`: the beginning of the step's input."""

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
    task_head: str

    @property
    def finished(self) -> bool:
        return self.attempt.finished_at is not None


def of(run: Run, attempt_id: int | None, call_id: int | None) -> Inspected | None:
    """What was chosen on the timeline; None when this run has no such attempt or call. Two queries at most."""
    if call_id is not None:
        return _of_call(run, call_id)
    return _of_attempt(run, attempt_id) if attempt_id is not None else None


def loaded(body: Body | None) -> Any:
    """The value of a body; its text when it is not JSON, or only its beginning is there."""
    if body is None:
        return None
    try:
        return bodies.load(body)
    except ValueError:
        return body.content


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some of a stored text: the whole value, or characters `begin` to `end` of so many."""

    value: Any
    begin: int
    end: int
    total: int

    @property
    def whole(self) -> bool:
        return self.begin == 0 and self.end == self.total


def part(body: Body, begin: int, size: int) -> Part:
    """The whole value of a text up to WHOLE bytes, of a longer one `size` characters from `begin` on. One query."""
    rows = Body.objects.filter(pk=body.pk)
    if body.size <= WHOLE:
        text = rows.values_list("content", flat=True).get()
        body.content = text
        return Part(value=loaded(body), begin=0, end=len(text), total=len(text))
    row = rows.values_list(Substr("content", begin + 1, size), Length("content")).get()
    return Part(value=row[0], begin=begin, end=begin + len(row[0]), total=row[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One thing an agent was given: who said it, and what."""

    who: str
    said: Any


def turns(request: Any) -> tuple[tuple[Turn, ...], int]:
    """A model request as the agent reads it, in order: prompt and messages, at most MOST_TURNS, the newest of them,
    and how many came before. Nothing for anything else, and for a recorded call whose context was not recorded."""
    if not isinstance(request, dict) or not isinstance(request.get("messages"), list):
        return (), 0
    found = [Turn(who="prompt", said=request["prompt"])] if request.get("prompt") else []
    for message in request["messages"]:
        if not isinstance(message, dict):
            continue
        if message.get("text"):
            found.append(Turn(who=str(message.get("role", "")), said=_maybe_json(message["text"])))
        for asked in message.get("tool_calls") or ():
            found.append(Turn(who=f"asks for {asked.get('name', 'a tool')}", said=asked.get("arguments", {})))
    return tuple(found[-MOST_TURNS:]), max(0, len(found) - MOST_TURNS)


def _maybe_json(text: str) -> Any:
    """Engine messages are JSON texts; what is not stays text."""
    if text[:1] not in ("{", "["):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _of_call(run: Run, call_id: int) -> Inspected | None:
    rows = Call.objects.filter(run=run, pk=call_id).select_related("attempt__step", "request", "response")
    rows = rows.defer("request__content", "response__content", "attempt__step__note")
    call = rows.annotate(given=_text("request"), came=_text("response"), head=_head("step__input")).first()
    if call is None:
        return None
    context, output = _body(call.request, call.given), _body(call.response, call.came)
    said = (output, "reply" if output else "")
    return _inspected(run, call.attempt, call, (call,), context, said, call.head)


def _of_attempt(run: Run, attempt_id: int) -> Inspected | None:
    asked = Call.objects.filter(attempt=OuterRef("pk"), kind=CallKind.MODEL).order_by("-pk")
    names = ("step__input", "step__output", "rejected_output")
    rows = Attempt.objects.filter(step__run=run, pk=attempt_id).select_related(*names)
    rows = rows.defer(*(f"{name}__content" for name in names), "step__note")
    attempt = rows.annotate(
        asked=Subquery(asked.values("request")[:1]),
        asked_size=Subquery(asked.values("request__size")[:1]),
        asked_text=Subquery(asked.values(text=_text("request"))[:1]),
        given=_text("step__input"),
        came=_text("step__output"),
        refused=_text("rejected_output"),
        head=_head("step__input"),
    ).first()
    if attempt is None:
        return None
    step = attempt.step
    context = _body(step.input, attempt.given)
    if attempt.asked:
        context = Body(digest=attempt.asked, size=attempt.asked_size, content=attempt.asked_text)
    calls = Call.objects.filter(attempt=attempt).order_by("-pk")[:MOST_CALLS]
    return _inspected(
        run, attempt, None, tuple(reversed(calls)), context, _output(step, attempt), attempt.head
    )


def _text(name: str) -> Case:
    """The content of a body, or of a very long one its beginning."""
    return Case(
        When(**{f"{name}__size__lte": WHOLE}, then=F(f"{name}__content")),
        default=Left(f"{name}__content", HEAD),
        output_field=TextField(null=True),
    )


def _head(name: str) -> Left:
    return Left(f"{name}__content", words.HEAD)


def _body(body: Body | None, text: str | None) -> Body | None:
    """A body that was fetched without its content, with so much of it."""
    if body is not None:
        body.content = text or ""
    return body


def _inspected(
    run: Run,
    attempt: Attempt,
    call: Call | None,
    calls: Sequence[Call],
    context: Body | None,
    output: tuple[Body | None, str],
    head: str | None,
) -> Inspected:
    asked = [one for one in calls if one.kind == CallKind.MODEL or one is call]
    return Inspected(
        step=attempt.step,
        attempt=attempt,
        call=call,
        calls=() if call else tuple(calls),
        context=context,
        output=output[0],
        output_words=output[1],
        contract=_contract(run, attempt.step),
        tokens_in=sum(one.tokens_in or 0 for one in asked),
        tokens_out=sum(one.tokens_out or 0 for one in asked),
        cost_micros=sum(one.cost_micros or 0 for one in asked),
        latency_ms=sum(one.latency_ms or 0 for one in asked),
        task_head=head or "",
    )


def _output(step: Step, attempt: Attempt) -> tuple[Body | None, str]:
    """What came out, and in a word what it is."""
    if attempt.rejected_output is not None:
        return _body(attempt.rejected_output, attempt.refused), "broken"  # type: ignore[attr-defined]  # annotated
    came = _body(step.output, attempt.came)  # type: ignore[attr-defined]  # annotated
    if attempt.state == "done" and came is not None:
        return came, "met"
    if step.answered_by and came is not None:
        return came, "person"
    return None, ""


def _contract(run: Run, step: Step) -> str:
    workflow = registry.workflow(run.workflow, run.version)
    if workflow is None:
        return ""
    try:
        return workflow.node(step.node).gives.__name__
    except LookupError:
        return ""
