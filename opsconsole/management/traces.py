"""Recorded runs of files, read for a rehearsal or kept for those on the page. Changes nothing but what is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from escalations import imports
from escalations.expected import Invalid, Refusal
from escalations.imports import Recorded
from escalations.models import Imported
from escalations.roles import System
from opsconsole.account import account
from opsconsole.management.recordings import beside, declared
from runs.recorded import lines
from runs.recorded.outcomes import outcomes
from runs.recorded.toolsets import Toolsets
from runs.rehearsal.history import PastRun

Say = Callable[[str], object]


def histories(files: list[Path], *, believe: bool, say: Say) -> Iterator[PastRun]:
    """The runs of files as histories; lines that are none are said. Raises CommandError."""
    for path in files:
        known = declared(path) or Toolsets()
        for one in recorded(path, believe=believe, say=say):
            yield imports.history(one.trace, known, one.succeeded)


def recorded(path: Path, *, believe: bool, say: Say) -> Iterator[Recorded]:
    """The runs of a file, a line each; lines that are none are said. Raises CommandError."""
    try:
        said = outcomes(path) if believe else {}
        for line in lines.lines(path):
            if line.trace is None:
                say(f"{path.name}, line {line.number}: {line.wrong}")
                continue
            yield Recorded(trace=line.trace, succeeded=said.get(line.trace.run_id))
    except lines.CannotRead as why:
        raise CommandError(str(why)) from why
    except OSError as why:
        raise CommandError(f"Cannot read {path}: {why.strerror}.") from why


def keep(path: Path, name: str, *, believe: bool, say: Say) -> Imported:
    """Keep a file's runs under a name, or under the file's own. Raises CommandError."""
    toolsets: dict[str, Any] | None = None
    if declared(path) is not None:
        toolsets = json.loads(beside(path).read_text(encoding="utf-8-sig"))
    runs = recorded(path, believe=believe, say=say)
    try:
        return imports.keep(actor=_actor(), name=name or path.name, runs=runs, declared=toolsets)
    except Refusal as why:
        raise CommandError(sentence(why)) from why


def forget(name: str) -> int:
    """Raises CommandError when nothing is kept under it."""
    try:
        return imports.forget(actor=_actor(), name=name)
    except Refusal as why:
        raise CommandError(why.sentence) from why


def kept() -> Iterator[str]:
    """What is kept, a line each."""
    for one in Imported.objects.all():
        yield f"{one.name}: {one.runs:,} runs, kept by {one.by} on {one.at:%Y-%m-%d %H:%M} UTC"


def sentence(why: Refusal) -> str:
    return " ".join(said for _, said in why.errors) if isinstance(why, Invalid) else why.sentence


def _actor() -> System:
    return System(name=f"command line ({account()})")
