"""What something reads in PostgreSQL, by its own counters, on whatever connections it uses. Measures no time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import connection

from runs.engine import lanes
from runs.engine.record import now
from tests.faults.fleet import until

_READ = """
    SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint,
        sum(heap_blks_hit + heap_blks_read + coalesce(idx_blks_hit + idx_blks_read, 0))::bigint
    FROM pg_stat_user_tables JOIN pg_statio_user_tables USING (relid)
"""
_OLDER = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'
        AND backend_start < %s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """Rows of the console's tables, and blocks of 8 kB of them and their indexes."""

    rows: int
    blocks: int


def of(act: Callable[[], object]) -> Reads:
    """What this act reads. Its connections are closed before and after: a server process tells what it has counted
    when it ends."""
    before = _so_far()
    act()
    after = _so_far()
    return Reads(rows=after.rows - before.rows, blocks=after.blocks - before.blocks)


def hang_up() -> None:
    """End this process's connections: what comes next has new ones."""
    lanes.close()
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's has one


def _so_far() -> Reads:
    moment = now()
    hang_up()
    until(lambda: _value(_OLDER, moment) == 0, "the connections that were used are closed")
    with connection.cursor() as cursor:
        cursor.execute(_READ)
        rows, blocks = cursor.fetchone()
    return Reads(rows=rows, blocks=blocks)


def _value(sql: str, *values: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return int(cursor.fetchone()[0])
