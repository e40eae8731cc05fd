"""Deadlines of open questions, and what runs sleep until, that people's limits on wall time have overtaken: brought
forward to the end of the run.

A question is never asked for longer than its run has, and no run sleeps longer; what limits the run later is found
here, by whoever sweeps.
Denies nothing: a question whose time is up by then expires as any other. Nothing is ever put off: a limit that is
lifted again gives no question its time back.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, QuerySet

from runs import registry
from runs.engine import bounds, limits
from runs.engine.record import announce_run, event, now
from runs.limits.kinds import LimitKind, LimitScope, Mode
from runs.limits.rows import Row
from runs.models import Question, QuestionState, Run, RunState, StepState
from runs.signals import question_hurried

A_WHILE = 1.5  # seconds one part of a sweep may take: the next sweep goes on
BATCH = 50  # runs in one transaction
# The limits in force when they were looked through last, and when nothing was left. Twice, because a question may have
# been asked in a transaction that knew the older ones.
_looked: tuple[int, ...] | None = None
_settled: tuple[int, ...] | None = None


def hurry_questions(*, seconds: float = A_WHILE) -> int:
    """Bring forward what limits on wall time have overtaken, for a while; returns how many questions and steps that
    sleep. While the limits in force are those of the last time it asks for the edition of the limits alone."""
    global _looked, _settled
    until = time.monotonic() + seconds
    moment = now()
    rows = [row for row in limits.current().rows if _binds(row, moment)]
    in_force = tuple(sorted(row.id for row in rows))
    if in_force == _settled:
        return 0
    hurried = 0
    for runs in _overtaken(rows):
        last = 0
        while ids := list(
            runs.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True).distinct()[:BATCH]
        ):
            hurried += _hurry(ids, moment)
            last = ids[-1]
            if time.monotonic() >= until:
                return hurried
    if _looked == in_force and not hurried:
        _settled = in_force
    _looked = in_force
    return hurried


def _binds(row: Row, moment: datetime) -> bool:
    return row.kind is LimitKind.WALL_TIME and row.mode is Mode.ENFORCE and row.holds(moment)


def _overtaken(rows: list[Row]) -> Iterator[QuerySet[Run]]:
    """Runs with a question that is open, or a step that sleeps, for longer than each limit lets them go on, by
    definition."""
    for row in rows:
        yield from _late(row, {"questions__state": QuestionState.OPEN}, "questions__expires_at__gt")
        yield from _late(row, {"steps__state": StepState.SLEEPING}, "steps__due_at__gt")


def _late(row: Row, waits: dict[str, str], beyond: str) -> Iterator[QuerySet[Run]]:
    bound = covered(Run.objects.all(), row)
    waiting = bound.filter(**waits).order_by()
    for name, version, content in list(waiting.values_list("workflow", "version", "definition").distinct()):
        workflow = registry.workflow(name, version, content)
        if workflow is None:
            continue  # nobody can say how much less its runs have
        less = timedelta(seconds=workflow.deadline_seconds - row.value / 1000)
        if less > timedelta():
            same = bound.filter(workflow=name, version=version, definition=content)
            yield same.filter(**waits, **{beyond: F("deadline_at") - less})


def covered(runs: QuerySet[Run], row: Row) -> QuerySet[Run]:
    """Those that a limit may bind; which one decides is asked of each run again."""
    if row.within:
        runs = runs.filter(workflow=row.within)
    match row.scope_kind:
        case LimitScope.ORGANISATION:
            return runs
        case LimitScope.TEAM:
            return runs.filter(team__name=row.scope)
        case LimitScope.WORKFLOW:
            return runs.filter(workflow=row.scope)
        case LimitScope.RUN if row.scope.isdecimal():
            return runs.filter(pk=int(row.scope))
        case _:
            return runs.none()


@transaction.atomic
def _hurry(ids: list[int], moment: datetime) -> int:
    """Bring forward what is open or sleeps for longer than its run goes on. Held runs too: a hold moves both."""
    hurried: list[tuple[Question, datetime]] = []
    woken = 0
    for run in Run.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk"):
        ends_by = bounds.ends_by(run, moment)
        late = run.questions.filter(state=QuestionState.OPEN, expires_at__gt=ends_by).order_by("pk")
        for question in list(late):
            hurried.append((question, question.expires_at))
            question.expires_at = ends_by
            question.save(update_fields=["expires_at"])
            event(run, "hurried", step=question.step, question=question.pk, expires_at=ends_by.isoformat())
        woken += _woken(run, ends_by)
        run.save(update_fields=["event_seq", "due_at"])
        announce_run(run)
    for question, was in hurried:
        question_hurried.send(sender=Question, question=question, was=was)
    return len(hurried) + woken


def _woken(run: Run, ends_by: datetime) -> int:
    """Nothing sleeps beyond the run's time: who looks then ends it."""
    late = run.steps.filter(state=StepState.SLEEPING, due_at__gt=ends_by).update(due_at=ends_by)
    if late and run.state == RunState.SLEEPING and run.due_at is not None:
        run.due_at = min(run.due_at, ends_by)
    return late
