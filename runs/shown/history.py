"""One run as its page shows it: its history, the drawing of its workflow, its waterfall. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Case, Max, OuterRef, Q, Subquery, TextField, Value, When
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast, Left

from runs import registry
from runs.models import (
    Attempt,
    AttemptState,
    Body,
    Event,
    Question,
    QuestionState,
    Run,
    Step,
    StepState,
    Verb,
)
from runs.shown import course, timeline, words
from runs.shown.added_up import added_up
from runs.shown.counted import MOST
from runs.shown.course import CUT, NOT_NEEDED, Course, Went
from runs.shown.guarded import Guarded
from runs.shown.marks import NONE, Marks
from runs.shown.spans import Spans
from runs.shown.stretch import Stretch, stretch
from runs.shown.timeline import Timeline
from runs.shown.used import Used
from runs.shown.visited import Asked, Called, Held, Tried, Visited

EVENTS = 200  # a page
MOST_EVENTS = 5_000  # the longest page, for who wants to read or search all of them at once
MOST_ASKED = 8  # open questions of a run that are named on its page; the inbox has all
_MOST_TRIES = 4000  # attempts and calls of the steps that are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """An open question, and the step it is about as people name it."""

    question: Question
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a run's page shows of it: what all steps add up to, and a stretch of them with attempts, calls and
    questions; `own` are those about the run itself. `waits` are the first open questions to run out, `all_waits` counts
    them to counted.MOST. `migrated`: a person has let it go on with another version."""

    run: Run
    went: Went
    shown: Stretch
    tries: Mapping[int, tuple[Tried, ...]]
    questions: Mapping[int, list[Question]]
    own: tuple[Question, ...]
    holds: tuple[Held, ...]
    guarded: Guarded
    used: Used
    spans: Spans
    edition: int
    waits: tuple[Waits, ...]
    all_waits: int
    migrated: bool = False
    until: int | None = None
    unfolded: int | None = None
    heads: Mapping[int, str] = field(default_factory=dict)

    @property
    def newest_attempt(self) -> int | None:
        """The attempt the inspector shows when nobody has chosen one."""
        return max((one.id for many in self.tries.values() for one in many), default=None)

    def task_names(self, wanted: Iterable[int]) -> dict[int, str]:
        """What these steps are about when they are tasks, by step: a few words of inputs that an agent gave. Nothing
        when they are all called the same."""
        found = {one: words.of_task(self.heads.get(one) or "") for one in wanted}
        return found if len(set(found.values())) > 1 or len(found) == 1 else {}


def history(run: Run, *, until: int | None = None, unfolded: int | None = None) -> History:
    """Four queries, however long the run is; of the steps at most a page. `until`: the steps before that number;
    `unfolded`: the step whose plan is shown with all its tasks."""
    sums = added_up(run)
    shown = stretch(run, until=until, plan=unfolded)
    ids = [step.pk for step in shown.steps]
    questions = _questions(run, ids)
    waiting = [one for one in questions if one.state == QuestionState.OPEN]
    waiting.sort(key=lambda one: (one.expires_at, one.pk))
    heads = {step.pk: step.head for step in shown.steps}  # type: ignore[attr-defined]  # annotated
    heads |= {one.step_id: one.head for one in waiting[:MOST_ASKED] if one.step_id}  # type: ignore[attr-defined]
    return History(
        run=run,
        went=sums.went,
        shown=shown,
        tries=_tries(ids, sums.holds),
        questions=_by((one for one in questions if one.step_id), "step_id"),
        own=tuple(one for one in questions if one.step_id is None),
        holds=sums.holds,
        guarded=sums.guarded,
        used=sums.used,
        spans=sums.spans,
        edition=sums.edition,
        waits=tuple(
            Waits(question=one, at=label(one.step) if one.step else "") for one in waiting[:MOST_ASKED]
        ),
        all_waits=questions[0].all_waits if questions else 0,  # type: ignore[attr-defined]
        migrated=any(one.verb == Verb.MIGRATE for one in questions),
        until=until,
        unfolded=unfolded,
        heads=heads,
    )


def _questions(run: Run, steps: Iterable[int]) -> list[Question]:
    """Of these steps, about the run itself, and the first open ones to run out; each with how many are open in all."""
    mine = Question.objects.filter(run=run)
    first = mine.filter(state=QuestionState.OPEN).order_by("expires_at", "pk").values("pk")[:MOST_ASKED]
    wanted = Q(step__in=list(steps)) | Q(step=None) | Q(pk__in=Subquery(first))
    rows = (
        mine.filter(wanted)
        .select_related("step")
        .defer("action", "evidence", "words", "answer", "step__note")
    )
    return list(
        rows.annotate(head=_head(), all_waits=RawSQL(_OPEN, [run.pk, MOST])).order_by("pk")[:_MOST_TRIES]
    )


_OPEN = (
    "SELECT count(*) FROM (SELECT FROM runs_question WHERE run_id = %s AND state = 'open' LIMIT %s) AS open"
)


def _head() -> Case:
    """The beginning of a task's input, which names it; of other steps nothing is fetched."""
    given = Body.objects.filter(pk=OuterRef("step__input_id")).values(head=Left("content", words.HEAD))
    return Case(
        When(step__parent__isnull=False, then=Subquery(given)), default=Value(""), output_field=TextField()
    )


def _tries(steps: Iterable[int], holds: Sequence[Held]) -> dict[int, tuple[Tried, ...]]:
    """The attempts of these steps with their calls. One query."""
    rows = Attempt.objects.filter(step__in=list(steps)).order_by("-step", "number", "calls__pk")
    found: dict[int, dict[int, Attempt]] = {}
    calls: dict[int, list[Called]] = {}
    for row in rows.values_list(*_OF_AN_ATTEMPT, *(f"calls__{name}" for name in _OF_A_CALL))[:_MOST_TRIES]:
        given = dict(zip(_OF_AN_ATTEMPT, row, strict=False))
        found.setdefault(given["step_id"], {}).setdefault(given["pk"], Attempt(**given))
        call = row[len(_OF_AN_ATTEMPT) :]
        if call[0] is not None:
            calls.setdefault(given["pk"], []).append(_called(*call))
    return {
        step: tuple(_tried(one, calls.get(one.pk, ()), holds) for one in attempts.values())
        for step, attempts in found.items()
    }


_OF_AN_ATTEMPT = (
    "pk",
    "step_id",
    "number",
    "state",
    "started_at",
    "finished_at",
    "error_class",
    "rejected_output_id",
)
_OF_A_CALL = ("pk", "name", "kind", "state", "permitted_at", "finished_at", "cost_micros")


def _called(
    pk: int, name: str, kind: str, state: str, begin: datetime, end: datetime | None, cost: int | None
) -> Called:
    return Called(id=pk, name=name, kind=kind, state=state, begin=begin, end=end, cost_micros=cost)


def _tried(attempt: Attempt, calls: Iterable[Called], holds: Sequence[Held]) -> Tried:
    end = attempt.finished_at
    if attempt.state == AttemptState.CUT and end is None:  # what cut it says when
        end = next((hold.begin for hold in holds if hold.begin >= attempt.started_at), None)
    return Tried(
        id=attempt.pk,
        number=attempt.number,
        state=attempt.state,
        words=words.of_attempt(attempt),
        begin=attempt.started_at,
        end=end,
        calls=tuple(calls),
    )


def label(step: Step) -> str:
    """A step as people name it: its node; under a plan also which task, counted from 1."""
    return f"{step.node}, task {step.place + 1}" if step.parent_id else step.node


def waterfall(past: History, now: datetime, marks: Marks = NONE) -> Timeline:
    """The timeline of a run, or of the stretch that is shown. Nodes nobody has come to yet stand below."""
    run, steps = past.run, past.shown.steps
    workflow = registry.workflow(run.workflow, run.version)
    begun = [step for step in steps if step.state != StepState.READY]
    part = past.until is not None
    ends = [step.finished_at for step in begun]
    return timeline.timeline(
        begin=begun[0].started_at if begun and past.shown.cut else run.created_at,
        end=_last(ends) if part else run.finished_at,
        now=now,
        visits=[_visited(past, step, marks) for step in steps],
        ahead=course.ahead(workflow, past.went) if workflow and not run.final and not part else [],
        holds=past.holds,
        unfolded=past.unfolded,
        planned=0 if part else _not_begun(past),
        asked=() if part else tuple(map(_asked, past.own)),
        remarks=() if part else past.guarded.about(None),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """Which of the steps that are no tasks have rows, by their numbers; `older`: there are some before."""

    first: int
    last: int
    older: bool


def between(past: History, drawn: Timeline) -> Between | None:
    """The stretch that is drawn; None when that is the whole run."""
    tops = [one for one in past.shown.steps if one.parent_id is None and one.state != StepState.READY]
    first = next((one.seq for one in tops if one.pk == drawn.first), None)
    if first is None:
        return None
    older = past.shown.cut or first > tops[0].seq
    return Between(first=first, last=tops[-1].seq, older=older) if older or past.until else None


def _last(ends: Iterable[datetime | None]) -> datetime | None:
    """None while one of them goes on."""
    known = list(ends)
    return None if None in known else max((one for one in known if one is not None), default=None)


def _not_begun(past: History) -> int:
    """How many steps that are no tasks nobody has begun, beyond those that are shown."""
    visits = past.went.visits.values()
    every = sum(one.counts.get(StepState.READY, 0) for one in visits if not one.tasks)
    here = sum(one.state == StepState.READY and one.parent_id is None for one in past.shown.steps)
    return max(0, every - here)


def taken(past: History) -> Course | None:
    """The run on the drawing of its workflow; None when that version is not installed or has no drawing."""
    workflow = registry.workflow(past.run.workflow, past.run.version)
    if workflow is None:
        return None
    cut = {step.node for step in past.shown.steps if step.parent_id is None and _state(past, step) == CUT}
    visits = {name: replace(one, state=CUT) if name in cut else one for name, one in past.went.visits.items()}
    return course.course(workflow, replace(past.went, visits=visits))


class Line(NamedTuple):
    """An event as it is read; of a task of a plan with its place there, from 0."""

    seq: int
    at: datetime
    kind: str
    node: str | None
    parent: int | None
    place: int | None
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A page of events, newest first. `next` is the `before` of the following page, None at the beginning."""

    events: tuple[Line, ...]
    next: int | None


def events(run: Run, before: int | None = None, find: str = "", size: int = EVENTS) -> Told:
    """The events before that number in which the text is found. One query, which reads no more than this run's."""
    rows = Event.objects.filter(run=run)
    if before is not None:
        rows = rows.filter(seq__lt=before)
    if find:
        text = Cast("data", TextField())
        within = Q(kind__icontains=find) | Q(text__icontains=find) | Q(step__node__icontains=find)
        rows = rows.alias(text=text).filter(within)
    columns = ("seq", "at", "kind", "step__node", "step__parent_id", "step__place", "data")
    found = [Line(*row) for row in rows.order_by("-seq").values_list(*columns)[: size + 1]]
    return Told(events=tuple(found[:size]), next=found[size - 1].seq if len(found) > size else None)


def newest_attempt(run: Run) -> int | None:
    """The attempt the inspector shows when nobody has chosen one."""
    newest: int | None = Attempt.objects.filter(step__run=run).aggregate(newest=Max("pk"))["newest"]
    return newest


def _by(rows: Iterable[Any], name: str) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for row in rows:
        found.setdefault(getattr(row, name), []).append(row)
    return found


def _visited(past: History, step: Step, marks: Marks) -> Visited:
    tries = tuple(_marked(one, marks) for one in past.tries.get(step.pk, ()))
    return Visited(
        id=step.pk,
        node=label(step),
        state=NOT_NEEDED if step.pk in past.shown.dropped else _state(past, step),
        begin=tries[0].begin if tries else step.started_at,  # a task stands planned for a while
        end=step.finished_at,
        parent=step.parent_id,
        begun=bool(tries),
        tries=tries,
        questions=tuple(_asked(question) for question in past.questions.get(step.pk, ())),
        rest=past.shown.rest.get(step.pk, {}),
        remarks=past.guarded.about(step.pk),
        slow=marks.slow_steps.get(step.pk, ""),
        on_path=step.pk in marks.on_path,
    )


def _state(past: History, step: Step) -> str:
    """A step whose attempt a stop has cut is performed by nobody, though its row is moved by whoever takes it up."""
    tries = past.tries.get(step.pk, ())
    cut = step.state == StepState.RUNNING and tries and tries[-1].state == AttemptState.CUT
    return CUT if cut else step.state


def _marked(tried: Tried, marks: Marks) -> Tried:
    if not any(call.id in marks.slow_calls for call in tried.calls):
        return tried
    calls = tuple(replace(call, slow=marks.slow_calls.get(call.id, "")) for call in tried.calls)
    return replace(tried, calls=calls)


def _asked(question: Question) -> Asked:
    return Asked(
        id=question.pk,
        state=question.state,
        verb=question.verb,
        by=question.answered_by,
        begin=question.asked_at,
        end=question.answered_at,
    )
