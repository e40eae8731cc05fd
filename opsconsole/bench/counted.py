"""What PostgreSQL has read for something, by its own counters. Measures no time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from django.db import connection

IDLE_SECONDS = 11.0  # a server process that has nothing to do tells what it has counted after ten

_SO_FAR = """
    SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint,
        sum(heap_blks_hit + heap_blks_read + coalesce(idx_blks_hit + idx_blks_read, 0))::bigint
    FROM pg_stat_user_tables JOIN pg_statio_user_tables USING (relid)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """Rows of the console's tables, and blocks of 8 kB of them and their indexes."""

    rows: int
    blocks: int


def reads(act: Callable[[], object]) -> Reads:
    """What all processes of the console read from here until some seconds after this act."""
    before = _so_far()
    act()
    after = _so_far()
    return Reads(rows=after.rows - before.rows, blocks=after.blocks - before.blocks)


def _so_far() -> Reads:
    time.sleep(IDLE_SECONDS)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute(_SO_FAR)
        rows, blocks = cursor.fetchone()
    return Reads(rows=rows, blocks=blocks)
