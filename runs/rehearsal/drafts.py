"""A draft of a limit, and what is compared: what held then, and the same with the draft in it all the time. Pure.

Only limits of the draft's own kind and window are compared: another kind that would have stopped a run did not, for
its record goes on, by a person's leave or because nobody asked it then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from runs.canonical import digest as digest_of
from runs.limits.fixed import ALWAYS
from runs.limits.kinds import LimitKind, Mode, Window, key, says
from runs.limits.rows import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A limit on one side of the comparison, or on both. `own`: the draft's own row, or one that it replaces."""

    row: Row
    before: bool
    after: bool
    own: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """`new` in the place of a limit's rows `old`, beside others; None: that limit is ended. `line` 0: it is new.

    `seen` is the version of the limit that it changes.
    """

    kind: LimitKind
    window: Window
    new: Row | None
    old: tuple[Row, ...] = ()
    beside: tuple[Row, ...] = ()
    line: int = 0
    seen: str = ""

    @property
    def held(self) -> tuple[Held, ...]:
        """Every limit of that kind and window with the sides that it stands on. The draft holds all the time."""
        rows = [Held(row=row, before=True, after=True) for row in self.beside]
        rows += [Held(row=row, before=True, after=False, own=True) for row in self.old]
        if self.new is not None:
            always = replace(self.new, since=ALWAYS, until=None)
            rows.append(Held(row=always, before=False, after=True, own=True))
        return tuple(rows)

    @property
    def what(self) -> str:
        return says(self.kind, self.window)

    @property
    def terms(self) -> dict[str, str | int | None]:
        """What makes it exactly this draft. Its times are no part of it: it is tried over all history."""
        row = self.new or self.old[0]
        return {
            "line": self.line,
            "what": key(self.kind, self.window),
            "scope_kind": row.scope_kind.value,
            "scope": row.scope,
            "value": None if self.new is None else self.new.value,
            "mode": None if self.new is None else self.new.mode.value,
            "in place of": self.seen,
        }

    @property
    def digest(self) -> str:
        made: str = digest_of(self.terms)
        return made

    @property
    def says(self) -> str:
        """The draft in one clause."""
        row = self.new or self.old[0]
        whom = f"{self.what} of {row.scope_words}"
        if self.new is None:
            return f"{whom}: no limit any more"
        return f"{whom}: {self.new.amount}, {self.new.mode.value}"

    @property
    def enforces(self) -> bool:
        return self.new is not None and self.new.mode is Mode.ENFORCE


def draft(
    new: Row | None,
    *,
    old: Sequence[Row] = (),
    known: Iterable[Row] = (),
    line: int = 0,
    seen: str = "",
) -> Draft:
    """`new` in the place of `old`, the rows that one limit ever had; `known` are all rows of all limits there were.

    Raises ValueError when there is neither.
    """
    first = new or (old[0] if old else None)
    if first is None:
        raise ValueError("There is no limit to end.")
    ours = {row.id for row in old}
    what = (first.kind, first.window)
    same = tuple(row for row in known if (row.kind, row.window) == what and row.id not in ours)
    return Draft(
        kind=first.kind, window=first.window, new=new, old=tuple(old), beside=same, line=line, seen=seen
    )
