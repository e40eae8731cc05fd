"""One run as its page shows it: its history, the drawing of its workflow, its waterfall. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Case, Max, OuterRef, Subquery, TextField, Value, When
from django.db.models.functions import Left

from runs import registry
from runs.models import Attempt, Body, Call, Event, Question, QuestionState, Run, Step
from runs.shown import course, timeline, words
from runs.shown.course import NOT_NEEDED, Course, Went
from runs.shown.timeline import Asked, Called, Held, Timeline, Tried, Visited

EVENTS = 200  # a page


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Everything that happened in a run, loaded once for all its drawings. `dropped`: steps that were not needed."""

    run: Run
    steps: tuple[Step, ...]
    attempts: dict[int, list[Attempt]]
    calls: dict[int, list[Call]]
    questions: dict[int, list[Question]]
    loose_questions: tuple[Question, ...]
    holds: tuple[Held, ...]
    dropped: Set[int]

    @property
    def newest_attempt(self) -> int | None:
        """The attempt the inspector shows when nobody has chosen one."""
        return max((one.pk for many in self.attempts.values() for one in many), default=None)

    @property
    def open_questions(self) -> tuple[Waits, ...]:
        """Every question of this run that a person can answer now, the first to run out first."""
        by_id = {step.pk: step for step in self.steps}
        everything = [*self.loose_questions, *(one for many in self.questions.values() for one in many)]
        found = [
            Waits(question=one, at=label(by_id[one.step_id]) if one.step_id in by_id else "")
            for one in everything
            if one.state == QuestionState.OPEN
        ]
        return tuple(sorted(found, key=lambda one: (one.question.expires_at, one.question.pk)))

    def task_names(self, wanted: Iterable[int]) -> dict[int, str]:
        """What these steps are about when they are tasks, by step: a few words of inputs that an agent gave. Nothing
        when they are all called the same."""
        heads = {step.pk: step.head for step in self.steps}  # type: ignore[attr-defined]  # annotated
        found = {one: words.of_task(heads.get(one) or "") for one in wanted}
        return found if len(set(found.values())) > 1 or len(found) == 1 else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """An open question, and the step it is about as people name it."""

    question: Question
    at: str


def history(run: Run) -> History:
    """Five queries, however long the run is."""
    steps = Step.objects.filter(run=run).order_by("seq")
    attempts = Attempt.objects.filter(step__run=run).order_by("step_id", "number")
    calls = Call.objects.filter(run=run).order_by("pk")
    questions = list(Question.objects.filter(run=run).defer("action", "evidence", "words").order_by("pk"))
    told = list(Event.objects.filter(run=run, kind__in=("held", "resumed", "dropped")).order_by("seq"))
    return History(
        run=run,
        steps=tuple(steps.defer("note").annotate(head=_head())),
        attempts=_by(attempts.only(*_OF_AN_ATTEMPT), "step_id"),
        calls=_by(calls.only(*_OF_A_CALL), "attempt_id"),
        questions=_by((one for one in questions if one.step_id), "step_id"),
        loose_questions=tuple(one for one in questions if not one.step_id),
        holds=_holds(one for one in told if one.kind != "dropped"),
        dropped=frozenset(one.step_id for one in told if one.kind == "dropped" and one.step_id),
    )


def _head() -> Case:
    """The beginning of a task's input, which names it; of other steps nothing is fetched."""
    given = Body.objects.filter(pk=OuterRef("input_id")).values(head=Left("content", words.HEAD))
    return Case(When(parent__isnull=False, then=Subquery(given)), default=Value(""), output_field=TextField())


_OF_AN_ATTEMPT = (
    "step_id",
    "number",
    "state",
    "started_at",
    "finished_at",
    "error_class",
    "rejected_output_id",
)
_OF_A_CALL = ("attempt_id", "name", "kind", "state", "permitted_at", "finished_at", "cost_micros")


def label(step: Step) -> str:
    """A step as people name it: its node; under a plan also which task, counted from 1."""
    return f"{step.node}, task {step.place + 1}" if step.parent_id else step.node


def waterfall(past: History, now: datetime, unfolded: int | None = None) -> Timeline:
    """The timeline of a run. Nodes nobody has come to yet stand below. `unfolded`: the step whose plan is shown
    with all its tasks."""
    run = past.run
    workflow = registry.workflow(run.workflow, run.version)
    return timeline.timeline(
        begin=run.created_at,
        end=run.finished_at,
        now=now,
        visits=[_visited(past, step) for step in past.steps],
        ahead=course.ahead(workflow, past.steps) if workflow and not run.final else [],
        holds=past.holds,
        unfolded=unfolded,
    )


def taken(past: History) -> Course | None:
    """The run on the drawing of its workflow; None when that version is not installed or has no drawing."""
    run = past.run
    workflow = registry.workflow(run.workflow, run.version)
    if workflow is None:
        return None
    tries = {step: len(attempts) for step, attempts in past.attempts.items()}
    return course.course(workflow, Went(state=run.state, steps=past.steps, tries=tries, dropped=past.dropped))


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
    tries = past.attempts.get(step.pk, [])
    return Visited(
        id=step.pk,
        node=label(step),
        state=NOT_NEEDED if step.pk in past.dropped else step.state,
        begin=tries[0].started_at if tries else step.started_at,  # a task stands planned for a while
        end=step.finished_at,
        parent=step.parent_id,
        begun=bool(tries),
        tries=tuple(_tried(past, attempt) for attempt in tries),
        questions=tuple(_asked(question) for question in past.questions.get(step.pk, ())),
    )


def _tried(past: History, attempt: Attempt) -> Tried:
    calls = past.calls.get(attempt.pk, ())
    return Tried(
        id=attempt.pk,
        number=attempt.number,
        state=attempt.state,
        words=words.of_attempt(attempt),
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
