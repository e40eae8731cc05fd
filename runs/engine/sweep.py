"""The sweep: whatever nobody looks at, found by the database alone. Returns what is due; enqueues nothing."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db import InterfaceError, OperationalError

from runs.engine import answers, holds
from runs.engine.record import now
from runs.models import Control, Hold, Question, QuestionState, Run

_log = logging.getLogger("opsconsole.sweep")
BATCH = 64  # due runs a sweep; the oldest first, so a backlog drains in order


def due(limit: int = BATCH, *, overlooked_seconds: float = 0.0) -> list[int]:
    """Runs somebody should look at, oldest first; those due for at least so many seconds."""
    late = now() - timedelta(seconds=overlooked_seconds)
    runs = Run.objects.filter(due_at__lte=late, hold=Hold.NONE).order_by("due_at")
    return list(runs.values_list("pk", flat=True)[:limit])


def expire_questions(limit: int = 500) -> int:
    """Deny open questions whose deadline has passed; returns how many. Those of held runs keep their time."""
    passed = Question.objects.filter(state=QuestionState.OPEN, expires_at__lte=now(), run__hold=Hold.NONE)
    ids = list(passed.order_by("expires_at").values_list("pk", flat=True)[:limit])
    return sum(_expired(question_id) for question_id in ids)


def _expired(question_id: int) -> bool:
    try:
        return answers.expire(question_id)
    except (InterfaceError, OperationalError):
        raise
    except Exception:  # one that cannot be denied must not keep the others waiting
        _log.exception("question %s cannot expire", question_id)
        return False


def mark_controls() -> int:
    """Finish marking the runs of every engaged control; returns how many are left unmarked."""
    left = 0
    for control_id in Control.objects.filter(released_at__isnull=True).values_list("pk", flat=True):
        left += holds.mark(control_id)
    return left


def lift_pauses() -> int:
    """Let runs of released pauses go on; returns how many are left."""
    return holds.lift_released()
