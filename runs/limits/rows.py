"""One limit as a value, and a place that limits may cover. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from runs.limits.kinds import TABLE, LimitKind, LimitScope, Mode, Window, says
from runs.limits.units import shown
from runs.moments import in_full

NO_END = "no end"
BUILT_IN = "the guards"  # the origin of what holds where nobody has set anything


def moment_words(moment: datetime | None) -> str:
    """A moment to the second in UTC, as sentences about limits say it; None is without end."""
    return in_full(moment) if moment else NO_END


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A place: whatever of it is known. A run's call has all of it; a form that asks has some."""

    team: str = ""
    workflow: str = ""
    agent: str = ""
    tool: str = ""
    model: str = ""
    run: int | None = None

    @property
    def provider(self) -> str:
        """What stands before the first slash of the model's name."""
        name, slash, _ = self.model.partition("/")
        return name if slash else ""

    def name(self, scope: LimitScope) -> str:
        """What this place is called at that scope; empty when it is not known there."""
        if scope is LimitScope.RUN:
            return "" if self.run is None else str(self.run)
        named: str = getattr(self, scope.value)
        return named


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A limit: it holds from `since` (included) to `until` (excluded; None: without end).

    `id` is the row's number, 0 for one that is not kept. `origin` says where a row stands that nobody can change here:
    in a definition or in the settings. `within`: the only workflow in which such a row counts.
    """

    kind: LimitKind
    window: Window
    scope_kind: LimitScope
    scope: str
    value: int
    mode: Mode
    since: datetime
    until: datetime | None = None
    id: int = 0
    origin: str = ""
    within: str = ""

    def holds(self, at: datetime) -> bool:
        return self.since <= at and (self.until is None or at < self.until)

    def covers(self, where: Where) -> bool:
        """Whether it binds that place. What is not known of a place, no limit of that scope binds."""
        if self.within and where.workflow != self.within:
            return False
        if self.scope_kind is LimitScope.ORGANISATION:
            return True
        return bool(self.scope) and where.name(self.scope_kind) == self.scope

    @property
    def built_in(self) -> bool:
        """Whether it only holds until people say that they would rather be told."""
        return self.origin == BUILT_IN

    @property
    def what(self) -> str:
        return says(self.kind, self.window)

    @property
    def scope_words(self) -> str:
        if self.scope_kind is LimitScope.ORGANISATION:
            return "the organisation"
        return f"{self.scope_kind.value} {self.scope}" + (f" in {self.within}" if self.within else "")

    @property
    def amount(self) -> str:
        """The value as people read it."""
        return shown(TABLE[self.kind].unit, self.value)

    @property
    def strictness(self) -> tuple[int, int, int]:
        """The least is named first: strict, then specific, then old."""
        return (self.value, -self.scope_kind.specific, self.id)
