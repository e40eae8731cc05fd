"""Counting that stops: many counts in one statement, each of them at most so high. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import QuerySet

MOST = 1000  # pages say "999+" from here on: beyond it the exact number costs more than it says


def up_to(most: int = MOST, /, **counted: QuerySet[Any]) -> dict[str, int]:
    """How many rows each query has, at most `most`. One query, whose cost does not grow with the tables as long
    as each of them has an index to walk along."""
    asked = {name: sql for name, rows in counted.items() if (sql := _limited(rows, most))}
    found = dict.fromkeys(counted, 0)
    if not asked:
        return found
    columns = ", ".join(f"(SELECT count(*) FROM ({sql}) AS counted)" for sql, _ in asked.values())
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns}", [value for _, values in asked.values() for value in values])
        row = cursor.fetchone()
    assert row is not None
    return found | dict(zip(asked, row, strict=True))


def limited(counts: Mapping[str, int], most: int = MOST) -> int:
    """The sum of such counts, which says no more than they do."""
    return min(most, sum(counts.values()))


def _limited(rows: QuerySet[Any], most: int) -> tuple[str, tuple[Any, ...]] | None:
    """The statement of a query cut at `most` rows; None when it can have none."""
    try:
        return rows.order_by().values("pk")[:most].query.sql_with_params()
    except EmptyResultSet:
        return None
