"""`manage.py replay FILE`: recorded runs become live ones, and what they add up to is printed when all have settled."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import signal
import sys
import threading
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from escalations.expected import Invalid, Refusal
from escalations.roles import System
from opsconsole.account import account
from opsconsole.embedded import places
from opsconsole.management.recordings import OnRecordings
from opsconsole.replaying import Player, Seen, Stalled
from runs import live
from runs.recorded import lines
from runs.recorded.lines import Line
from runs.recorded.toolsets import Toolsets
from runs.recorded.totals import Totals, totals

THREADS = 4  # that play as fast as possible
SLOW_THREADS = 32  # that play with pauses
SAY_SECONDS = 2.0
INTERRUPTED = 130


@dataclass(slots=True, kw_only=True)
class Fed:
    """What has been read of a file. `runs` are ids; `first` says on which line a run_id stood first."""

    runs: list[int] = field(default_factory=list)
    first: dict[str, tuple[int, str]] = field(default_factory=dict)
    created: int = 0
    bad: int = 0
    refused: int = 0


class Command(OnRecordings):
    help = (
        "Play recorded runs (trace/1, one a line) through the engine: their model and tool results are the recorded "
        "ones, guards only observe, nothing is spent or done. A run is taken in once, however often its file is "
        "given. Bad lines are reported by their number and skipped. Ends when every run has settled: done, failed, "
        "waiting for a person, or held by a control. Exit code 0: every good line has settled; 1: nothing could be "
        "read, or runs were refused or lost; 130: interrupted (workers go on with what was taken in, and the same "
        "command finishes it)."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--limit", type=_count, metavar="N", help="only the first N runs")
        parser.add_argument(
            "--speed",
            type=_speed,
            default=0.0,
            metavar="X",
            help="0: as fast as possible (default); 1: with the recorded latencies; 10: ten times faster",
        )
        parser.add_argument("--json", action="store_true", help="print the totals as JSON, and nothing else")

    def handle(self, *_: Any, **options: Any) -> None:
        self._said = 0.0
        began = time.monotonic()
        self._prepare()
        known = self.toolsets_of(
            options["file"],
            options["toolsets"],
            without="every tool counts as one that declares nothing",
        )
        fed, seen = self._played(options["file"], known, options["limit"], options["speed"])
        found = totals(fed.runs, seen.held)
        if options["json"]:
            self.stdout.write(json.dumps(found.as_json()))
        else:
            self.stdout.write(_summary(found))
        seconds = time.monotonic() - began
        self.say(
            f"{fed.created} of {found.runs} runs taken in now, in {seconds:.1f} s; {fed.bad} lines skipped."
        )
        if found.lost or fed.refused:
            raise CommandError(
                f"{found.lost} runs lost, {fed.refused} not taken in. "
                "Give the same command again: nothing is played twice."
            )

    def _played(self, path: Path, known: Toolsets, limit: int | None, speed: float) -> tuple[Fed, Seen]:
        """Take in every line, and wait. Raises CommandError."""
        fed = Fed()
        try:
            with _interruptible(), Player(SLOW_THREADS if speed else THREADS, self._progress) as player:
                good = (line for line in lines.lines(path) if self._good(line, fed))
                for line in islice(good, limit):
                    if not self._take_in(player, line, known, speed, fed):
                        break
                if not fed.runs and not fed.refused:
                    raise CommandError(f"{path} holds no recorded run that can be read.")
                return fed, self._settled(player)
        except lines.CannotRead as why:
            raise CommandError(str(why)) from why
        except KeyboardInterrupt:
            live.flush()
            self.say(
                f"Interrupted. {len(fed.runs)} runs are on record; workers go on with them, and the same command "
                "finishes them."
            )
            sys.exit(INTERRUPTED)

    def _settled(self, player: Player) -> Seen:
        try:
            return player.wait()
        except Stalled as why:
            self.say(str(why))
            return player.look()

    def _good(self, line: Line, fed: Fed) -> bool:
        """Whether a line is a recorded run that no line before it was."""
        wrong = line.wrong
        if line.trace is not None:
            digest = line.trace.digest
            number, before = fed.first.setdefault(line.trace.run_id, (line.number, digest))
            if number != line.number:
                other = "" if before == digest else ", with other content"
                wrong = f"run_id {line.trace.run_id} stands on line {number} already{other}."
        if wrong:
            fed.bad += 1
            self.say(f"line {line.number}: {wrong}")
        return not wrong

    def _take_in(self, player: Player, line: Line, known: Toolsets, speed: float, fed: Fed) -> bool:
        """False when no more can be taken in."""
        assert line.trace is not None
        try:
            started = player.take_in(System(name=f"replay ({account()})"), line.trace, known, speed)
        except Invalid as why:  # on record with other content
            fed.bad += 1
            self.say(f"line {line.number}: {why.errors[0][1]}")
        except Refusal as why:
            fed.refused += 1
            self.say(f"line {line.number}: {why.sentence}")
        except Stalled as why:
            fed.refused += 1
            self.say(f"line {line.number} and what follows: {why}")
            return False
        else:
            fed.runs.append(started.run.pk)
            fed.created += started.created
        return True

    def _prepare(self) -> None:
        """The embedded database is ours to bring up to date, one of your own is not."""
        executor = MigrationExecutor(connection)
        if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return
        host = str(settings.DATABASES["default"]["HOST"])
        if host != str(places.places_for(Path(settings.DATA_DIR)).postgres_sockets):
            raise CommandError(
                "The database has not the tables of this version: run `python manage.py migrate` first."
            )
        self.say("Bringing the tables up to date.")
        call_command("migrate", interactive=False, verbosity=0)

    def _progress(self, seen: Seen) -> None:
        if time.monotonic() - self._said < SAY_SECONDS:
            return
        self._said = time.monotonic()
        held = f", {len(seen.held)} of them held" if seen.held else ""
        self.say(f"{seen.settled} runs settled{held}, {seen.going} going")


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Both signals end the command in order, also where a shell has started it in the background."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(one, signal.default_int_handler) for one in signals]
    try:
        yield
    finally:
        for one, handler in zip(signals, before, strict=True):
            signal.signal(one, handler)


def _summary(found: Totals) -> str:
    messages = found.steps - found.model_calls - found.tool_calls
    return "\n".join(
        (
            f"{found.runs:,} runs: {found.completed:,} completed, {found.waiting:,} waiting, "
            f"{found.failed:,} failed, {found.lost:,} lost",
            f"{found.steps:,} recorded items: {found.model_calls:,} model calls, {found.tool_calls:,} tool calls "
            f"({found.tool_errors:,} failed), {messages:,} messages",
            f"{found.tokens_in:,} tokens in, {found.tokens_out:,} out",
        )
    )


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 10**9:
        raise argparse.ArgumentTypeError(f"give a whole number of runs above 0, not {text!r}")
    return int(text)


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not math.isfinite(speed) or speed < 0:
        raise argparse.ArgumentTypeError(f"give 0, 1 or how many times faster, not {text!r}")
    return speed
