"""A budget as people read it: what is certain, reserved, uncertain, left. A value: no database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from runs.limits.kinds import TABLE, LimitKind, LimitScope, Window, says
from runs.limits.rows import Row
from runs.limits.units import about, shown
from runs.shown.binding import near


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A sum within one period, as it stands: certain, reserved for calls under way, uncertain, and held in advance by
    runs. `row`: the limit that is counted here, None when none is. `account` None: nothing was counted yet."""

    kind: LimitKind
    window: Window
    scope_kind: LimitScope
    scope: str
    row: Row | None
    account: int | None = None
    begins: datetime | None = None
    spent: int = 0
    reserved: int = 0
    ahead: int = 0
    uncertain: int = 0
    more: int = 0
    breach: datetime | None = None
    waiting: int = 0

    @property
    def what(self) -> str:
        return says(self.kind, self.window)

    @property
    def scope_words(self) -> str:
        return "the organisation" if self.scope_kind is LimitScope.ORGANISATION else self.scope

    @property
    def cap(self) -> int | None:
        return None if self.row is None else self.row.value + self.more

    @property
    def used(self) -> int:
        """Everything that cannot be spent again, whether it is certain or only reserved."""
        return self.spent + self.reserved

    @property
    def left(self) -> int | None:
        return None if self.cap is None else max(0, self.cap - self.used)

    @property
    def over(self) -> bool:
        return self.cap is not None and self.used > self.cap

    @property
    def up(self) -> bool:
        """Whether nothing is left."""
        return self.cap is not None and self.used >= self.cap

    @property
    def low(self) -> int:
        """From where on the bar says care."""
        return (self.cap or 0) * near() // 100

    @property
    def top(self) -> int:
        return max(self.cap or 0, self.used, 1)

    def words(self, amount: int | None) -> str:
        return "" if amount is None else shown(TABLE[self.kind].unit, amount)

    @property
    def told(self) -> Mapping[str, str]:
        """Every amount as people read it: what was set exactly, what was used to the digits that matter."""
        unit = TABLE[self.kind].unit
        under_way = self.reserved - self.uncertain
        amounts = {
            "spent": self.spent,
            "reserved": max(0, under_way),
            "ahead": self.ahead,
            "uncertain": self.uncertain,
            "left": self.left,
            "used": self.used,
        }
        used = {name: "" if amount is None else about(unit, amount) for name, amount in amounts.items()}
        return {**used, "cap": self.words(self.cap), "more": self.words(self.more)}
