"""How long a worker process has said nothing in the database. Reads one table of the engine's."""

import psycopg

LIMIT_SECONDS = 30.0
# A new process may load for a while before its first word.
GRACE_SECONDS = 45.0

_SILENT_FOR = """
    SELECT extract(epoch FROM now() - max(seen_at)) FROM runs_worker
    WHERE kind = 'agents' AND pid = %s AND gone_at IS NULL
"""


def seconds(database_url: str, pid: int) -> float | None:
    """Seconds since the process was last seen; None if it never was or the database does not say."""
    try:
        with psycopg.connect(database_url, connect_timeout=2, autocommit=True) as conn:
            row = conn.execute(_SILENT_FOR, (pid,)).fetchone()
    except psycopg.Error:
        return None
    return float(row[0]) if row and row[0] is not None else None
