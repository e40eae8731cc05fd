"""Which limits apply at a place, what decides there, and why. Pure.

All limits that cover the place hold at once; none replaces another. Of each kind and window, among those of mode
*enforce*, the smallest value decides. Of several with that value the most specific one is named as the reason (run,
tool, agent, model, provider, workflow, team, organisation), of those the oldest. Limits of mode *warn* and *observe*
never decide; they are told apart.

So a narrow limit cannot loosen a wide one: with 20 turns a run for the organisation and 30 for workflow `refunds`, a
run of `refunds` has 20, because of the organisation's. With 12 for `refunds` it has 12, because of the workflow's;
with 20 as well it has 20, and the workflow's is named.

What is built into a guard (`Row.built_in`) is enforced like the rest, unless a row of people that covers the place
warns or observes: then that replaces it, and only what people enforce decides.

What is counted over many runs (a month's cost, requests a minute, calls at once) is counted for each limit over all
that its own scope covers: there `value` is the smallest cap and `holding` has every cap that has to be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from runs.limits.kinds import PLACE, LimitKind, LimitScope, Mode, Window, says
from runs.limits.rows import Row, Where

What = tuple[LimitKind, Window]
Kept = TypeVar("Kept")
MOST_KNOWN = 2_000  # places that a book remembers
_LONG_AGO, _FAR_AWAY = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


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


def applies(limits: Iterable[Row], *, to: Where, at: datetime) -> dict[What, Applied]:
    """Every kind and window that some limit covers at that place and time, in the table's order."""
    found: dict[What, list[Row]] = {}
    for row in limits:
        if row.holds(at) and row.covers(to):
            found.setdefault((row.kind, row.window), []).append(row)
    return {what: _applied(*what, found[what]) for what in sorted(found, key=PLACE.__getitem__)}


def _applied(kind: LimitKind, window: Window, rows: list[Row]) -> Applied:
    rows = sorted(standing(rows), key=lambda row: row.strictness)
    by_mode = {mode: tuple(row for row in rows if row.mode is mode) for mode in Mode}
    return Applied(
        kind=kind,
        window=window,
        holding=by_mode[Mode.ENFORCE],
        warning=by_mode[Mode.WARN],
        observing=by_mode[Mode.OBSERVE],
    )


def standing(rows: Iterable[Row]) -> list[Row]:
    """Rows of one kind and window at one place, without what is built in where people would rather be told."""
    found = list(rows)
    if all(row.built_in or row.mode is Mode.ENFORCE for row in found):
        return found
    return [row for row in found if not row.built_in]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What a book has found of places, while no limit begins or ends: the `fixed` it was asked with, and the rows."""

    since: datetime
    until: datetime
    found: dict[Any, tuple[Iterable[Row], tuple[Row, ...]]] = field(default_factory=dict)
    kept: dict[Any, Any] = field(default_factory=dict)


class Book:
    """Limits found by what they are about: asking costs what covers the place, however many there are.

    Immutable once made; `edition` is the number of the last change that is in it, `told` what some limit of it only
    warns of or observes.
    """

    __slots__ = ("_by_what", "_known", "_of_runs", "edition", "rows", "told")

    def __init__(self, rows: Iterable[Row], *, edition: int = 0) -> None:
        self.rows = tuple(rows)
        self.edition = edition
        self.told = frozenset((row.kind, row.window) for row in self.rows if row.mode is not Mode.ENFORCE)
        # By kind and window, then by scope: the widest first, as caps are asked.
        self._by_what: dict[What, dict[LimitScope, dict[str, list[Row]]]] = {}
        for row in sorted(self.rows, key=lambda row: (row.scope_kind.specific, row.value, row.id)):
            scopes = self._by_what.setdefault((row.kind, row.window), {})
            scopes.setdefault(row.scope_kind, {}).setdefault(row.scope, []).append(row)
        self._of_runs = any(row.scope_kind is LimitScope.RUN for row in self.rows)
        self._known = _Known(since=_LONG_AGO, until=_LONG_AGO)

    def kept(self, what: Hashable, at: datetime, found: Callable[[], Kept]) -> Kept:
        """What somebody has found by these limits, as long as none of them begins or ends; asked for once. `what`
        names the finder and everything but the limits that it goes by."""
        known = self._remembered(at).kept
        if what not in known:
            known[what] = found()
        kept: Kept = known[what]
        return kept

    def _remembered(self, at: datetime) -> _Known:
        known = self._known
        if not known.since <= at < known.until or len(known.found) + len(known.kept) > MOST_KNOWN:
            moments = [one for row in self.rows for one in (row.since, row.until) if one is not None]
            since = max((one for one in moments if one <= at), default=_LONG_AGO)
            until = min((one for one in moments if one > at), default=_FAR_AWAY)
            self._known = known = _Known(since=since, until=until)
        return known

    def covering(self, to: Where) -> list[Row]:
        """Those that cover the place at any time."""
        return [row for what in self._by_what for row in self._near(what, to)]

    def _near(self, what: What, to: Where) -> list[Row]:
        """Those of that kind and window that cover the place at any time, the widest first."""
        found: list[Row] = []
        for scope_kind, names in self._by_what.get(what, {}).items():
            name = "" if scope_kind is LimitScope.ORGANISATION else to.name(scope_kind)
            rows = names.get(name) if name or scope_kind is LimitScope.ORGANISATION else None
            if rows:
                found += [row for row in rows if not row.within or row.within == to.workflow]
        return found

    def applies(self, *, to: Where, at: datetime) -> dict[What, Applied]:
        """As `applies`, over this book."""
        return applies(self.covering(to), to=to, at=at)

    def caps(self, kind: LimitKind, window: Window, *, to: Where, at: datetime) -> tuple[Row, ...]:
        """Every enforced limit of that kind and window there, the widest scope first: the order to reserve in."""
        return tuple(
            row for row in self._near((kind, window), to) if row.mode is Mode.ENFORCE and row.holds(at)
        )

    def bound(
        self, kind: LimitKind, window: Window, *, to: Where, at: datetime, fixed: Iterable[Row] = ()
    ) -> Row | None:
        """The enforced limit that decides there, those of the definition (`runs.limits.fixed`) among them."""
        rows = standing(self._holding(kind, window, to, at, fixed))
        held = [row for row in rows if row.mode is Mode.ENFORCE]
        return min(held, key=lambda row: row.strictness, default=None)

    def strictest(
        self, kind: LimitKind, window: Window, *, to: Where, at: datetime, fixed: Iterable[Row] = ()
    ) -> tuple[Row, ...]:
        """The strictest row of each mode there, what enforces first; `fixed` as in `bound`. For guards that tell of
        what is only warned of or observed too."""
        known = self._remembered(at).found
        key = (kind, window, self.whose(to), id(fixed))
        found = known.get(key)
        if found is None or found[0] is not fixed:
            known[key] = found = (fixed, self._strictest(kind, window, to=to, at=at, fixed=fixed))
        return found[1]

    def whose(self, to: Where) -> tuple[str | int | None, ...]:
        """A place by what these limits tell apart: by the run only when one of them is of a run."""
        return to.team, to.workflow, to.agent, to.tool, to.model, to.run if self._of_runs else None

    def _strictest(
        self, kind: LimitKind, window: Window, *, to: Where, at: datetime, fixed: Iterable[Row]
    ) -> tuple[Row, ...]:
        rows = standing(self._holding(kind, window, to, at, fixed))
        found: dict[Mode, Row] = {}
        for row in sorted(rows, key=lambda row: row.strictness):
            found.setdefault(row.mode, row)
        return tuple(found[mode] for mode in reversed(Mode) if mode in found)

    def _holding(
        self, kind: LimitKind, window: Window, to: Where, at: datetime, fixed: Iterable[Row]
    ) -> list[Row]:
        what = (kind, window)
        bounds = (row for row in fixed if (row.kind, row.window) == what and row.covers(to))
        return [row for row in (*self._near(what, to), *bounds) if row.holds(at)]
