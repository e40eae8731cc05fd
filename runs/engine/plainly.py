"""What the straight ways share: the rows that their statements read, and statements that do all of it or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import DatabaseError

from runs.engine import lanes
from runs.engine.rows import Rows
from runs.models import Attempt, Run, Step

NOT_PLAIN = "OC001"  # raised by the functions of the straight way: what was read has changed
RUN = Rows(Run)
# What an attempt is performed with. The other columns are fetched when somebody asks for them.
STEP = Rows(Step, "id", "run_id", "seq", "node", "state", "input_id", "fence")
ATTEMPT = Rows(
    Attempt, "id", "step_id", "number", "agent", "by", "state", "fence", "worker", "note", "history_id"
)


def done(sql: str, values: Sequence[Any], *, before_commit: str = "") -> tuple[Any, ...] | None:
    """As `lanes.row`; None also when the function has found that something is not plain, and has done nothing."""
    try:
        return lanes.row(sql, values, before_commit=before_commit)
    except DatabaseError as error:
        if getattr(error.__cause__, "sqlstate", "") != NOT_PLAIN:
            raise
        return None
