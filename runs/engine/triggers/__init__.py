"""What schedules, webhooks and folders have in common: start under a key, and remember how it went. Decides nothing.

The start and what is remembered of it commit together. The trigger's row comes last in the transaction and is
locked by nobody beforehand: it is the start key that keeps two from starting the same.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from runs import registry
from runs.canonical import cut, told
from runs.engine import starts
from runs.engine.record import now
from runs.engine.starts import Started
from runs.errors import StepError
from runs.models import Run, Trigger
from runs.starts_by import Start

_log = logging.getLogger("opsconsole.triggers")
S = TypeVar("S", bound=Start)
AWAY = (OperationalError, InterfaceError)  # the database cannot answer: nothing is wrong with what was given


def of_kind(kind: type[S]) -> Iterator[tuple[str, S]]:
    """Every start of that kind in the newest versions, with its workflow's name."""
    for workflow in registry.all_newest():
        for start in workflow.starts:
            if isinstance(start, kind):
                yield workflow.name, start


def row(workflow: str, start: Start, moment: datetime | None = None) -> Trigger:
    """The trigger's row, made when it is first seen (at `moment`, or now)."""
    moment = moment or now()
    fresh = {"first_seen": moment, "since": moment}
    return Trigger.objects.get_or_create(
        workflow=workflow, kind=start.kind.value, name=start.name, defaults=fresh
    )[0]


def known(workflow: str, key: str) -> Run | None:
    """The run that this key has started, if there is one."""
    return Run.objects.filter(workflow=workflow, start_key=key).first()


@transaction.atomic(durable=True)
def fire(
    workflow: str,
    start: Start,
    raw_input: Mapping[str, Any],
    key: str,
    *,
    due: datetime | None = None,
    says: str = "",
    **details: Any,
) -> Started:
    """Start a run, or find the one of this key. `due` moves a schedule's place; `details` go into the run's event.

    Raises what `runs.engine.starts.start` raises; nothing is half-done then.
    """
    by = f"{start.kind} {start.name}"
    because = {"trigger": by, "key": key, **details}
    begun = starts.start(workflow, raw_input, start_key=key, by=by, because=because)
    if begun.created:
        _remember(row(workflow, start).pk, begun.run, due, says)
    elif due is not None:
        Trigger.objects.filter(pk=row(workflow, start).pk, since__lt=due).update(since=due, last_error="")
    return begun


def _remember(trigger_id: int, run: Run, due: datetime | None, says: str) -> None:
    place = {"since": due} if due is not None else {}
    Trigger.objects.filter(pk=trigger_id).update(
        last_at=Now(), last_run=run, last_says=says, last_error="", **place
    )


def failed(trigger: Trigger, sentence: str, *, due: datetime | None = None) -> None:
    """Remember what stands in the way; not when a schedule's moment has been dealt with meanwhile."""
    rows = Trigger.objects.filter(~Q(last_error=cut(sentence)), pk=trigger.pk)
    if due is not None:
        rows = rows.filter(since__lt=due)
    if rows.update(last_error=cut(sentence), error_at=Now()):  # said when it is new, not at every try
        _log.warning("%s: %s", trigger, cut(sentence))


def well(trigger: Trigger) -> None:
    """Nothing stands in the way any more."""
    Trigger.objects.filter(pk=trigger.pk).exclude(last_error="").update(last_error="")


def refused(trigger: Trigger, sentence: str, *, times: int = 1) -> None:
    """Count what was refused for good. The sentence holds nothing of the content."""
    Trigger.objects.filter(pk=trigger.pk).update(
        refused=F("refused") + times, refused_at=Now(), last_refusal=cut(sentence)
    )


def words(error: Exception) -> str:
    """What a workflow's own function said is wrong; with the error's class when it is none of ours."""
    return told(error) if isinstance(error, StepError) else f"{type(error).__name__}: {told(error)}"


def whole_sentence(why: starts.NotStarted) -> str:
    """What was wrong, with every wrong value."""
    if not isinstance(why, starts.BadInput):
        return why.sentence
    return "The input is wrong: " + "; ".join(f"{path or 'input'}: {message}" for path, message in why.errors)
