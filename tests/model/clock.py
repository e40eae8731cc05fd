"""The model's own clock in place of PostgreSQL's. It stands still while the machine is slow, stopped or busy: every
look at it is a microsecond later than the one before, whoever looks, and time passes when `passes` says so.

The functions that the engine asks for the time are found in another schema first (`search_path`), and what columns
are given by themselves is asked there, too. The clock is a sequence: no transaction takes it back. Python's clocks are
left as they are; those that decide something in the engine are replaced where the machine begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from runs.engine import lanes

_BEGIN = """
    CREATE SCHEMA model;
    CREATE SEQUENCE model.clock;
    SELECT setval('model.clock', (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint);
    CREATE FUNCTION model.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
        RETURN 'epoch'::timestamptz + nextval('model.clock') * interval '1 microsecond';
    CREATE FUNCTION model.statement_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
        RETURN 'epoch'::timestamptz + nextval('model.clock') * interval '1 microsecond';
"""
_DEFAULTS = """
    DO $$ DECLARE wanted record; BEGIN
        FOR wanted IN
            SELECT rel.oid::regclass AS name, att.attname FROM pg_attrdef def
            JOIN pg_class rel ON rel.oid = def.adrelid
            JOIN pg_attribute att ON att.attrelid = rel.oid AND att.attnum = def.adnum
            WHERE pg_get_expr(def.adbin, def.adrelid) ~* '^(model\\.|pg_catalog\\.)?statement_timestamp\\(\\)$'
        LOOP
            EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT {schema}.statement_timestamp()',
                           wanted.name, wanted.attname);
        END LOOP;
    END $$
"""
_PATH = '-c search_path="$user",public,model,pg_catalog'
# Who is stopped for minutes in a transaction is no lost worker here.
_PATIENT = "-c idle_in_transaction_session_timeout=0"


@contextmanager
def standing() -> Iterator[None]:
    """While inside, every connection of this process has the model's clock."""
    options = connection.settings_dict["OPTIONS"]
    usual = options["options"]
    _execute(_BEGIN)
    _execute(_DEFAULTS.format(schema="model"))
    options["options"] = f"{usual} {_PATIENT} {_PATH}"
    _reconnect()
    try:
        yield
    finally:
        options["options"] = usual
        _reconnect()
        _execute(_DEFAULTS.format(schema="pg_catalog"))
        _execute("DROP SCHEMA model CASCADE")


def passes(seconds: float) -> None:
    """Let time pass."""
    _execute(f"SELECT setval('model.clock', nextval('model.clock') + {round(seconds * 1_000_000)})")


def _reconnect() -> None:
    lanes.close()
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]  # of PostgreSQL alone


def _execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)
