"""`manage.py guard_report FILE`: what the guards would have said about recorded runs, one JSON line a run.

Needs no database and no servers; reads one run at a time. What a line says about how well its run went is never read.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.core.management.base import CommandError

from opsconsole.management.recordings import OnRecordings
from runs.canonical import told
from runs.guards.breakers import Breakers
from runs.guards.findings import Finding, WrongLimit, limits_of
from runs.guards.watch import judged
from runs.recorded import lines
from runs.recorded.trace import Trace, totals


class Command(OnRecordings):
    help = (
        "Say what the guards find in recorded runs (trace/1, one a line), step by step as they would have online. "
        "Bad lines are reported by their number and skipped. Breakers count over all runs of the file in their order. "
        "Exit code 1 when nothing could be read, or a run could not be judged."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KIND=VALUE",
            dest="limits",
            help="another limit: turns (20 model calls), context (16000 tokens), repeats (3), stale (8), failures (5)",
        )
        parser.add_argument("--json", action="store_true", help="print JSON lines, and nothing else")

    def handle(self, *_: Any, **options: Any) -> None:
        try:
            limits = limits_of(options["limits"])
        except WrongLimit as why:
            raise CommandError(str(why)) from why
        known = self.toolsets_of(
            options["file"],
            options["toolsets"],
            without="no tool's arguments are checked, and every tool counts as one that acts",
        )
        found, runs, broken = Counter[str](), 0, 0
        breakers = Breakers(limits=limits)
        try:
            for line in lines.lines(options["file"]):
                if line.trace is None:
                    self.say(f"line {line.number}: {line.wrong}")
                    continue
                runs += 1
                try:
                    findings = list(judged(line.trace, known, limits, breakers))
                except Exception as why:  # a fault of ours is no reason to leave the other runs unjudged
                    broken += 1
                    self.say(f"line {line.number}: {line.trace.run_id} cannot be judged: {told(why)[:300]}.")
                    continue
                found.update({finding.guard.value for finding in findings})
                self.stdout.write(
                    _as_json(line.trace, findings) if options["json"] else _sentences(line.trace, findings)
                )
        except lines.CannotRead as why:
            raise CommandError(str(why)) from why
        if not runs:
            raise CommandError(f"{options['file']} holds no recorded run that can be read.")
        if not options["json"]:
            self.stdout.write(_summary(runs, found))
        if broken:
            raise CommandError(f"{broken:,} of {runs:,} runs could not be judged; see above.")


def _as_json(trace: Trace, findings: list[Finding]) -> str:
    line = {
        "run_id": trace.run_id,
        "findings": [finding.as_json for finding in findings],
        "totals": totals(trace),
    }
    return json.dumps(line, ensure_ascii=False)


def _sentences(trace: Trace, findings: list[Finding]) -> str:
    head = f"{trace.run_id}: {len(findings)} findings in {len(trace.items)} steps"
    return "\n".join([head, *(f"  step {one.step}, {one.guard}: {one.says}" for one in findings)])


def _summary(runs: int, found: Counter[str]) -> str:
    by_guard = ", ".join(f"{guard} in {count}" for guard, count in sorted(found.items())) or "no findings"
    return f"{runs:,} runs: {by_guard}."
