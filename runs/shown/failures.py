"""The console's own runs with what failed in them, was full or ended, for rehearsals of policies. Reads only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any

from django.db import connection
from django.db.models import Q

from runs.errors import ErrorClass
from runs.limits.kinds import LimitKind, Mode, Window
from runs.limits.rows import Row, Where
from runs.models import Call
from runs.rehearsal.breakers import PastEnd
from runs.rehearsal.drafts import Draft
from runs.rehearsal.errors import PastFailure, Then
from runs.rehearsal.filling import PastFull
from runs.rehearsal.history import PastCall, PastRun
from runs.shown.past import BATCH, CHUNK, Taken, key_of, limits_ever, runs_between

PLAIN = Draft(kind=LimitKind.TURNS, window=Window.RUN, new=None)  # asks for calls and questions alone
ALONE = ("again", "context")  # `error_where` of what is not tried again

# With what the step asked a person after it, before its next attempt. What no policy was asked about has no event: an
# open breaker, a wait beyond the deadline, claims that were sent back.
_ATTEMPTS = """
    SELECT step.run_id, step.seq, step.node, step.parent_id IS NOT NULL, attempt.by,
        attempt.error_class, attempt.error_where, attempt.finished_at, again.started_at, again.by,
        (SELECT min(question.asked_at) FROM runs_question question WHERE question.step_id = step.id
            AND question.kind IN ('error', 'contract') AND question.asked_at >= attempt.finished_at
            AND (again.started_at IS NULL OR question.asked_at <= again.started_at)),
        step.state, step.finished_at, failed.seq IS NOT NULL, failed.data ->> 'person'
    FROM runs_attempt attempt JOIN runs_step step ON step.id = attempt.step_id
    LEFT JOIN runs_attempt again ON again.step_id = step.id AND again.number = attempt.number + 1
    LEFT JOIN runs_event failed ON failed.run_id = step.run_id AND failed.step_id = step.id
        AND failed.kind = 'attempt failed' AND failed.data ->> 'number' = attempt.number::text
    WHERE step.run_id = ANY(%s) AND attempt.state IN ('broken', 'failed') AND attempt.finished_at IS NOT NULL
    ORDER BY attempt.finished_at, attempt.id
"""
# What was done about it: a call that compacts before the next such event of the step, or a question.
_FULL = """
    SELECT event.run_id, step.seq, event.at, (event.data ->> 'value')::bigint, (event.data ->> 'cap')::bigint,
        EXISTS (SELECT FROM runs_call call WHERE call.step_id = step.id AND call.name LIKE 'compact by %%'
            AND call.permitted_at >= event.at AND call.permitted_at < coalesce(upto.at, 'infinity')),
        (SELECT min(question.asked_at) FROM runs_question question WHERE question.step_id = step.id
            AND question.kind = 'error' AND question.action ->> 'where' = 'context'
            AND question.asked_at >= event.at AND question.asked_at < coalesce(upto.at, 'infinity')),
        EXISTS (SELECT FROM runs_call call WHERE call.step_id = step.id AND call.kind = 'model'
            AND call.name = %s AND call.permitted_at < event.at)
    FROM runs_event event JOIN runs_step step ON step.id = event.step_id
    LEFT JOIN LATERAL (SELECT min(later.at) AS at FROM runs_event later WHERE later.run_id = event.run_id
        AND later.step_id = event.step_id AND later.seq > event.seq AND later.kind = 'guard'
        AND later.data ->> 'guard' = 'context' AND later.data ->> 'scope' = %s) upto ON true
    WHERE event.run_id = ANY(%s) AND event.kind = 'guard' AND event.data ->> 'guard' = 'context'
        AND event.data ->> 'mode' = 'enforce' AND event.data ->> 'scope' = %s
    ORDER BY event.run_id, event.seq
"""


def runs(since: datetime, until: datetime, taken: Taken | None = None) -> Iterator[PastRun]:
    """The runs that began in that time with their calls and questions."""
    return runs_between(PLAIN, since, until, taken)


def with_failures(
    found: Iterator[PastRun], workflow: str, node: str, budget: Callable[[int], int]
) -> Iterator[tuple[PastRun, list[PastFailure] | None]]:
    """Each run with the failures of that step; None for a run that is none of its business. `budget`: by the number
    of a run, the retries that its definition allows; people's limits count as they held."""
    limits = [row for row in limits_ever() if row.kind is LimitKind.RETRIES and row.mode is Mode.ENFORCE]
    for batch in _batches(found):
        rows: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
        ours = [run for run in batch if run.workflow == workflow and run.number is not None]
        for row in _rows(_ATTEMPTS, [[run.number for run in ours]]):
            rows[row[0]].append(row)
        for run in batch:
            if run.workflow != workflow or run.number is None:
                yield run, None
                continue
            yield run, list(_failures(run, rows[run.number], node, budget(run.number), limits))


def with_full(found: Iterator[PastRun], agent: str) -> Iterator[tuple[PastRun, list[PastFull] | None]]:
    """Each run with the places where that agent crossed a limit of context tokens; None where it called nothing."""
    for batch in _batches(found):
        rows: dict[int, list[PastFull]] = defaultdict(list)
        by_number = {run.number: run for run in batch if run.number is not None}
        scope = f"agent {agent}"
        for row in _rows(_FULL, [agent, scope, list(by_number), scope]):
            run = by_number[row[0]]
            rows[row[0]].append(
                PastFull(
                    step=row[1],
                    position=run.position_at(row[2]),
                    at=row[2],
                    size=row[3],
                    cap=row[4],
                    compacted=row[5],
                    asked=row[6],
                    more=row[7],
                )
            )
        for run in batch:
            calls = any(call.kind == "model" and call.agent == agent for call in run.calls)
            yield run, rows[run.number or 0] if calls else None


def ends(since: datetime, until: datetime) -> Iterator[PastEnd]:
    """Every call that was permitted in that time and ended, in the order of the permits. Recordings that were played
    here are left out: their moments are those of the playing."""
    rows = (
        Call.objects.filter(permitted_at__gte=since, permitted_at__lt=until, finished_at__isnull=False)
        .filter(kind__in=("model", "tool"), state__in=("done", "failed", "unknown", "cut"))
        .filter(Q(run__recorded=False))
        .order_by("permitted_at", "pk")
    )
    columns = ("run_id", "pk", "kind", "name", "attempt__agent", "model", "permitted_at", "finished_at")
    more = (
        "state",
        "error_class",
        "replayable",
        "latency_ms",
        "tokens_in",
        "tokens_out",
        "cost_micros",
        "step__seq",
        "attempt_id",
    )
    for row in rows.values_list(*columns, *more).iterator(CHUNK):
        yield _end(row)


def _end(row: tuple[Any, ...]) -> PastEnd:
    (
        run_id,
        pk,
        kind,
        name,
        agent,
        model,
        begun,
        ended,
        state,
        error,
        replayable,
        latency,
        *used,
        seq,
        attempt,
    ) = row
    is_model = kind == "model"
    its = state == "unknown" or (state == "failed" and error in ("recoverable", "unforeseen", ""))
    return PastEnd(
        key=key_of(run_id),
        place=pk,
        call=PastCall(
            step=seq,
            kind=kind,
            agent=name if is_model else agent,
            tool="" if is_model else name,
            model=model if is_model else "",
            begun=begun,
            ended=ended,
            tokens_in=used[0] if is_model else 0,
            tokens_out=used[1] if is_model else 0,
            cost=used[2] if is_model else 0,
        ),
        its=its,
        agents=is_model and (not replayable or (state == "failed" and not its)),
        cut=state == "cut",
        latency_ms=latency,
        attempt=attempt if is_model else None,
    )


def _failures(
    run: PastRun, rows: list[tuple[Any, ...]], node: str, budget: int, limits: list[Row]
) -> Iterator[PastFailure]:
    """Of one run in the order of their ends. Retries of all steps count against what it may spend."""
    spent = 0
    tries: dict[tuple[int, str], int] = defaultdict(int)
    for _, seq, its, task, by, error, where, at, again_at, again_by, asked, *ended, judged, person in rows:
        then = _then(asked, again_at, *ended)
        if its == node:
            yield PastFailure(
                step=seq,
                error_class=ErrorClass(error) if error else ErrorClass.UNFORESEEN,
                at=at,
                by=by,
                tries=tries[(seq, error)],
                left=_most(run, budget, limits, at) - spent,
                ask=where in ALONE,
                judged=judged,
                person=person == "true",
                then=then,
                then_by=again_by or "",
                task=task,
            )
        tries[(seq, error)] += 1
        spent += then is Then.AGAIN


def _then(asked: datetime | None, again: datetime | None, step: str, over: datetime | None) -> Then:
    if asked is not None:
        return Then.ASKED
    if again is not None:
        return Then.AGAIN
    return Then.ENDED if step == "failed" and over is not None else Then.UNKNOWN


def _most(run: PastRun, budget: int, limits: list[Row], at: datetime) -> int:
    here = Where(team=run.team, workflow=run.workflow, run=run.number)
    return min([budget, *(row.value for row in limits if row.covers(here) and row.holds(at))])


def _batches(found: Iterator[PastRun]) -> Iterator[list[PastRun]]:
    while batch := list(islice(found, BATCH)):
        yield batch


def _rows(sql: str, given: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, given)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found
