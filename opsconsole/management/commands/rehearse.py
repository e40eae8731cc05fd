"""`manage.py rehearse`: what a draft of a limit would have done to runs that are over, one JSON line a run. Changes
nothing. Of imported traces it needs no database.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from escalations import drafted
from escalations.expected import Refusal
from opsconsole.management.recordings import declared
from runs.agents import prices
from runs.agents.door import Usage
from runs.errors import DataError
from runs.limits import written
from runs.limits.kinds import KEYS, LimitScope, Mode
from runs.limits.units import Unit, shown
from runs.recorded import family, lines
from runs.recorded.outcomes import outcomes
from runs.recorded.toolsets import Toolsets
from runs.rehearsal import traces
from runs.rehearsal.comparing import Difference, as_json
from runs.rehearsal.drafts import Draft, draft
from runs.rehearsal.history import How, PastRun
from runs.rehearsal.rehearsing import Rehearsal, made
from runs.rehearsal.totals import Totals
from runs.shown import past

DAYS = 30  # of history, unless somebody says since when
MOST_TRACES = 20_000  # runs of files that are kept in memory for limits that count over many runs


class Command(BaseCommand):
    help = (
        "Try a draft of a limit on runs that are over: a new one (KIND SCOPE VALUE), another value of one that is "
        "there (--change LINE VALUE), or its end (--end LINE). Compared is what held then with the same and the draft. "
        "One line a run that differs, then the totals. Nothing is changed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("words", nargs="*", metavar="KIND SCOPE VALUE", help=f"KIND: {', '.join(KEYS)}")
        parser.add_argument(
            "--change", type=int, metavar="LINE", help="give this limit another VALUE or mode"
        )
        parser.add_argument("--end", type=int, metavar="LINE", help="end this limit")
        parser.add_argument(
            "--mode", choices=[mode.value for mode in Mode], help="default: enforce, or as it is"
        )
        parser.add_argument("--since", metavar="MOMENT", help=f"UTC; default: {DAYS} days ago")
        parser.add_argument("--until", metavar="MOMENT", help="UTC; default: now")
        parser.add_argument(
            "--traces",
            type=Path,
            nargs="+",
            metavar="FILE",
            help="imported traces (trace/1, plain or gzip) instead of the console's own runs",
        )
        parser.add_argument(
            "--outcomes",
            action="store_true",
            help="believe what the traces say about whether they succeeded; only to count successes lost",
        )
        parser.add_argument("--json", action="store_true", help="print JSON lines, and nothing else")

    def handle(self, *_: Any, **options: Any) -> None:
        self._as_json = bool(options["json"])
        tried = _draft(options)
        totals = self._traces(tried, options) if options["traces"] else self._own(tried, options)
        if self._as_json:
            self.stdout.write(
                json.dumps({"draft": tried.terms, "totals": totals.as_json()}, ensure_ascii=False)
            )
        else:
            self.stdout.write(_summary(tried, totals))

    def _own(self, tried: Draft, options: Mapping[str, Any]) -> Totals:
        _must_have_tables()
        at = datetime.now(UTC)
        since = _moment("--since", options["since"]) or at - timedelta(days=DAYS)
        until = _moment("--until", options["until"]) or at
        if since >= until:
            raise CommandError("The span is empty: --since must be before --until.")
        rehearsal = Rehearsal(tried)
        if rehearsal.needs_stream:
            rehearsal.feed(past.calls_until(tried, since, until))
        for run in past.runs_between(tried, since, until, drafted.taken):
            self._tell(rehearsal.look(run))
        return rehearsal.totals

    def _traces(self, tried: Draft, options: Mapping[str, Any]) -> Totals:
        if options["since"] or options["until"]:
            raise CommandError("Traces have no span: leave --since and --until out.")
        rehearsal = Rehearsal(tried)
        runs = self._read(options["traces"], believe=options["outcomes"])
        if rehearsal.needs_stream:
            kept = list(runs)
            if len(kept) > MOST_TRACES:
                raise CommandError(
                    f"{len(kept):,} traces are too many for {tried.what}: give {MOST_TRACES:,} at most."
                )
            rehearsal.feed(made(kept))
            runs = iter(kept)
        for run in runs:
            self._tell(rehearsal.look(run))
        if not rehearsal.totals.runs + rehearsal.totals.beside:
            raise CommandError("There is no recorded run that can be read.")
        return rehearsal.totals

    def _read(self, files: list[Path], *, believe: bool) -> Iterator[PastRun]:
        for path in files:
            try:
                said = outcomes(path) if believe else {}
                known = declared(path) or Toolsets()
                for line in lines.lines(path):
                    if line.trace is None:
                        self.stderr.write(f"{path.name}, line {line.number}: {line.wrong}")
                        continue
                    yield traces.past(
                        line.trace,
                        workflow=family.name_of(line.trace.workflow),
                        team=family.TEAM,
                        price=_price,
                        how=_how(said.get(line.trace.run_id)),
                        toolsets=known,
                    )
            except lines.CannotRead as why:
                raise CommandError(str(why)) from why
            except OSError as why:
                raise CommandError(f"Cannot read {path}: {why.strerror}.") from why

    def _tell(self, one: Difference | None) -> None:
        if one is not None:
            told = (
                json.dumps(as_json(one), ensure_ascii=False) if self._as_json else f"{one.run.key}: {one.why}"
            )
            self.stdout.write(told)


def _draft(options: Mapping[str, Any]) -> Draft:
    """What was asked for. Raises CommandError with a sentence that says how to ask."""
    change, end, words = options["change"], options["end"], options["words"]
    if change is not None and end is not None:
        raise CommandError("Give one of --change and --end.")
    try:
        if end is not None:
            if words:
                raise CommandError("--end LINE takes no value.")
            return drafted.ending(_line(end))
        if change is not None:
            if len(words) > 1:
                raise CommandError("Give --change LINE with one VALUE, such as --change 12 30.")
            return drafted.changing(_line(change), value="".join(words), mode=options["mode"] or "")
        return _new(words, options)
    except Refusal as why:
        errors = getattr(why, "errors", None)
        raise CommandError(" ".join(said for _, said in errors) if errors else why.sentence) from why


def _new(words: list[str], options: Mapping[str, Any]) -> Draft:
    if len(words) != 3:
        raise CommandError("Give all three: KIND SCOPE VALUE, such as turns/run workflow:refund_desk 12.")
    what, scope, value = words
    if what not in KEYS:
        raise CommandError(f"{what!r} cannot be limited: KIND is one of {', '.join(KEYS)}.")
    scope_kind, _colon, name = scope.partition(":")
    if scope_kind not in tuple(LimitScope):
        raise CommandError(
            f"{scope!r} is no scope: give {LimitScope.ORGANISATION}, or KIND:NAME such as team:Support."
        )
    given = {"what": what, "scope_kind": scope_kind, "scope": name, "value": value}
    given["mode"] = options["mode"] or Mode.ENFORCE.value
    if not options["traces"]:
        _must_have_tables()
        return drafted.setting(given)
    try:
        return draft(written.new_limit(given, at=datetime.now(UTC)))
    except written.Wrong as why:
        raise CommandError(" ".join(said for _, said in why.errors)) from why


def _line(number: int) -> int:
    _must_have_tables()
    return number


def _must_have_tables() -> None:
    if "runs_limit" not in connection.introspection.table_names():
        raise CommandError(
            "No console has run on this data yet: start one (make run), set DATA_DIR or DATABASE_URL as it has them, "
            "or give --traces."
        )


def _moment(name: str, text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as why:
        raise CommandError(f"{name}: write a day and an hour in UTC, such as 2026-11-01 08:00.") from why
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _price(model: str, tokens_in: int, tokens_out: int) -> int | None:
    if model not in _unpriced:
        try:
            return prices.cost_micros(model, Usage(tokens_in=tokens_in, tokens_out=tokens_out))
        except DataError:
            _unpriced.add(model)
    return None


_unpriced: set[str] = set()


def _how(success: bool | None) -> How:
    if success is None:
        return How.UNKNOWN
    return How.SUCCEEDED if success else How.FAILED


def _summary(tried: Draft, totals: Totals) -> str:
    found = totals
    rate = found.per_operator_hour
    said = [
        f"{tried.says}.",
        f"{found.runs:,} runs looked at: {found.stopped:,} stopped, {found.freed:,} not stopped any more, "
        f"{found.warned:,} warned of, {found.noted:,} noted.",
        f"Successes lost: {found.successes_lost:,} of {found.successes:,}; of {found.success_unknown:,} stopped runs "
        "nobody knows.",
        f"Saved: {shown(Unit.MONEY, found.saved.cost)} and {found.saved.tokens:,} tokens in {found.saved.calls:,} "
        "calls.",
        f"{found.calls_waiting:,} more calls wait, {found.waited:,} ms in all.",
        f"Extra escalations: {found.extra_escalations:,}"
        + (
            f", {float(rate):.3f} an operator-hour."
            if rate is not None
            else "; nobody was at work in that time."
        ),
        f"Decisions that would differ: {found.decisions_differ:,} of {found.answered:,}.",
    ]
    if found.beside:
        said.append(f"{found.beside:,} other runs are not covered by it.")
    marks = found.spread.as_json(found.unit, found.value)
    if marks:
        of = marks["said"]
        said.append(
            f"They came to at most {of['p50']} (half), {of['p90']} (90 %), {of['p99']} (99 %), {of['most']}."
        )
    said += [f"{runs:,} runs: {why}" for why, runs in sorted(found.untold.items())]
    return "\n".join(said)
