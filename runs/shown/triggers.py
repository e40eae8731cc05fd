"""What starts a workflow without a person, for screens: in words, what comes next, how it last went. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.utils import timezone

from runs import registry
from runs.cron import BadCron, parse
from runs.models import Trigger
from runs.starts_by import Folder, Schedule, Start, Webhook


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerSeen:
    """One start. `next_at` is a schedule's; `last_run` is a run's number; `last_error` is empty when all is well."""

    kind: str
    name: str
    says: str
    ready: bool  # False when the settings lack its folder or its secret
    next_at: datetime | None
    last_at: datetime | None
    last_run: int | None
    last_says: str
    last_error: str
    error_at: datetime | None
    refused: int


def triggers_of(workflow_name: str, now: datetime | None = None) -> list[TriggerSeen]:
    """The starts of a workflow's newest version, in their order; one query. Empty when there is no such workflow."""
    workflow = registry.newest(workflow_name)
    if workflow is None or not workflow.starts:
        return []
    rows = {(row.kind, row.name): row for row in Trigger.objects.filter(workflow=workflow_name)}
    moment = now or timezone.now()
    return [
        _seen(workflow_name, start, rows.get((start.kind.value, start.name)), moment)
        for start in workflow.starts
    ]


def _seen(workflow: str, start: Start, row: Trigger | None, now: datetime) -> TriggerSeen:
    missing = _missing(workflow, start)
    error, error_at = _trouble(row)
    return TriggerSeen(
        kind=start.kind.value,
        name=start.name,
        says=_says(workflow, start),
        ready=not missing,
        next_at=_next(start, now),
        last_at=row.last_at if row else None,
        last_run=row.last_run_id if row else None,
        last_says=row.last_says if row else "",
        last_error=missing or error,
        error_at=None if missing else error_at,
        refused=row.refused if row else 0,
    )


def _says(workflow: str, start: Start) -> str:
    if isinstance(start, Webhook):
        return f"POST /hooks/{workflow}/{start.name}, signed"
    path = settings.WATCHED_FOLDERS.get(f"{workflow}/{start.name}") if isinstance(start, Folder) else None
    return f"{start.pattern} put into {path}" if path and isinstance(start, Folder) else start.says


def _missing(workflow: str, start: Start) -> str:
    place = f"{workflow}/{start.name}"
    if isinstance(start, Webhook) and not settings.WEBHOOK_SECRETS.get(place):
        return f"Not set up: give it a secret in WEBHOOK_SECRETS, as {place}=whsec_…"
    if isinstance(start, Folder) and place not in settings.WATCHED_FOLDERS:
        return f"Not set up: give it a folder in WATCHED_FOLDERS, as {place}=/path"
    return ""


def _trouble(row: Trigger | None) -> tuple[str, datetime | None]:
    """What stands in the way now, or else the last refusal, unless a start came after it."""
    if row is None:
        return "", None
    if row.last_error:
        return row.last_error, row.error_at
    if row.refused_at and (row.last_at is None or row.refused_at > row.last_at):
        return f"Refused: {row.last_refusal}", row.refused_at
    return "", None


def _next(start: Start, now: datetime) -> datetime | None:
    if not isinstance(start, Schedule):
        return None
    try:
        return parse(start.cron, start.timezone).next(now)
    except BadCron:
        return None
