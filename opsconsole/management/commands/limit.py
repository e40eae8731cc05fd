"""`manage.py limit`: list the limits, or set and lower one, when no page can be reached. It never allows more."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from escalations import limits
from escalations.expected import Invalid, Refusal
from escalations.limit_lines import line_of
from escalations.roles import System
from opsconsole.account import account
from runs import live
from runs.engine import limits as in_force
from runs.engine.record import now
from runs.limits.kinds import KEYS, LimitScope, Mode, key
from runs.limits.rows import Row
from runs.models import Limit


class Command(BaseCommand):
    help = (
        "List every limit that people have set; with KIND, SCOPE and VALUE set one, or lower the one that is there. "
        "What allows more is an admin's business, on the page."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("what", nargs="?", metavar="KIND", help=", ".join(KEYS))
        parser.add_argument(
            "scope", nargs="?", help=f"{LimitScope.ORGANISATION}, or KIND:NAME such as workflow:refund_desk"
        )
        parser.add_argument("value", nargs="?", help="such as 12, 250k, $40 or '10 min'")
        parser.add_argument("--mode", choices=[mode.value for mode in Mode], default=Mode.ENFORCE.value)
        parser.add_argument("--until", default="", help="a day and an hour in UTC; only for one that is new")
        parser.add_argument("--reason", default="")
        parser.add_argument("--json", action="store_true", help="list as JSON, a limit a line")

    def handle(self, *_: Any, what: str | None, scope: str | None, value: str | None, **options: Any) -> None:
        if "runs_limit" not in connection.introspection.table_names():
            raise CommandError(
                "No console has run on this data yet: start one (make run), "
                "or set DATA_DIR or DATABASE_URL as it has them."
            )
        if what is None:
            self._list(as_json=options["json"])
            return
        if scope is None or value is None:
            raise CommandError("Give all three: KIND SCOPE VALUE, such as turns/run workflow:refund_desk 12.")
        scope_kind, _colon, name = scope.partition(":")
        given = {"what": what, "scope_kind": scope_kind, "scope": name, "value": value}
        given |= {"mode": options["mode"], "until": options["until"]}
        try:
            number = self._set(given, options["reason"])
        except Refusal as why:
            raise CommandError(_sentence(why)) from why
        live.flush()
        self.stdout.write(
            f"limit {number}: {Limit.objects.get(pk=number).row.what} is {value}, {given['mode']}"
        )

    def _set(self, given: dict[str, str], reason: str) -> int:
        """The same limit again is lowered; another one is set."""
        actor = System(name=f"command line ({account()})")
        there = _there(given)
        if there is None:
            return limits.set_limit(actor=actor, given=given, reason=reason).line
        if given["until"]:
            raise CommandError(f"Limit {there} is there already: lower it without --until.")
        found = line_of(there, now())
        assert found is not None, "a row leads to its limit"
        kept = {"value": given["value"], "mode": given["mode"]}
        return limits.change(actor=actor, line=found.line, seen=found.version, given=kept, reason=reason).line

    def _list(self, *, as_json: bool) -> None:
        for limit in in_force.open_rows():
            row = limit.row
            self.stdout.write(json.dumps(_as_json(limit)) if as_json else _as_text(limit, row))


def _there(given: dict[str, str]) -> int | None:
    """The limit of exactly that kind, window, scope and mode that holds or will hold."""
    for limit in in_force.open_rows():
        row = limit.row
        same = (key(row.kind, row.window), row.scope_kind.value, row.scope, row.mode.value)
        if same == (given["what"], given["scope_kind"], given["scope"], given["mode"]):
            return limit.line
    return None


def _as_text(limit: Limit, row: Row) -> str:
    until = f" until {row.until:%Y-%m-%d %H:%M:%S} UTC" if row.until else ""
    scope = f"{row.scope_kind.value}:{row.scope}" if row.scope else row.scope_kind.value
    return f"{limit.line:>6}  {key(row.kind, row.window):<18} {scope:<32} {row.amount:>14}  {row.mode.value}{until}"


def _as_json(limit: Limit) -> dict[str, Any]:
    row = limit.row
    return {
        "limit": limit.line,
        "kind": row.kind.value,
        "window": row.window.value,
        "scope_kind": row.scope_kind.value,
        "scope": row.scope,
        "value": row.value,
        "mode": row.mode.value,
        "from": row.since.isoformat(),
        "until": row.until.isoformat() if row.until else None,
        "set_by": limit.set_by,
    }


def _sentence(why: Refusal) -> str:
    if isinstance(why, Invalid):
        return " ".join(f"{message}" for _, message in why.errors)
    return why.sentence
