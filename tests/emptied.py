"""How the database is emptied after a test that has committed: what a few rows were written to is deleted from.

Truncating every table takes twenty times as long, and most tests leave a few rows in a few tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from django.db import OperationalError, connection, connections
from django.db.backends.postgresql.operations import DatabaseOperations
from psycopg.errors import DeadlockDetected

_KEPT = ("django_content_type", "auth_permission")
_TRIES = 3
_MUCH = 262_144  # bytes; a table that has become larger is truncated, and small again
# In one statement, so in one transaction: past triggers and foreign keys. Who still writes is waited for, as TRUNCATE
# does. One way to the server instead of one for every table.
_EMPTY = """
    DO $do$
    DECLARE
        written text[] := ARRAY(
            SELECT quote_ident(relname) FROM pg_class
            WHERE relname = ANY(%s) AND relkind = 'r' AND relnamespace = current_schema()::regnamespace
                AND pg_relation_size(oid) > 0
        );
        one text;
        much text[] := '{}';
    BEGIN
        IF written = '{}' THEN RETURN; END IF;
        PERFORM set_config('session_replication_role', 'replica', true);
        EXECUTE 'LOCK TABLE ' || array_to_string(written, ', ') || ' IN EXCLUSIVE MODE';
        FOREACH one IN ARRAY written LOOP
            IF pg_relation_size(one::regclass) > %d THEN
                much := much || one;
            ELSE
                EXECUTE 'DELETE FROM ' || one;
            END IF;
        END LOOP;
        IF much <> '{}' THEN EXECUTE 'TRUNCATE ' || array_to_string(much, ', ') || ' CASCADE'; END IF;
    END $do$
"""


def statements(self: DatabaseOperations, style: Any, tables: Sequence[str], **options: bool) -> list[str]:
    """In place of Django's: the SQL that empties these tables, past triggers and foreign keys."""
    assert not options.get("reset_sequences"), "numbers go on from test to test"
    return [_emptying(tuple(sorted(set(tables))))]


def after_test(self: Any) -> None:
    """In place of what Django does after a test that has committed, without its command and what that looks up."""
    assert not self.serialized_rollback, "what the migrations wrote does not come back"
    assert self.available_apps is None
    for alias in self._databases_names(include_mirrors=False):
        _empty(connections[alias])


def _empty(connection: Any) -> None:
    """Somebody whom a test has left may write to one table and then to another that is locked here: PostgreSQL ends one
    of the two after a second, and here it is tried again."""
    for left in reversed(range(_TRIES)):
        try:
            with connection.cursor() as cursor:
                cursor.execute(_emptying(_tables()))
            return
        except OperationalError as error:
            if not left or not isinstance(error.__cause__, DeadlockDetected):
                raise


@cache
def _tables() -> tuple[str, ...]:
    return tuple(sorted(connection.introspection.django_table_names(include_views=False)))


@cache
def _emptying(tables: tuple[str, ...]) -> str:
    names = ", ".join(f"'{name}'" for name in tables if name not in _KEPT)
    return _EMPTY % (f"ARRAY[{names}]::text[]", _MUCH)
