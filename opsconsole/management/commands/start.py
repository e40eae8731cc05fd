"""`manage.py start WORKFLOW --input FILE`: start runs from the command line. Waits for none of them."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from escalations.expected import IntakeFull, Invalid, Refusal
from escalations.roles import System
from escalations.starts import start_run
from opsconsole.account import account
from runs import live
from runs.canonical import digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One input and where it stands. `wrong` says why it is none."""

    number: int
    value: Mapping[str, Any]
    wrong: str = ""


class Command(BaseCommand):
    help = "Start one run (FILE.json) or one run a line (FILE.jsonl). Starting the same again starts nothing twice."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("workflow")
        parser.add_argument(
            "--input",
            required=True,
            metavar="FILE",
            help=".json: one input; .jsonl, or - for stdin: one a line",
        )
        parser.add_argument(
            "--key", default="", help="start key; with several lines it is followed by their number"
        )

    def handle(self, *_: Any, workflow: str, key: str, **options: Any) -> None:
        if "runs_run" not in connection.introspection.table_names():
            raise CommandError(
                "No console has run on this data yet: start one (make run), "
                "or set DATA_DIR or DATABASE_URL as it has them."
            )
        name = options["input"]
        lines = list(_lines(_read(name), many=name == "-" or name.endswith(".jsonl")))
        if not lines:
            raise CommandError(f"{name} holds no input.")
        actor = System(name=f"command line ({account()})")
        several = len(lines) > 1
        done = 0
        for line in lines:
            place = f"line {line.number}: " if several else ""
            start_key = _start_key(workflow, line, key, several=several)
            try:
                done += self._start(actor, workflow, line, start_key, place)
            except IntakeFull as full:
                self.stderr.write(f"{place}{full.sentence} Give the same input again: nothing starts twice.")
                break
        live.flush()  # this process ends now, and workers should begin at once
        if done < len(lines):
            raise CommandError(f"{len(lines) - done} of {len(lines)} not started.")

    def _start(self, actor: System, workflow: str, line: Line, start_key: str, place: str) -> bool:
        if line.wrong:
            self.stderr.write(f"{place}{line.wrong}")
            return False
        try:
            started = start_run(actor=actor, workflow=workflow, raw_input=line.value, start_key=start_key)
        except IntakeFull:
            raise
        except Refusal as why:
            self.stderr.write(f"{place}{_sentence(why)}")
            return False
        self.stdout.write(f"{place}run {started.run.pk}{'' if started.created else ' (already started)'}")
        return True


def _read(name: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8-sig")
    except OSError as why:
        raise CommandError(f"Cannot read {name}: {why.strerror}.") from why
    except UnicodeDecodeError as why:
        raise CommandError(f"{name} is not UTF-8 text.") from why


def _lines(text: str, *, many: bool) -> Iterator[Line]:
    if not many:
        yield _line(1, text)
        return
    # Only line feeds end a line of JSON Lines; splitlines() would also cut at U+2028 inside a text.
    for number, row in enumerate(text.split("\n"), start=1):
        if row.strip():
            yield _line(number, row)


def _line(number: int, text: str) -> Line:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as why:
        return Line(number=number, value={}, wrong=f"not JSON: {why}.")
    if not isinstance(value, dict):
        return Line(number=number, value={}, wrong="not a JSON object.")
    return Line(number=number, value=value)


def _start_key(workflow: str, line: Line, key: str, *, several: bool) -> str:
    """Without --key: the same workflow, input and line is the same start, however often the file is given."""
    if key:
        return f"{key}:{line.number}" if several else key
    return digest([workflow, line.value, line.number])


def _sentence(why: Refusal) -> str:
    if isinstance(why, Invalid):
        return "; ".join(f"{path or 'input'}: {message}" for path, message in why.errors)
    return why.sentence
