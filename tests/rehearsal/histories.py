"""Runs that have been, written by hand so that every figure can be added up on paper. No database.

The clock starts at 09:00 UTC; `at(90)` is a minute and a half later.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from runs.limits.kinds import LimitKind, LimitScope, Mode, Window
from runs.limits.rows import Row
from runs.rehearsal.history import How, PastCall, PastQuestion, PastRun

NINE = datetime(2026, 11, 2, 9, tzinfo=UTC)
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NINE + timedelta(seconds=seconds)


def row(kind: str, value: int, scope: str = "", mode: str = "enforce", **given: Any) -> Row:
    """A limit such as row("cost/day", 500, "team:care")."""
    name, _, window = kind.partition("/")
    scope_kind, _, of = scope.partition(":")
    return Row(
        kind=LimitKind(name),
        window=Window(window),
        scope_kind=LimitScope(scope_kind or "organisation"),
        scope=of,
        value=value,
        mode=Mode(mode),
        since=given.pop("since", LONG_AGO),
        **given,
    )


def thought(second: float, cost: int | None = 100, **given: Any) -> PastCall:
    """A model call of 1,000 tokens in and 100 out that takes two seconds."""
    first: dict[str, Any] = {"agent": "clerk", "model": "openai/small", "tokens_in": 1000, "tokens_out": 100}
    given = first | given
    given = {"context": given["tokens_in"], "begun": at(second), "ended": at(second + 2)} | given
    return PastCall(kind="model", step=given.pop("step", 1), cost=cost, **given)


def called(second: float, tool: str = "look", **given: Any) -> PastCall:
    return PastCall(
        kind="tool",
        step=given.pop("step", 1),
        agent="clerk",
        tool=tool,
        begun=at(second),
        ended=at(second + 1),
        **given,
    )


def run(number: int, *calls: PastCall, **given: Any) -> PastRun:
    """A success of workflow refunds of team care, from its first call to a second after its last."""
    usual: dict[str, Any] = {
        "begun": at(0),
        "ended": at(60),
        "how": How.SUCCEEDED,
        "team": "care",
        "workflow": "refunds",
    }
    return PastRun(key=f"run {number}", number=number, calls=calls, **(usual | given))


def asked(second: float, answered: float | None, by: str = "Marta", **given: Any) -> PastQuestion:
    return PastQuestion(
        asked=at(second),
        answered=None if answered is None else at(answered),
        by=by if answered is not None else "",
        verb="approve" if answered is not None else "",
        **given,
    )
