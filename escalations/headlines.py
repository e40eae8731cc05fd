"""What stands on every page: how many wait, what is held, how long the journal is. One query; reads only."""

from __future__ import annotations

from dataclasses import dataclass

from runs.models import Control
from runs.shown.counted import MOST

_NOW = """
SELECT control.*,
    (SELECT count(*) FROM (
        SELECT FROM escalations_escalation WHERE state = 'open' LIMIT %(most)s
    ) AS counted) AS waiting,
    (SELECT coalesce(max(seq), 0) FROM escalations_journalentry) AS head
FROM (SELECT) AS one LEFT JOIN runs_control AS control ON control.released_at IS NULL
ORDER BY control.id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Headlines:
    """Open escalations counted to counted.MOST, engaged controls oldest first, the journal's newest number."""

    waiting: int
    head: int
    controls: tuple[Control, ...]


def now() -> Headlines:
    """There is always a row: without a control one whose control is empty."""
    rows = list(Control.objects.raw(_NOW, {"most": MOST}))
    return Headlines(
        waiting=rows[0].waiting,  # type: ignore[attr-defined]
        head=rows[0].head,  # type: ignore[attr-defined]
        controls=tuple(row for row in rows if row.pk is not None),
    )
