"""System checks of what starts workflows without a person: refused, or warned of, before anything runs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from pydantic import ValidationError

from runs import registry
from runs.canonical import canonical
from runs.cron import BadCron, parse
from runs.definitions import Workflow
from runs.errors import wrong_values
from runs.starts_by import Folder, Schedule, Start, Webhook

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")
_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)  # what never comes after it never comes
Problem = tuple[str, str, str]  # code, what, fix


@register("workflows")
def check_starts(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Every start of every registered version, and the settings against those of the newest."""
    found: list[CheckMessage] = [
        Error(f"{place}: {workflow.name} v{workflow.version}: {text}", hint=hint, id=code)
        for workflow, place in registry.versions()
        for code, text, hint in problems(workflow)
    ]
    return [*found, *_without_a_secret(), *_unknown_in_settings()]


def problems(workflow: Workflow) -> Iterator[Problem]:
    """Everything that keeps its starts from working."""
    for name, count in Counter(start.name for start in workflow.starts).items():
        if count > 1:
            yield "runs.E030", f"{count} starts are named {name!r}", "Give every start a name of its own."
    for start in workflow.starts:
        if not _NAME.fullmatch(start.name):
            yield (
                "runs.E031",
                f"a {start.kind} is named {start.name!r}",
                "Use 1 to 60 small letters, digits, - and _: the name is part of an address.",
            )
        if isinstance(start, Schedule):
            yield from _schedule_problems(workflow, start)
        if isinstance(start, Folder):
            yield from _folder_problems(start)
        given: Any = start.input  # authors may not type-check
        if given is not None and not callable(given) and not isinstance(given, Mapping):
            yield (
                "runs.E035",
                f"{start.kind} {start.name!r}: input is {type(given).__name__}",
                "Give a function" + (" or a dict." if isinstance(start, Schedule) else ", or leave it out."),
            )


def _schedule_problems(workflow: Workflow, start: Schedule) -> Iterator[Problem]:
    try:
        moment = parse(start.cron, start.timezone).next(_ANY_TIME)
    except BadCron as why:
        yield "runs.E032", f"schedule {start.name!r}: {why}", "Five fields, for example '0 6 * * mon-fri'."
        return
    if moment is None:
        yield (
            "runs.E033",
            f"schedule {start.name!r}: {start.cron!r} never comes",
            "There is no such day: correct the day of the month or the month.",
        )
    if isinstance(start.input, Mapping) and workflow.nodes:
        yield from _input_problems(workflow, start, start.input)


def _input_problems(workflow: Workflow, start: Start, given: Mapping[str, Any]) -> Iterator[Problem]:
    try:
        workflow.takes.model_validate_json(canonical(given))
    except ValidationError as why:
        path, says = wrong_values(why)[0]
        yield (
            "runs.E034",
            f"{start.kind} {start.name!r}: its input is wrong: {path or 'input'}: {says}",
            f"Give what {workflow.takes.__name__} takes.",
        )
    except ValueError as why:
        yield "runs.E034", f"{start.kind} {start.name!r}: its input is wrong: {why}", "Give JSON."


def _folder_problems(start: Folder) -> Iterator[Problem]:
    if not start.pattern.strip() or "/" in start.pattern or start.most_bytes < 1:
        yield (
            "runs.E036",
            f"folder {start.name!r}: pattern {start.pattern!r}, at most {start.most_bytes} bytes",
            "The pattern is one of file names, without a folder; most_bytes is above 0.",
        )


def _without_a_secret() -> Iterator[CheckMessage]:
    for workflow in registry.all_newest():
        for start in workflow.starts:
            place = f"{workflow.name}/{start.name}"
            if isinstance(start, Webhook) and not settings.WEBHOOK_SECRETS.get(place):
                yield Warning(
                    f"The webhook /hooks/{place} has no secret: it answers 503 to every delivery.",
                    hint=f"Set WEBHOOK_SECRETS={place}=whsec_… (openssl rand -base64 32).",
                    id="runs.W030",
                )


def _unknown_in_settings() -> Iterator[CheckMessage]:
    starts = {
        (start.kind, f"{workflow.name}/{start.name}")
        for workflow in registry.all_newest()
        for start in workflow.starts
    }
    given = [(Webhook.kind, "WEBHOOK_SECRETS", place) for place in settings.WEBHOOK_SECRETS]
    given += [(Folder.kind, "WATCHED_FOLDERS", place) for place in settings.WATCHED_FOLDERS]
    for kind, setting, place in given:
        if (kind, place) not in starts:
            yield Warning(
                f"{setting} names {place}, and there is no such {kind}.",
                hint="Correct the name, as WORKFLOW/NAME, or take it out.",
                id="runs.W031",
            )
