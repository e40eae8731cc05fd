"""How the database is emptied after a test that has committed: what a few rows were written to is deleted from.

Truncating every table takes twenty times as long, and most tests leave a few rows in a few tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections
from django.db.backends.postgresql.operations import DatabaseOperations

_KEPT = ("django_content_type", "auth_permission")
_MUCH = 262_144  # bytes; a table that has become larger is truncated, and small again
_WRITTEN = """
    SELECT relname, pg_relation_size(oid) FROM pg_class
    WHERE relname = ANY(%s) AND relkind = 'r' AND relnamespace = current_schema()::regnamespace
        AND pg_relation_size(oid) > 0
"""


def statements(self: DatabaseOperations, style: Any, tables: Sequence[str], **options: bool) -> list[str]:
    """In place of Django's: the SQL that empties these tables, past triggers and foreign keys."""
    assert not options.get("reset_sequences"), "numbers go on from test to test"
    with connections[self.connection.alias].cursor() as cursor:
        cursor.execute(_WRITTEN, [sorted(set(tables) - set(_KEPT))])
        written = cursor.fetchall()
    if not written:
        return []
    # For this one transaction on this one connection; who still writes is waited for, as TRUNCATE does.
    every = ", ".join(self.quote_name(name) for name, _ in written)
    told = ["SET LOCAL session_replication_role = replica", f"LOCK TABLE {every} IN EXCLUSIVE MODE"]
    told += [f"DELETE FROM {self.quote_name(name)}" for name, size in written if size <= _MUCH]
    if much := ", ".join(self.quote_name(name) for name, size in written if size > _MUCH):
        told.append(f"TRUNCATE {much} CASCADE")
    return told
