"""Between a permit and the guards it asks in its transaction: what the database raises, read; what it tells, said.

Nothing of a refused permit stays. A book of limits that was old is read again, and an account that nobody has opened
yet is opened, each in a transaction of its own; then the permit is asked again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from django.db import DatabaseError, connection, transaction

from runs.engine import limits
from runs.engine.claimed import Claimed
from runs.engine.outcomes import Blocked, Park, Refused
from runs.engine.record import announce_run, event, lock_run
from runs.engine.refusals import Refusal, asking, of_detail
from runs.engine.spend import caps, lent
from runs.engine.spend.caps import Asks
from runs.engine.spend.opening import open_account
from runs.engine.spend.wanted import Wanted
from runs.limits.kinds import LimitKind, Window
from runs.limits.rows import Row

REFUSED, OUTDATED, STALE = "OG001", "OG002", "OG003"
TRIES = 24  # an account is opened at each, or a change of limits read; more than that is a defect
OBSERVED, WARNED, NEARLY = 1, 2, 4
T = TypeVar("T")


def permitted(claimed: Claimed, wanted: Wanted, permit: Callable[[Asks], T], *, first: bool) -> T:
    """What `permit` gives once it was asked with limits, accounts and the run's purse as they are now. `first`: it was
    never sent before.

    Raises Blocked (it goes on by itself), Park (a person's to give), Refused, and what `permit` raises.
    """
    for _ in range(TRIES):
        asks = caps.asks(claimed, wanted, first=first)
        try:
            return permit(asks)
        except BaseException as error:
            if asks.drawn is not None:  # what it took of the purse may not be taken
                lent.forget(claimed.run.pk)
            if not isinstance(error, DatabaseError):
                raise
            state, detail = _said(error)
            if state == REFUSED:
                raise _hindrance(claimed, wanted, of_detail(detail)) from error
            if state == OUTDATED:
                _refresh(detail)
            elif state != STALE:
                raise
    raise Refused("the limits change too often just now; asked again in a moment")


def _said(error: DatabaseError) -> tuple[str, Mapping[str, Any]]:
    """The state of a database error, and what a guard wrote into its detail."""
    cause = error.__cause__
    state = getattr(cause, "sqlstate", None) or ""
    if state not in (REFUSED, OUTDATED):
        return state, {}
    return state, json.loads(cause.diag.message_detail or "{}")  # type: ignore[union-attr]


def _refresh(missing: Mapping[str, Any]) -> None:
    """Read the book again, or open the account that a permit did not find."""
    if not missing:
        limits.current()
        return
    open_account(*(str(missing[name]) for name in ("kind", "window", "scope_kind", "scope")))


def _hindrance(claimed: Claimed, wanted: Wanted, refusal: Refusal) -> Blocked | Park:
    if refusal.waits:
        return Blocked(refusal)
    if refusal.window == Window.RUN:
        refusal = replace(refusal, account=_own_account(claimed, refusal))
    return Park(asking(refusal, row=deciding(claimed, wanted, refusal), seconds_left=claimed.left()))


def _own_account(claimed: Claimed, refusal: Refusal) -> int:
    """The number of the run's own account: one that the refused permit had made has gone with it."""
    with connection.cursor() as cursor:
        values: list[Any] = [refusal.guard, refusal.scope_kind, refusal.scope, claimed.run.pk]
        cursor.execute("SELECT runs_own(%s, %s, %s, %s)", values)
        row = cursor.fetchone()
    assert row is not None
    return int(row[0])


def deciding(claimed: Claimed, wanted: Wanted, refusal: Refusal) -> Row | None:
    """The limit that refused, as the book has it."""
    what = (LimitKind(refusal.guard), Window(refusal.window))
    applied = limits.known().applies(to=caps.where(claimed, wanted), at=datetime.now(UTC)).get(what)
    return next((row for row in applied.holding if row.id == refusal.limit), None) if applied else None


def tell(claimed: Claimed, told: list[dict[str, Any]]) -> None:
    """Write down what was noted beside a permit: a limit that warns or observes was passed, or is nearly used up."""
    with transaction.atomic():
        run = lock_run(claimed.run.pk)
        if run is None:
            return
        for one in told:
            event(run, "guard", step=claimed.step, **_noted(one))
        run.save(update_fields=["event_seq"])
        announce_run(run)


def _noted(one: Mapping[str, Any]) -> dict[str, Any]:
    refusal = Refusal(
        guard=one["guard"],
        scope_kind=one["scope_kind"],
        scope=one["scope"],
        window=one["window"],
        account=one["account"],
        limit=one["limit"] or 0,
        cap=one["cap"],
        used=one["used"],
    )
    nearly = one["bits"] & NEARLY
    mode = "observe" if one["bits"] == OBSERVED else "warn"
    passed = "nearly used up" if nearly else f"past the limit that {mode}s"
    amount = f"{refusal.amount(refusal.used)} of {refusal.amount(refusal.cap)}"
    return {
        **refusal.data,
        "mode": mode,
        "says": f"{refusal.what} of {refusal.scope_words}, {passed}: {amount} are used or reserved.",
    }
