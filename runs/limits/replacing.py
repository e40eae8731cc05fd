"""A change as new rows over old ones: rows are never edited, only ended earlier. Pure.

A limit's rows follow each other in time: the one that holds now, perhaps others that are planned. A change lays a new
row over them for its time; before and after it everything stays as it was planned, unless nothing shall.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from runs.limits.rows import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """`kept`: rows that stay, perhaps with an earlier end, by number; `ended`: numbers of rows that end at once (those
    that have not begun never hold); `made`: new rows in order of time."""

    kept: tuple[Row, ...]
    ended: tuple[int, ...]
    made: tuple[Row, ...]

    @property
    def after(self) -> tuple[Row, ...]:
        """Everything that holds from now on, in order of time."""
        return tuple(sorted((*self.kept, *self.made), key=lambda row: row.since))


def replaced(rows: Sequence[Row], new: Row | None, *, at: datetime, then_as_before: bool = True) -> Replaced:
    """Lay `new` over `rows` from `at` on; None ends them all. `new` begins at `at` or later.

    `then_as_before`: where `new` ends, what was planned for that time goes on; otherwise nothing does.
    """
    pieces = [] if new is None else [*_before(rows, new, at), new]
    if new is not None and new.until is not None and then_as_before:
        pieces += [_from(row, new.until) for row in rows if row.until is None or row.until > new.until]
    by_id = {row.id: row for row in rows}
    kept, made = [], []
    for piece in sorted(pieces, key=lambda row: row.since):
        old = by_id.get(piece.id) if piece is not new else None
        # The same row, as long as it begins where it began: only its end may be nearer.
        if old is not None and old.since == piece.since:
            kept.append(piece)
            del by_id[piece.id]
        else:
            made.append(replace(piece, id=0))
    return Replaced(kept=tuple(kept), ended=tuple(by_id), made=tuple(made))


def _before(rows: Iterable[Row], new: Row, at: datetime) -> list[Row]:
    """What holds until the new row begins."""
    early = (row for row in rows if row.since < new.since and new.since > at)
    return [row if row.until and row.until <= new.since else replace(row, until=new.since) for row in early]


def _from(row: Row, moment: datetime) -> Row:
    return row if row.since >= moment else replace(row, since=moment)
