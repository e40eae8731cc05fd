"""The console's own runs as histories for a rehearsal, read in batches: memory does not grow with how many there are.

Reads only. Who took a card when is not known here: the caller says it (`Taken`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import F

from runs.limits.kinds import LimitKind, LimitScope
from runs.limits.rows import Row, Where
from runs.models import Call, Limit, Question, QuestionKind, Run, RunState, Team
from runs.models.question import QuestionState
from runs.rehearsal.drafts import Draft
from runs.rehearsal.guarded import GUARDED
from runs.rehearsal.history import (
    How,
    PastCall,
    PastQuestion,
    PastRefusal,
    PastRetry,
    PastRun,
    PastStep,
    Spans,
)
from runs.rehearsal.streams import Made, reaches_back
from runs.shown.heard import with_guards

BATCH = 400  # runs
CHUNK = 4000  # rows of a stream that are fetched at once
Taken = Callable[[Iterable[int]], Mapping[int, datetime]]  # questions -> when somebody took their card
Ids = list[int]

# What was sent, in the order in which it was permitted; what a person denied or a guard refused never was.
_CALLS = """
    SELECT call.run_id, step.seq, call.kind, call.name, attempt.agent, call.model, call.permitted_at, call.finished_at,
        call.tokens_in, call.tokens_out, call.cost_micros, call.send, call.parameters ->> 'context_tokens',
        step.node
    FROM runs_call call JOIN runs_step step ON step.id = call.step_id
    JOIN runs_attempt attempt ON attempt.id = call.attempt_id
    WHERE call.run_id = ANY(%s) AND call.kind IN ('model', 'tool') AND call.state <> 'refused'
    ORDER BY call.permitted_at, call.id
"""
_STEPS = """
    SELECT step.run_id, step.id, step.seq, step.node, step.started_at, step.finished_at, step.parent_id,
        (SELECT agent FROM runs_attempt WHERE step_id = step.id ORDER BY number LIMIT 1)
    FROM runs_step step WHERE step.run_id = ANY(%s) ORDER BY step.run_id, step.seq
"""
# A new attempt that follows one that failed, without a person between them, is a retry.
_RETRIES = """
    SELECT step.run_id, step.seq, again.started_at
    FROM runs_step step JOIN runs_attempt again ON again.step_id = step.id AND again.number > 1
    JOIN runs_attempt was ON was.step_id = step.id AND was.number = again.number - 1
    WHERE step.run_id = ANY(%s) AND was.state IN ('broken', 'failed') AND NOT EXISTS (
        SELECT FROM runs_question question WHERE question.step_id = step.id AND question.state = 'answered'
        AND question.asked_at >= was.finished_at AND question.answered_at <= again.started_at
    ) ORDER BY again.started_at
"""
_HELD = """
    SELECT run_id, kind, at FROM runs_event WHERE run_id = ANY(%s) AND kind IN ('held', 'resumed')
    ORDER BY run_id, seq
"""
_REFUSED = """
    SELECT event.run_id, event.at, coalesce(step.seq, 0), (event.data ->> 'limit')::bigint
    FROM runs_event event LEFT JOIN runs_step step ON step.id = event.step_id
    WHERE event.run_id = ANY(%s) AND event.kind = 'guard' AND event.data ->> 'mode' = 'enforce'
    AND event.data ->> 'limit' ~ '^[1-9][0-9]{0,17}$'
    ORDER BY event.run_id, event.seq
"""
_HOW = {RunState.DONE: How.SUCCEEDED, RunState.FAILED: How.FAILED, RunState.ENDED: How.ENDED}
_WITH_STEPS = frozenset(
    {LimitKind.WALL_TIME, LimitKind.STEP_LATENCY, LimitKind.FAN_OUT_WIDTH, LimitKind.FAN_OUT_DEPTH}
)


def limits_ever() -> list[Row]:
    """Every row of every limit that ever held or will hold. One query."""
    rows = Limit.objects.exclude(valid_until=F("valid_from")).order_by("valid_from", "pk")
    return [limit.row for limit in rows]


def runs_between(
    draft: Draft, since: datetime, until: datetime, taken: Taken | None = None
) -> Iterator[PastRun]:
    """The runs that began in that time, by number. A few queries a batch; of what the draft does not count, fewer."""
    rows = Run.objects.filter(created_at__gte=since, created_at__lt=until).select_related("team")
    rows = rows.only(
        "workflow",
        "team",
        "team__name",
        "goal",
        "state",
        "recorded",
        "created_at",
        "finished_at",
        "held_since",
        "retries",
    )
    last = 0
    while batch := list(rows.filter(pk__gt=last).order_by("pk")[:BATCH]):
        last = batch[-1].pk
        yield from _read(batch, draft, until, taken)


def calls_until(draft: Draft, since: datetime, until: datetime) -> Iterator[Made]:
    """Every call of the console in the order of their permits, from where the draft's sums begin. Recordings that
    were played here are left out: their moments are those of the playing."""
    rows = Call.objects.filter(
        permitted_at__gte=reaches_back(draft, since),
        permitted_at__lt=until,
        kind__in=("model", "tool"),
        run__recorded=False,
    )
    if not any(held.row.scope_kind is LimitScope.TOOL for held in draft.held):
        rows = rows.filter(kind="model")  # of tools, only what names them counts
    place = ("run_id", "kind", "name", "attempt__agent", "model", "permitted_at", "finished_at")
    used = ("tokens_in", "tokens_out", "cost_micros", "send")
    teams = dict(Team.objects.values_list("pk", "name"))
    found = rows.exclude(state="refused").order_by("permitted_at", "pk")
    for row in found.values_list(*place, *used, "run__team_id", "run__workflow").iterator(CHUNK):
        call = _call((row[0], 0, *row[1:11], None, ""))
        where = Where(
            team=teams.get(row[11], ""),
            workflow=row[12],
            agent=call.agent,
            tool=call.tool,
            model=call.model,
            run=row[0],
        )
        yield Made(key=key_of(row[0]), where=where, call=call)


def key_of(run_id: int) -> str:
    return f"run {run_id}"


@dataclass(slots=True, kw_only=True)
class _Batch:
    """What belongs to the runs of a batch, by run."""

    calls: dict[int, list[PastCall]] = field(default_factory=lambda: defaultdict(list))
    steps: dict[int, list[tuple[Any, ...]]] = field(default_factory=lambda: defaultdict(list))
    retries: dict[int, list[PastRetry]] = field(default_factory=lambda: defaultdict(list))
    held: dict[int, list[tuple[str, datetime]]] = field(default_factory=lambda: defaultdict(list))
    refused: dict[int, list[PastRefusal]] = field(default_factory=lambda: defaultdict(list))
    questions: dict[int, list[Question]] = field(default_factory=lambda: defaultdict(list))
    taken: Mapping[int, datetime] = field(default_factory=dict)


def _read(batch: list[Run], draft: Draft, until: datetime, taken: Taken | None) -> Iterator[PastRun]:
    ids = [run.pk for run in batch]
    found = _Batch()
    for row in _rows(_CALLS, ids):
        found.calls[row[0]].append(_call(row))
    if draft.kind in _WITH_STEPS:
        for row in _rows(_STEPS, ids):
            found.steps[row[0]].append(row)
        for run_id, kind, at in _rows(_HELD, ids):
            found.held[run_id].append((kind, at))
    if draft.kind is LimitKind.RETRIES:
        for run_id, seq, at in _rows(_RETRIES, ids):
            found.retries[run_id].append(PastRetry(step=seq, at=at))
    if draft.old:
        for run_id, at, seq, limit in _rows(_REFUSED, ids):
            found.refused[run_id].append(PastRefusal(limit=limit, step=seq, at=at))
    _read_questions(found, ids, taken)
    runs = [_past(run, found, until) for run in batch]
    yield from with_guards(runs, draft.kind) if draft.kind in GUARDED else runs


def _read_questions(found: _Batch, ids: Ids, taken: Taken | None) -> None:
    columns = (
        "run_id",
        "step_id",
        "kind",
        "state",
        "title",
        "verb",
        "asked_at",
        "answered_at",
        "answered_by",
    )
    questions = list(Question.objects.filter(run__in=ids).only(*columns).order_by("asked_at", "pk"))
    for question in questions:
        found.questions[question.run_id].append(question)
    if taken is not None and questions:
        found.taken = taken(question.pk for question in questions)


def _rows(sql: str, ids: Ids) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, [ids])
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def _past(run: Run, found: _Batch, until: datetime) -> PastRun:
    seen_until = run.finished_at or until
    held = _spans(found.held[run.pk], seen_until)
    retries = tuple(found.retries[run.pk])
    asked = found.questions[run.pk]
    return PastRun(
        key=key_of(run.pk),
        number=run.pk,
        team=run.team.name,
        workflow=run.workflow,
        goal=run.goal,
        begun=run.created_at,
        ended=run.finished_at,
        seen_until=seen_until,
        timed=not run.recorded,
        how=_how(run),
        held=held,
        calls=tuple(found.calls[run.pk]),
        steps=tuple(_steps(found.steps[run.pk], asked, held, seen_until)),
        retries=retries if len(retries) == run.retries else None,
        questions=tuple(_question(one, found.taken.get(one.pk)) for one in asked),
        refusals=tuple(found.refused[run.pk]),
    )


def _how(run: Run) -> How:
    """A recording that was played to its end is done, whatever came of it when it was recorded."""
    if run.recorded and run.state == RunState.DONE:
        return How.UNKNOWN
    return _HOW.get(RunState(run.state), How.UNDER_WAY)


def _call(row: tuple[Any, ...]) -> PastCall:
    _, seq, kind, name, agent, model, begun, ended, tokens_in, tokens_out, cost, send, context, node = row
    is_model = kind == "model"
    in_window = int(context) if isinstance(context, str) and context.isdecimal() else tokens_in
    return PastCall(
        step=seq,
        node=node,
        kind=kind,
        agent=name if is_model else agent,
        tool="" if is_model else name,
        model=model if is_model else "",
        begun=begun,
        ended=ended,
        tokens_in=tokens_in if is_model else 0,
        tokens_out=tokens_out if is_model else 0,
        cost=cost if is_model else 0,
        context=in_window if is_model else None,
        first=send == 1,
    )


def _spans(events: list[tuple[str, datetime]], until: datetime) -> Spans:
    """From "held" to the next "resumed"; a second hold meanwhile begins nothing."""
    spans: list[tuple[datetime, datetime]] = []
    since: datetime | None = None
    for kind, at in events:
        if kind == "held":
            since = since or at
        elif since is not None:
            spans.append((since, at))
            since = None
    return (*spans, (since, max(since, until))) if since is not None else tuple(spans)


def _steps(
    rows: list[tuple[Any, ...]], asked: list[Question], held: Spans, until: datetime
) -> Iterator[PastStep]:
    parents = {row[1]: row[6] for row in rows}
    tasks = Counter(parent for parent in parents.values() if parent is not None)
    waits: dict[int | None, list[tuple[datetime, datetime]]] = defaultdict(list)
    for one in asked:
        waits[one.step_id].append((one.asked_at, one.answered_at or until))
    for _, pk, seq, node, begun, ended, _parent, agent in rows:
        yield PastStep(
            number=seq,
            node=node,
            agent=agent or "",
            begun=begun,
            ended=ended,
            waits=(*held, *waits[pk]),
            tasks=tasks[pk],
            depth=_depth(pk, parents),
        )


def _depth(step: int, parents: Mapping[int, int | None]) -> int:
    """How many plans a plan of this step stands in, its own counted."""
    depth, parent = 1, parents.get(step)
    while parent is not None:
        depth, parent = depth + 1, parents.get(parent)
    return depth


def _question(one: Question, taken: datetime | None) -> PastQuestion:
    answered = one.answered_at if one.state == QuestionState.ANSWERED else None
    return PastQuestion(
        asked=one.asked_at,
        answered=answered,
        verb=one.verb,
        by=one.answered_by,
        title=one.title,
        number=one.pk,
        took=answered - taken if answered and taken else None,
        capped=one.kind == QuestionKind.LIMIT,
    )
