"""Rows by the thousand out of what the engine made, and what looking at them costs. Measures no time."""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from psycopg.conninfo import make_conninfo

from opsconsole.bench import copies
from runs.models import Run

_TO_DSN = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
_BLOCKS = re.compile(r"Buffers: shared(?: hit=(\d+))?(?: read=(\d+))?")


def copied(run: Run, count: int) -> None:
    """So many more runs like that one, with all that belongs to it; then what autovacuum would have done."""
    copies.copy_run(run.pk, count, url=_url())
    tidied()


def tidied() -> None:
    """What autovacuum would have done by now."""
    copies.tidy(url=_url())


def _url() -> str:
    """The test's own database."""
    known = connection.settings_dict
    return make_conninfo("", **{name: str(known[key]) for key, name in _TO_DSN.items() if known[key]})


def lengthened(run: Run, steps: int) -> None:
    """So many more steps of that run, each like its last one: done, with an attempt and three events."""
    copies.lengthen(run.pk, steps, url=_url())
    run.refresh_from_db()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one look at a page asked of the database: statements, and blocks of 8 kB that they touched."""

    queries: int
    blocks: int
    size: int
    statements: tuple[str, ...]


def cost(client: Client, where: str) -> Cost:
    """Fetch the page, then have every statement of it explained as it runs."""
    client.get(where)
    with CaptureQueriesContext(connection) as caught:
        response = client.get(where)
    assert response.status_code == 200, (where, response.status_code)
    blocks = {query["sql"]: _blocks(query["sql"]) for query in caught}
    heaviest = sorted(blocks, key=lambda sql: -blocks[sql])[:2]
    return Cost(
        queries=len(caught),
        blocks=sum(blocks[query["sql"]] for query in caught),
        size=len(response.content),
        statements=tuple(f"{blocks[sql]} blocks: {sql[:300]}" for sql in heaviest),
    )


def _blocks(sql: str) -> int:
    if not sql.lstrip().upper().startswith(("SELECT", "WITH")):
        return 0
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) " + sql)
        plan = [line for (line,) in cursor.fetchall()]
    found = _BLOCKS.search("\n".join(plan))  # the first line of the plan counts all below it
    return sum(int(number or 0) for number in found.groups()) if found else 0
