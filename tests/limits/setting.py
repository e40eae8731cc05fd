"""Doing what an admin does with limits, in a line each."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User

from escalations import limits
from escalations.limit_lines import Line, line_of
from runs.engine.record import now

TURNS = {
    "what": "turns/run",
    "scope_kind": "workflow",
    "scope": "refund_desk",
    "value": "12",
    "mode": "enforce",
}


def made(actor: User, **given: str) -> int:
    """A new limit; its number."""
    return limits.set_limit(actor=actor, given=TURNS | given, unrehearsed=True, reason="at once").line


def line(number: int) -> Line:
    found = line_of(number, now())
    assert found is not None
    return found


def seen(number: int) -> str:
    return line(number).version


def change(actor: User, number: int, reason: str = "", **given: str) -> Any:
    """Change it as its form would: what is not given stays."""
    first = line(number).rows[0]
    kept = {"value": first.amount, "mode": first.mode.value}
    return limits.change(
        actor=actor, line=number, seen=seen(number), given=kept | given, reason=reason, unrehearsed=True
    )


def says(number: int) -> list[tuple[int, str]]:
    return [(row.value, row.mode.value) for row in line(number).rows]
