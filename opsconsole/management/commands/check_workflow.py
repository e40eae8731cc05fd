"""`manage.py check_workflow NAME`: the workflow against every misbehaviour of its agents, and what caught each.

Works on a database of its own, which is dropped afterwards, and performs no tool that acts.
"""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from pydantic import ValidationError

from opsconsole import environment, throwaway
from opsconsole.embedded import lease
from opsconsole.environment import Refused
from runs import registry
from runs.agents.misbehaviour import Misbehaviour
from runs.canonical import canonical, told
from runs.definitions import Workflow
from runs.errors import wrong_values
from runs.models import RehearsedPolicy
from runs.rehearsal.policies import changed
from runs.shown.rehearsed import Tried, tried
from runs.testing.checking import Row, cases, check
from runs.testing.faults import TrialFault
from runs.testing.stand_ins import agents_of

_HEADS = ("misbehaviour", "agent", "ended", "calls", "cost", "what caught it")


class Command(BaseCommand):
    help = (
        "Run a workflow against every misbehaviour at each of its agents and print what caught it. "
        "Nothing real happens: tools that act only answer, and the runs go into a database that is dropped."
    )

    _widths: tuple[int, ...] = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("workflow")
        parser.add_argument(
            "--input",
            default="",
            metavar="FILE",
            help=".json: one input; .jsonl: one a line; without it the samples that the definition states",
        )
        parser.add_argument("--seed", type=int, default=0, help="chooses how each misbehaviour goes wrong")
        parser.add_argument("--agent", action="append", default=[], help="only at this agent (repeatable)")
        parser.add_argument(
            "--only",
            action="append",
            default=[],
            choices=[str(one) for one in Misbehaviour],
            metavar="MISBEHAVIOUR",
            help=f"only this one (repeatable): {', '.join(Misbehaviour)}",
        )
        parser.add_argument(
            "--seconds", type=float, default=60.0, help="the longest one trial may take (default 60)"
        )
        parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
        parser.add_argument("--strict", action="store_true", help="exit code 1 when something is not caught")

    def handle(self, *_: Any, workflow: str, seed: int, **options: Any) -> None:
        found = _workflow(workflow)
        samples = _samples(found, options["input"])
        _check_agents(found, options["agent"])
        if seed < 0 or options["seconds"] <= 0:
            raise CommandError("--seed is 0 or more, and --seconds more than 0.")
        all_cases = list(cases(found, seed))
        self._widths = (
            max(len(one.label) for one in all_cases) + 2,
            max(len(one.who) for one in all_cases) + 2,
            9,
            7,
            9,
        )
        _begin_again_with_servers()
        policies = _changed(found)
        if not options["json"]:
            self._begin(found, len(samples), policies)
        try:
            with throwaway.database():
                rows = [
                    self._said(row, options["json"])
                    for row in check(
                        found,
                        samples,
                        seed=seed,
                        only=[Misbehaviour(one) for one in options["only"]],
                        at=options["agent"],
                        seconds=options["seconds"],
                    )
                ]
        except (Refused, TrialFault) as why:
            raise CommandError(str(why)) from why
        self._end(found, seed, rows, policies, as_json=options["json"])
        if options["strict"] and any(row.caught is False for row in rows):
            raise CommandError("Something is not caught.", returncode=1)

    def _begin(self, workflow: Workflow, samples: int, changed: Sequence[Tried]) -> None:
        self.stdout.write(f"{workflow.name} v{workflow.version}, {samples} input{'s'[: samples != 1]}.")
        self.stdout.write(_about_tools(workflow))
        for one in changed:
            change = one.change
            self.stdout.write(
                f"Changed policy, {change.about}: {change.before} -> {change.after}. {one.says}."
            )
            self.stdout.write(f"  {change.command}")
        self.stdout.write("")
        self.stdout.write(self._line(_HEADS))

    def _line(self, cells: Sequence[str]) -> str:
        fixed = "".join(f"{cell:<{width}}" for cell, width in zip(cells, self._widths, strict=False))
        return f"{fixed}{cells[-1]}"

    def _said(self, row: Row, as_json: bool) -> Row:
        """Each row as soon as it is known: a check may take a while."""
        if not as_json:
            cost = f"{row.cost_micros / 1_000_000:.4f}"
            self.stdout.write(
                self._line((row.misbehaviour, row.agent, row.ended, str(row.model_calls), cost, row.what))
            )
            self.stdout.flush()
        return row

    def _end(
        self, workflow: Workflow, seed: int, rows: Sequence[Row], changed: Sequence[Tried], *, as_json: bool
    ) -> None:
        missed = [row for row in rows if row.caught is False]
        if as_json:
            told = {
                "workflow": workflow.name,
                "version": workflow.version,
                "seed": seed,
                "not_caught": len(missed),
                "reached_the_world": sum(1 for row in missed if row.too_late),
                "rows": [asdict(row) for row in rows],
                "policies": [_told(one) for one in changed],
            }
            self.stdout.write(json.dumps(told))
            return
        caught = sum(1 for row in rows if row.caught)
        late = sum(1 for row in missed if row.too_late)
        self.stdout.write(
            f"\n{caught} caught, {late} caught only after reaching the world, {len(missed) - late} not caught, "
            f"{len(rows) - caught - len(missed)} without effect."
        )
        for row in missed:
            self.stdout.write(f"  {row.misbehaviour} at {row.agent}: {row.what}")


def _workflow(name: str) -> Workflow:
    found = registry.newest(name)
    if found is None:
        known = ", ".join(one.name for one in registry.all_newest()) or "none"
        raise CommandError(f"There is no workflow {name!r}. Known: {known}. {_about_apps()}")
    if not agents_of(found):
        raise CommandError(f"{name} has no agents: nobody can misbehave.")
    return found


def _changed(workflow: Workflow) -> Sequence[Tried]:
    """Its policies that the next older installed version had otherwise, with what the console's own database, where
    there is one, has of their rehearsals."""
    older = [
        one for one, _ in registry.versions() if one.name == workflow.name and one.version < workflow.version
    ]
    if not older:
        return ()
    changes = tuple(changed(max(older, key=lambda one: one.version), workflow))
    if RehearsedPolicy._meta.db_table not in connection.introspection.table_names():
        return [Tried(change=one, last=None) for one in changes]
    return tried(changes)


def _told(one: Tried) -> dict[str, Any]:
    change, last = one.change, one.last
    told = {"about": change.about, "before": change.before, "after": change.after, "command": change.command}
    if last is None:
        return told | {"rehearsed": None}
    return told | {"rehearsed": {"at": last.at.isoformat(), "by": last.by, "result": last.result}}


def _about_apps() -> str:
    given = os.environ.get("OPSCONSOLE_APPS", "").strip()
    return f"OPSCONSOLE_APPS is {given}." if given else "Is OPSCONSOLE_APPS set in this terminal?"


def _begin_again_with_servers() -> None:
    """Everything that can be refused at once has been looked at: only now are servers started, which takes a while.

    Settings have been read without their addresses, so the command begins anew, with the hold on them still open.
    """
    if environment.servers_given():
        return
    try:
        held = lease.hold(environment.data_dir())
    except Refused as why:
        raise CommandError(str(why)) from why
    held.conn.set_inheritable(True)
    os.execv(sys.executable, [sys.executable, *sys.argv])


def _samples(workflow: Workflow, file: str) -> list[Mapping[str, Any]]:
    """The inputs, each one that the workflow takes."""
    if not file and workflow.samples is None:
        raise CommandError(
            f"{workflow.name} states no samples: give an input with --input FILE, or add samples= to its definition."
        )
    given = _read(file) if file else _stated(workflow)
    if not given:
        raise CommandError(f"{file or workflow.name} holds no input.")
    for number, one in enumerate(given, start=1):
        try:
            workflow.takes.model_validate_json(canonical(one))
        except ValidationError as error:
            path, says = wrong_values(error)[0]
            raise CommandError(
                f"Input {number} of {file or 'the samples'}: {path or 'input'}: {says}"
            ) from error
        except ValueError as error:
            raise CommandError(
                f"Input {number} of {file or 'the samples'} is nothing that JSON can hold: {told(error)}"
            ) from error
    return given


def _stated(workflow: Workflow) -> list[Mapping[str, Any]]:
    try:
        return list(workflow.samples()) if workflow.samples else []
    except Exception as why:  # the author's own function
        raise CommandError(f"The samples of {workflow.name} cannot be had: {told(why)}") from why


def _read(file: str) -> list[Mapping[str, Any]]:
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as why:
        raise CommandError(f"Cannot read {file}: {why}.") from why
    parts = [line for line in text.split("\n") if line.strip()] if file.endswith(".jsonl") else [text]
    try:
        found = [json.loads(part) for part in parts]
    except (ValueError, RecursionError) as why:
        raise CommandError(f"{file} is not JSON: {why}.") from why
    if not all(isinstance(one, dict) for one in found):
        raise CommandError(f"{file} holds something that is no JSON object.")
    return found


def _check_agents(workflow: Workflow, wanted: Sequence[str]) -> None:
    known = [agent.name for agent in agents_of(workflow)]
    for name in wanted:
        if name not in known:
            raise CommandError(f"{workflow.name} has no agent {name!r}; it has {', '.join(known)}.")


def _about_tools(workflow: Workflow) -> str:
    tools = {tool.name: tool for agent in agents_of(workflow) for tool in agent.tools if tool.acts}
    if not tools:
        return "No tool of it acts."
    blank = [name for name, tool in sorted(tools.items()) if tool.rehearse is None]
    more = (
        f" {', '.join(blank)}: no rehearse= in the definition, so a bare 'done' is answered." if blank else ""
    )
    return f"Tools that act are not performed, they only answer: {', '.join(sorted(tools))}.{more}"
