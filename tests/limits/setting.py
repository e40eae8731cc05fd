"""Doing what an admin does with limits, in a line each."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import User

from escalations import drafted, limits
from escalations.limit_lines import Line, line_of
from escalations.models import Rehearsal, RehearsalState
from runs.engine.record import now
from runs.limits import written
from runs.rehearsal.drafts import Draft

TURNS = {
    "what": "turns/run",
    "scope_kind": "workflow",
    "scope": "refund_desk",
    "value": "12",
    "mode": "enforce",
}


def made(actor: User, **given: str) -> int:
    """A new limit, rehearsed where it must be; its number."""
    wanted = TURNS | given
    rehearsed_in_vain(wanted)
    return limits.set_limit(actor=actor, given=wanted, unrehearsed=True, reason="at once").line


def rehearsed_in_vain(given: Mapping[str, str]) -> None:
    """A rehearsal of a new limit that failed: then it is enforced with a reason."""
    with contextlib.suppress(written.Wrong):  # the act says so
        _in_vain(drafted.alone(written.new_limit(given, at=now())))


def _in_vain(tried: Draft) -> Rehearsal:
    moment = now()
    return Rehearsal.objects.create(
        digest=tried.digest,
        says=tried.says,
        since=moment,
        until=moment,
        state=RehearsalState.FAILED,
        why="a test",
        finished_at=moment,
    )


def line(number: int) -> Line:
    found = line_of(number, now())
    assert found is not None
    return found


def seen(number: int) -> str:
    return line(number).version


def change(actor: User, number: int, reason: str = "", **given: str) -> Any:
    """Change it as its form would: what is not given stays."""
    found = line(number)
    first = found.rows[0]
    wanted = {"value": first.amount, "mode": first.mode.value} | given
    new = limits.wish(found, wanted, now()).new
    if new is not None and new.mode is not first.mode:
        _in_vain(drafted.alone(new, found))
    return limits.change(
        actor=actor, line=number, seen=seen(number), given=wanted, reason=reason, unrehearsed=True
    )


def says(number: int) -> list[tuple[int, str]]:
    return [(row.value, row.mode.value) for row in line(number).rows]
