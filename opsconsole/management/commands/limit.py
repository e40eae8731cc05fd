"""`manage.py limit`: list the limits, or set and lower one, when no page can be reached. It never allows more.

What shall be enforced is rehearsed first, as on the page, and what that came to is printed and kept in the entry.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from escalations import limits, rehearsals, rehearsed
from escalations.expected import Invalid, Refusal
from escalations.limit_lines import Line, line_of
from escalations.models.rehearsal import PATIENCE
from escalations.roles import System
from opsconsole.account import account
from runs import live
from runs.engine import limits as in_force
from runs.engine.record import now
from runs.limits.kinds import KEYS, LimitScope, Mode, key
from runs.limits.rows import Row
from runs.models import Limit
from runs.rehearsal.sentences import of_totals

LOWERING_SECONDS = 10.0  # what lowers asks for no rehearsal: it waits no longer for one
NO_RUN = (
    "Its rehearsal covers no run, and some are on record from before its days, so nothing is enforced: "
    f"give more --days ({max(rehearsals.DAYS)} always counts), or watch first with --mode observe."
)


class Command(BaseCommand):
    help = (
        "List every limit that people have set; with KIND, SCOPE and VALUE set one, or lower the one that is there. "
        "What shall be enforced is tried on runs that are over first. What allows more is an admin's business, on the "
        "page."
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
        parser.add_argument(
            "--days",
            type=int,
            default=30,
            choices=rehearsals.DAYS,
            help="rehearse it on the runs of so many days",
        )
        parser.add_argument(
            "--unrehearsed",
            action="store_true",
            help="enforce it although its rehearsal failed, or has not ended after a minute; needs --reason",
        )
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
            number = self._set(given, options["reason"], options["days"], options["unrehearsed"])
        except Refusal as why:
            raise CommandError(_sentence(why)) from why
        live.flush()
        self.stdout.write(
            f"limit {number}: {Limit.objects.get(pk=number).row.what} is {value}, {given['mode']}"
        )

    def _set(self, given: dict[str, str], reason: str, days: int, unrehearsed: bool) -> int:
        """The same limit again is lowered; another one is set."""
        actor = System(name=f"command line ({account()})")
        there = _there(given)
        if there is None:
            if given["mode"] == Mode.ENFORCE.value:
                self._rehearse(actor, given, days, unrehearsed=unrehearsed and bool(reason.strip()))
            try:
                return limits.set_limit(actor=actor, given=given, reason=reason, unrehearsed=unrehearsed).line
            except Invalid as why:
                if ("rehearsal", rehearsed.EMPTY) not in why.errors:
                    raise
                raise CommandError(NO_RUN) from why
        if given["until"]:
            raise CommandError(f"Limit {there} is there already: lower it without --until.")
        found = line_of(there, now())
        assert found is not None, "a row leads to its limit"
        kept = {"value": given["value"], "mode": given["mode"]}
        if given["mode"] == Mode.ENFORCE.value:
            self._rehearse(actor, kept, days, found)
        return limits.change(actor=actor, line=found.line, seen=found.version, given=kept, reason=reason).line

    def _rehearse(
        self,
        actor: System,
        given: dict[str, str],
        days: int,
        found: Line | None = None,
        *,
        unrehearsed: bool = False,
    ) -> None:
        """What it would have done, printed. A new limit is enforced without only where that is wanted; lowering goes on
        where it cannot be told, for it asks for nothing."""
        patience = LOWERING_SECONDS if found else PATIENCE.total_seconds() if unrehearsed else None
        try:
            one = rehearsals.wait_for(
                actor=actor,
                given=given,
                line=found.line if found else None,
                seen=found.version if found else "",
                days=days,
                seconds=patience,
            )
        except Exception as why:
            if found is None and isinstance(why, Refusal) and not _is_failed(why):
                raise
            said = _sentence(why) if isinstance(why, Refusal) else f"{type(why).__name__}: {why}"
            if found is None and not unrehearsed:
                raise CommandError(
                    f"It could not be rehearsed ({said}), so nothing is enforced. "
                    "Try fewer --days, watch first with --mode observe, or give --unrehearsed and a --reason."
                ) from why
            self.stderr.write(
                f"It could not be rehearsed ({said})."
                + (" To lower it needs no rehearsal." if found else " It is enforced without.")
            )
            return
        if one.totals is None:
            self.stderr.write(
                f"Its rehearsal takes longer than {patience:g} s and goes on at /limits/; it is "
                + ("lowered." if found else "enforced without.")
            )
            return
        self.stdout.write(f"Rehearsed on the runs of {days} days (rehearsal {one.pk}):")
        for sentence in of_totals(one.totals):
            self.stdout.write(f"  {sentence}")

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


def _is_failed(why: Refusal) -> bool:
    """Whether the rehearsal was tried, and not its draft refused."""
    return isinstance(why, Invalid) and why.errors[0][0] == "rehearsal"


def _sentence(why: Refusal) -> str:
    if isinstance(why, Invalid):
        return " ".join(f"{message}" for _, message in why.errors)
    return why.sentence
