"""One run as its page shows it: its history, the drawing of its workflow, its waterfall. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from django.db.models import Max

from runs import graph, registry, timeline
from runs.definitions import Agent, Workflow
from runs.glyphs import glyph
from runs.graph import Box, Drawing
from runs.models import Attempt, Call, Event, Question, Run, Step
from runs.timeline import Asked, Called, Held, Timeline, Tried, Visited

EVENTS = 200  # a page


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Everything that happened in a run, loaded once for all its drawings."""

    run: Run
    steps: tuple[Step, ...]
    attempts: dict[int, list[Attempt]]
    calls: dict[int, list[Call]]
    questions: dict[int, list[Question]]
    loose_questions: tuple[Question, ...]
    holds: tuple[Held, ...]

    @property
    def newest_attempt(self) -> int | None:
        """The attempt the inspector shows when nobody has chosen one."""
        return max((one.pk for many in self.attempts.values() for one in many), default=None)

    @property
    def open_question(self) -> Question | None:
        everything = [*self.loose_questions, *(one for many in self.questions.values() for one in many)]
        return next((one for one in everything if one.state == "open"), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A box of the workflow's drawing with what happened there. state: done, here, ahead."""

    box: Box
    name: str
    under: str
    state: str
    glyph: str
    tone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A line of the drawing, and whether the run went along it."""

    path: str
    tip: str
    went: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The workflow's drawing. `said` says the same in words."""

    drawing: Drawing
    places: tuple[Place, ...]
    ways: tuple[Way, ...]
    said: str


def history(run: Run) -> History:
    """Four queries, however long the run is. Every step has an attempt: they are made together."""
    attempts = list(
        Attempt.objects.filter(step__run=run).select_related("step").order_by("step__seq", "number")
    )
    calls = Call.objects.filter(run=run).defer("parameters").order_by("pk")
    questions = list(Question.objects.filter(run=run).defer("action", "evidence", "words").order_by("pk"))
    events = Event.objects.filter(run=run, kind__in=("held", "resumed")).order_by("seq")
    return History(
        run=run,
        steps=tuple({attempt.step_id: attempt.step for attempt in attempts}.values()),
        attempts=_by(attempts, "step_id"),
        calls=_by(calls, "attempt_id"),
        questions=_by((one for one in questions if one.step_id), "step_id"),
        loose_questions=tuple(one for one in questions if not one.step_id),
        holds=_holds(events),
    )


def waterfall(past: History, now: datetime) -> Timeline:
    """The timeline of a run. Nodes nobody has come to yet stand below."""
    run = past.run
    return timeline.timeline(
        begin=run.created_at,
        end=run.finished_at,
        now=now,
        visits=[_visited(past, step) for step in past.steps],
        ahead=[] if run.final else _ahead(past),
        holds=past.holds,
    )


def plan(past: History) -> Plan | None:
    """The drawing of the run's workflow; None when that version is not installed."""
    workflow = registry.workflow(past.run.workflow, past.run.version)
    if workflow is None:
        return None
    names = [node.name for node in workflow.nodes]
    ways = list(pairwise(names))
    drawing = graph.layout(names, ways)
    visits = [step.node for step in past.steps]
    went = set(pairwise(visits))
    places = tuple(_place(past, workflow, box) for box in drawing.boxes)
    lines = tuple(
        Way(path=line.path, tip=line.tip, went=(line.source, line.target) in went) for line in drawing.lines
    )
    return Plan(drawing=drawing, places=places, ways=lines, said=_said(past, places))


def events(run: Run, after: int) -> tuple[list[Event], int | None]:
    """A page of events after that number, and the number to go on from (None at the end)."""
    rows = Event.objects.filter(run=run, seq__gt=after).select_related("step").order_by("seq")
    found = list(rows[: EVENTS + 1])
    return found[:EVENTS], found[EVENTS - 1].seq if len(found) > EVENTS else None


def newest_attempt(run: Run) -> int | None:
    """The attempt the inspector shows when nobody has chosen one."""
    newest: int | None = Attempt.objects.filter(step__run=run).aggregate(newest=Max("pk"))["newest"]
    return newest


def _by(rows: Iterable[Any], name: str) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for row in rows:
        found.setdefault(getattr(row, name), []).append(row)
    return found


def _holds(rows: Iterable[Event]) -> tuple[Held, ...]:
    """Stretches from "held" to the next "resumed". A second control during a hold changes only its words."""
    found: list[Held] = []
    begun: Event | None = None
    for event in rows:
        if event.kind == "held":
            begun = begun or event
        elif begun is not None:
            found.append(_held(begun, event.at))
            begun = None
    if begun is not None:
        found.append(_held(begun, None))
    return tuple(found)


def _held(event: Event, end: datetime | None) -> Held:
    return Held(
        kind=str(event.data.get("hold", "")), by=str(event.data.get("by", "")), begin=event.at, end=end
    )


def _visited(past: History, step: Step) -> Visited:
    return Visited(
        id=step.pk,
        node=step.node,
        state=step.state,
        begin=step.started_at,
        end=step.finished_at,
        tries=tuple(_tried(past, attempt) for attempt in past.attempts.get(step.pk, ())),
        questions=tuple(_asked(question) for question in past.questions.get(step.pk, ())),
    )


def _tried(past: History, attempt: Attempt) -> Tried:
    calls = past.calls.get(attempt.pk, ())
    return Tried(
        id=attempt.pk,
        number=attempt.number,
        state=attempt.state,
        begin=attempt.started_at,
        end=attempt.finished_at,
        calls=tuple(
            Called(
                id=call.pk,
                name=call.name,
                kind=call.kind,
                state=call.state,
                begin=call.permitted_at,
                end=call.finished_at,
                cost_micros=call.cost_micros,
            )
            for call in calls
        ),
    )


def _asked(question: Question) -> Asked:
    return Asked(
        id=question.pk,
        state=question.state,
        verb=question.verb,
        by=question.answered_by,
        begin=question.asked_at,
        end=question.answered_at,
    )


def _ahead(past: History) -> list[str]:
    workflow = registry.workflow(past.run.workflow, past.run.version)
    visited = {step.node for step in past.steps}
    return [node.name for node in workflow.nodes if node.name not in visited] if workflow else []


def _place(past: History, workflow: Workflow, box: Box) -> Place:
    visits = [step for step in past.steps if step.node == box.name]
    node = workflow.node(box.name)
    who = node.work.name if isinstance(node.work, Agent) else "function"
    if not visits:
        return Place(box=box, name=box.name, under=who, state="ahead", glyph="ahead", tone="idle")
    last = visits[-1]
    drawing, tone = glyph(last.state)
    here = last.pk == past.steps[-1].pk and not past.run.final
    return Place(
        box=box,
        name=box.name,
        under=_under(past, last, who),
        state="here" if here else "done",
        glyph=drawing,
        tone="sound" if last.state == "done" else tone,
    )


def _under(past: History, step: Step, who: str) -> str:
    tries = len(past.attempts.get(step.pk, ()))
    if step.answered_by:
        return f"by {step.answered_by}"
    if step.state == "waiting":
        return "waits for a person"
    if step.state in ("failed", "ended"):
        return str(step.state)
    return f"{who}, {tries} attempts" if tries > 1 else who


def _said(past: History, places: Sequence[Place]) -> str:
    """The drawing in words, for those who do not see it."""
    done = [place.name for place in places if place.state == "done"]
    here = [f"{place.name} ({place.under})" for place in places if place.state == "here"]
    ahead = [place.name for place in places if place.state == "ahead"]
    parts = [
        f"{words}: {', '.join(names)}"
        for words, names in (("behind", done), ("now at", here), ("ahead", ahead))
        if names
    ]
    return f"{past.run.workflow} v{past.run.version}. {'; '.join(parts)}."
