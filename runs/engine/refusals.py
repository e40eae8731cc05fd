"""What a guard of the permit refused, in numbers and in one sentence, and the card that it becomes. Pure.

Every refusal names the guard, the scope and the figure. One with `until` mends itself; any other is a person's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runs.definitions import Check
from runs.engine.questions import Asking
from runs.limits.kinds import TABLE, LimitKind, LimitScope, Window, says, used_up
from runs.limits.rows import Row, moment_words
from runs.limits.units import shown
from runs.models import QuestionKind

DEADLINE_SECONDS = 24 * 3600.0  # of a card about a used-up limit; the run's own deadline may be sooner
PRIORITY = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """`cap`, `used`, `need`, and what others need who wait `ahead` of it, in the kind's unit; None for a breaker.
    `account` and `breaker` are numbers of rows."""

    guard: str
    scope_kind: str
    scope: str
    window: str = ""
    account: int | None = None
    breaker: int | None = None
    limit: int = 0
    cap: int | None = None
    used: int | None = None
    ahead: int = 0
    need: int = 0
    until: datetime | None = None
    forced: bool = False
    why: str = ""

    @property
    def scope_words(self) -> str:
        if self.scope_kind == LimitScope.ORGANISATION:
            return "the organisation"
        if self._of_this_run:
            return "this run"
        return f"{self.scope_kind} {self.scope}"

    @property
    def what(self) -> str:
        """What is limited: "cost a month"; of one run's own count "turns"; of a breaker itself."""
        if self.breaker is not None:
            return "breaker"
        kind = LimitKind(self.guard)
        return TABLE[kind].words if self._of_this_run else says(kind, Window(self.window))

    @property
    def _of_this_run(self) -> bool:
        return self.scope_kind == LimitScope.RUN and not self.scope

    def amount(self, value: int | None) -> str:
        return "?" if value is None else shown(TABLE[LimitKind(self.guard)].unit, value)

    @property
    def says(self) -> str:
        """One sentence with the figure."""
        if self.breaker is not None:
            opened = "was opened by a person" if self.forced else "is open"
            why = f": {self.why}" if self.why else ""
            return f"The breaker of {self.scope_words} {opened}{why}"
        left = max(0, (self.cap or 0) - (self.used or 0))
        before = f", those who wait before it need {self.amount(self.ahead)}" if self.ahead else ""
        return (
            f"{self.what} of {self.scope_words}: {self.amount(self.used)} of {self.amount(self.cap)} are used or"
            f" reserved{before}, and this call may need {self.amount(self.need)} ({self.amount(left)} left)"
        )

    @property
    def waits(self) -> bool:
        return self.until is not None

    @property
    def data(self) -> dict[str, Any]:
        """For the run's event."""
        return {
            "guard": self.guard,
            "mode": "enforce",
            "scope": self.scope_words,
            "limit": self.limit,
            "cap": self.cap,
            "value": self.used,
            "need": self.need,
            "says": f"{self.says}.",
        }


def of_detail(detail: Mapping[str, Any]) -> Refusal:
    """What the database says in a refusal's detail."""
    until = detail.get("until")
    return Refusal(
        guard=str(detail["guard"]),
        scope_kind=str(detail["scope_kind"]),
        scope=str(detail["scope"]),
        window=str(detail.get("window") or ""),
        account=detail.get("account"),
        breaker=detail.get("breaker"),
        limit=int(detail.get("limit") or 0),
        cap=detail.get("cap"),
        used=detail.get("used"),
        ahead=int(detail.get("ahead") or 0),
        need=int(detail.get("need") or 0),
        until=datetime.fromisoformat(until) if until else None,
        forced=bool(detail.get("forced")),
        why=str(detail.get("why") or ""),
    )


def asking(refusal: Refusal, *, row: Row | None, seconds_left: float) -> Asking:
    """The card of a used-up cap. `row`: the limit that decided, as it is now."""
    of_limit = row.scope_words if row else refusal.scope_words
    clause = used_up(LimitKind(refusal.guard), refusal.what, refusal.scope_words)
    return Asking(
        kind=QuestionKind.LIMIT,
        title=f"{clause[:1].upper()}{clause[1:]} ({refusal.amount(refusal.used)} of {refusal.amount(refusal.cap)})",
        reason=f"a limit of {of_limit} would be crossed: {refusal.says}",
        action={
            "guard": refusal.guard,
            "window": refusal.window,
            "scope_kind": refusal.scope_kind,
            "scope": refusal.scope,
            "account": refusal.account,
            "limit": refusal.limit,
            "cap": refusal.cap,
            "used": refusal.used,
            "need": refusal.need,
        },
        evidence=(
            Check(
                ok=False,
                title=f"{refusal.what} of {refusal.scope_words}",
                details=(
                    ("limit", refusal.amount(refusal.cap)),
                    ("used or reserved", refusal.amount(refusal.used)),
                    ("this call may need", refusal.amount(refusal.need)),
                ),
            ),
        ),
        found=(refusal.data,),
        group=f"Limit reached: {refusal.what} of {refusal.scope_words}",
        priority=PRIORITY,
        deadline_seconds=min(DEADLINE_SECONDS, max(60.0, seconds_left)),
    )


def waiting_words(refusal: Refusal) -> str:
    """Of a run that goes on by itself."""
    return f"{refusal.says}. It goes on by itself, next look {moment_words(refusal.until)}."
