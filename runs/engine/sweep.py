"""The sweep: whatever nobody looks at, found by the database alone. Returns what is due; enqueues nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from datetime import timedelta
from functools import partial

from django.db.models import Exists, F, OuterRef, Q

from runs.engine import answers, holds
from runs.engine.away import away
from runs.engine.record import now
from runs.models import Control, Hold, Question, QuestionState, Run, RunState, Step, StepState

_log = logging.getLogger("opsconsole.sweep")
A_WHILE = 1.5  # seconds one part of a sweep may take: the next sweep goes on
_UNHINTED = (RunState.RUNNING, RunState.SLEEPING)
BATCH = 64  # due runs a sweep; the oldest first, so a backlog drains in order


def due(limit: int = BATCH, *, overlooked_seconds: float = 0.0, leave: Collection[str] = ()) -> list[int]:
    """Runs somebody should look at, oldest first; those due for at least so many seconds, or whose lease ran out, or
    that slept long enough: of that nobody gives a hint. `leave`: digests of definitions whose runs are others'
    business."""
    moment = now()
    late = Q(due_at__lte=moment - timedelta(seconds=overlooked_seconds)) | Q(state__in=_UNHINTED)
    runs = Run.objects.filter(late, due_at__lte=moment, hold=Hold.NONE).order_by("due_at")
    if leave:
        runs = runs.exclude(definition__in=leave)
    return list(runs.values_list("pk", flat=True)[:limit])


def next_due(within: float) -> float | None:
    """Seconds until the next lease ends or the next run has slept enough, if that is within so many: nobody gives a
    hint of it. Heartbeats keep the leases of living workers far from it."""
    moment = now()
    ends = Run.objects.filter(
        due_at__gt=moment,
        due_at__lte=moment + timedelta(seconds=within),
        state__in=_UNHINTED,
        hold=Hold.NONE,
    )
    first = ends.order_by("due_at").values_list("due_at", flat=True).first()
    return (first - moment).total_seconds() if first else None


def due_beside(worker: str, limit: int = BATCH) -> list[int]:
    """Runs that this worker performs and that could do more meanwhile: an answer came, a sleeping step woke, a step was
    given back."""
    open_question = Question.objects.filter(step=OuterRef("pk"), state=QuestionState.OPEN)
    awake = Q(state=StepState.SLEEPING, due_at__lte=now())
    answered = Q(state=StepState.WAITING) & ~Exists(open_question)
    mine = Q(run__lease_owner=worker, run__state=RunState.RUNNING, run__hold=Hold.NONE)
    given_back = Q(state=StepState.RUNNING) & ~Q(fence=F("run__fence"))
    found = Step.objects.filter(mine, awake | answered | given_back).values_list("run_id", flat=True)
    return list(found.order_by("run_id").distinct()[:limit])


def expire_questions(limit: int = 500, *, seconds: float = A_WHILE) -> int:
    """Deny open questions whose deadline has passed, for a while; returns how many. Held runs keep their time."""
    until = time.monotonic() + seconds
    passed = Question.objects.filter(state=QuestionState.OPEN, expires_at__lte=now(), run__hold=Hold.NONE)
    ids = list(passed.order_by("expires_at").values_list("pk", flat=True)[:limit])
    return sum(_expired(question_id) for question_id in ids if time.monotonic() < until)


def _expired(question_id: int) -> bool:
    try:
        return answers.expire(question_id)
    except Exception as error:  # one that cannot be denied must not keep the others waiting
        if away(error):
            raise
        _log.exception("question %s cannot expire", question_id)
        return False


def mark_controls(*, seconds: float = A_WHILE) -> int:
    """Go on marking the runs of every engaged control, for a while; returns how many are left unmarked."""
    until = time.monotonic() + seconds
    ids = list(Control.objects.filter(released_at__isnull=True).values_list("pk", flat=True))
    return sum(_taken(partial(holds.mark, control_id), until) for control_id in ids)


def lift_pauses(*, seconds: float = A_WHILE) -> int:
    """Let runs of released pauses go on, for a while; returns how many are left."""
    return _taken(holds.lift_released, time.monotonic() + seconds)


def _taken(turn: Callable[[], int], until: float) -> int:
    """Take turns until nothing is left or the time is up; at least one. Returns what is left."""
    while (left := turn()) and time.monotonic() < until:
        continue
    return left
