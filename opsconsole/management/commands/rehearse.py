"""`manage.py rehearse`: what a draft of a limit would have done to runs that are over, one JSON line a run. Changes
nothing. Of imported traces it needs no database.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from escalations import drafted
from escalations.expected import Refusal
from opsconsole.management import policies, traces
from runs.limits import written
from runs.limits.kinds import KEYS, LimitScope, Mode
from runs.rehearsal.comparing import Difference, as_json
from runs.rehearsal.departures import Departure
from runs.rehearsal.drafts import Draft, draft
from runs.rehearsal.rehearsing import Rehearsal, made
from runs.rehearsal.sentences import sentences
from runs.rehearsal.totals import Totals
from runs.shown import past

DAYS = 30  # of history, unless somebody says since when
NO_SPAN = "Traces have no span: leave --since and --until out."
MOST_TRACES = 20_000  # runs of files that are kept in memory for limits that count over many runs


class Command(BaseCommand):
    help = (
        "Try a draft of a limit on runs that are over: a new one (KIND SCOPE VALUE), another value of one that is "
        "there (--change LINE VALUE), or its end (--end LINE). Compared is what held then with the same and the draft. "
        "One line a run that differs, then the totals. Nothing is changed. Policies are tried likewise: "
        "policy WORKFLOW STEP, when-full AGENT compact|ask, breaker [model|tool|agent[:NAME]]."
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
        parser.add_argument(
            "--import",
            dest="keep",
            type=Path,
            metavar="FILE",
            help="keep the traces of a file, so that admins can rehearse over them at /limits/ too",
        )
        parser.add_argument("--name", default="", help="of what --import keeps; default: the file's own")
        parser.add_argument("--forget", metavar="NAME", help="remove what was kept under that name")
        parser.add_argument("--kept", action="store_true", help="say which traces are kept")
        parser.add_argument("--json", action="store_true", help="print JSON lines, and nothing else")
        policies.add_arguments(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        self._as_json = bool(options["json"])
        if options["keep"] or options["forget"] or options["kept"]:
            self._keep(options)
            return
        if options["words"] and options["words"][0] in policies.WORDS:
            self._policy(options)
            return
        tried = _draft(options)
        totals = self._traces(tried, options) if options["traces"] else self._own(tried, options)
        if self._as_json:
            self.stdout.write(
                json.dumps({"draft": tried.terms, "totals": totals.as_json()}, ensure_ascii=False)
            )
        else:
            self.stdout.write("\n".join(sentences(tried.says, totals.as_json())))

    def _keep(self, options: Mapping[str, Any]) -> None:
        _must_have_tables()
        if options["words"]:
            raise CommandError("Keep the traces first, then rehearse: give one of both.")
        if options["keep"]:
            believe = options["outcomes"]
            one = traces.keep(options["keep"], options["name"], believe=believe, say=self.stderr.write)
            self.stdout.write(f"Kept {one.runs:,} runs as {one.name}: choose them beside a limit's form.")
        elif options["forget"]:
            self.stdout.write(f"Forgot {traces.forget(options['forget']):,} runs.")
        else:
            self.stdout.write("\n".join(traces.kept()) or "No traces are kept.")

    def _policy(self, options: Mapping[str, Any]) -> None:
        """What is no limit: a policy or threshold of definitions and settings."""
        if options["change"] is not None or options["end"] is not None or options["mode"]:
            raise CommandError("--change, --end and --mode are for limits.")
        files = tuple(options["traces"] or ())
        if not files:
            _must_have_tables()
        elif options["since"] or options["until"]:
            raise CommandError(NO_SPAN)
        since, until = _span(options)
        span = policies.Span(since=since, until=until, traces=files, believe=options["outcomes"])

        def tell(one: Departure) -> None:
            told = json.dumps(one.as_json(), ensure_ascii=False)
            self.stdout.write(told if self._as_json else f"{one.run.key}: {one.says}")

        draft, says, totals = policies.rehearse(
            options["words"], options, span, tell=tell, say=self.stderr.write
        )
        policies.keep(options["words"], draft, says, span, totals)
        if self._as_json:
            self.stdout.write(json.dumps({"draft": draft, "totals": totals}, ensure_ascii=False))
        else:
            self.stdout.write("\n".join(policies.sentences(says, totals)))

    def _own(self, tried: Draft, options: Mapping[str, Any]) -> Totals:
        _must_have_tables()
        since, until = _span(options)
        rehearsal = Rehearsal(tried)
        if rehearsal.needs_stream:
            rehearsal.feed(past.calls_until(tried, since, until))
        for run in past.runs_between(tried, since, until, drafted.taken):
            self._tell(rehearsal.look(run))
        return rehearsal.totals

    def _traces(self, tried: Draft, options: Mapping[str, Any]) -> Totals:
        if options["since"] or options["until"]:
            raise CommandError(NO_SPAN)
        rehearsal = Rehearsal(tried)
        runs = traces.histories(options["traces"], believe=options["outcomes"], say=self.stderr.write)
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
        raise CommandError(traces.sentence(why)) from why


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


def _span(options: Mapping[str, Any]) -> tuple[datetime, datetime]:
    at = datetime.now(UTC)
    since = _moment("--since", options["since"]) or at - timedelta(days=DAYS)
    until = _moment("--until", options["until"]) or at
    if since >= until:
        raise CommandError("The span is empty: --since must be before --until.")
    return since, until


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
