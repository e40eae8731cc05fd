"""Which limits apply at a place, what decides there, and why. Pure.

All limits that cover the place hold at once; none replaces another. Of each kind and window, among those of mode
*enforce*, the smallest value decides. Of several with that value the most specific one is named as the reason (run,
tool, agent, model, provider, workflow, team, organisation), of those the oldest. Limits of mode *warn* and *observe*
never decide; they are told apart.

So a narrow limit cannot loosen a wide one: with 20 turns a run for the organisation and 30 for workflow `refunds`, a
run of `refunds` has 20, because of the organisation's. With 12 for `refunds` it has 12, because of the workflow's;
with 20 as well it has 20, and the workflow's is named.

What is counted over many runs (a month's cost, requests a minute, calls at once) is counted for each limit over all
that its own scope covers: there `value` is the smallest cap and `holding` has every cap that has to be asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from runs.limits.kinds import PLACE, LimitKind, LimitScope, Mode, Window, says
from runs.limits.rows import Row, Where


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What holds of one kind and window at one place. Each tuple has its decisive row first."""

    kind: LimitKind
    window: Window
    holding: tuple[Row, ...]
    warning: tuple[Row, ...]
    observing: tuple[Row, ...]

    @property
    def why(self) -> Row | None:
        """The row that decides; None when nothing is enforced."""
        return self.holding[0] if self.holding else None

    @property
    def value(self) -> int | None:
        """The smallest enforced value; None when nothing is enforced."""
        return self.holding[0].value if self.holding else None

    @property
    def what(self) -> str:
        return says(self.kind, self.window)


def applies(limits: Iterable[Row], *, to: Where, at: datetime) -> dict[tuple[LimitKind, Window], Applied]:
    """Every kind and window that some limit covers at that place and time, in the table's order."""
    found: dict[tuple[LimitKind, Window], list[Row]] = {}
    for row in limits:
        if row.holds(at) and row.covers(to):
            found.setdefault((row.kind, row.window), []).append(row)
    return {what: _applied(*what, found[what]) for what in sorted(found, key=PLACE.__getitem__)}


def _applied(kind: LimitKind, window: Window, rows: list[Row]) -> Applied:
    rows.sort(key=lambda row: row.strictness)
    by_mode = {mode: tuple(row for row in rows if row.mode is mode) for mode in Mode}
    return Applied(
        kind=kind,
        window=window,
        holding=by_mode[Mode.ENFORCE],
        warning=by_mode[Mode.WARN],
        observing=by_mode[Mode.OBSERVE],
    )


class Book:
    """Limits found by what they are about: asking costs what covers the place, however many there are.

    Immutable once made; `edition` is the number of the last change that is in it.
    """

    __slots__ = ("_by_scope", "edition", "rows")

    def __init__(self, rows: Iterable[Row], *, edition: int = 0) -> None:
        self.rows = tuple(rows)
        self.edition = edition
        by_scope: dict[tuple[LimitScope, str], list[Row]] = {}
        for row in self.rows:
            by_scope.setdefault((row.scope_kind, row.scope), []).append(row)
        self._by_scope: Mapping[tuple[LimitScope, str], list[Row]] = by_scope

    def covering(self, to: Where) -> list[Row]:
        """Those that cover the place at any time."""
        keys = [(LimitScope.ORGANISATION, "")]
        keys += [(scope, to.name(scope)) for scope in LimitScope if scope is not LimitScope.ORGANISATION]
        near = (row for key in keys for row in self._by_scope.get(key, ()))
        return [row for row in near if row.covers(to)]

    def applies(self, *, to: Where, at: datetime) -> dict[tuple[LimitKind, Window], Applied]:
        """As `applies`, over this book."""
        return applies(self.covering(to), to=to, at=at)

    def caps(self, kind: LimitKind, window: Window, *, to: Where, at: datetime) -> tuple[Row, ...]:
        """Every enforced limit of that kind and window there, the widest scope first: the order to reserve in."""
        near = (row for row in self.covering(to) if (row.kind, row.window) == (kind, window))
        held = [row for row in near if row.mode is Mode.ENFORCE and row.holds(at)]
        return tuple(sorted(held, key=lambda row: (row.scope_kind.specific, row.value, row.id)))

    def bound(
        self, kind: LimitKind, window: Window, *, to: Where, at: datetime, fixed: Iterable[Row] = ()
    ) -> Row | None:
        """The enforced limit that decides there, those of the definition (`runs.limits.fixed`) among them."""
        rows = (*self.covering(to), *(row for row in fixed if row.covers(to)))
        same = (row for row in rows if (row.kind, row.window) == (kind, window))
        held = [row for row in same if row.mode is Mode.ENFORCE and row.holds(at)]
        return min(held, key=lambda row: row.strictness, default=None)
