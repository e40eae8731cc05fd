"""Several who hear of the same run at once, and one who waits at the gate while a stop is engaged."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from django.db import connection, transaction

from runs.engine import gate, holds
from runs.engine.claim import claim
from runs.engine.claimed import Claimed
from runs.models import Run


def heard_by_eight(run: Run) -> list[tuple[Claimed, ...]]:
    """What the workers claimed that heard of the run in the same moment: the claims of those who got any."""
    claims: list[Any] = []
    barrier = threading.Barrier(8)

    def hear(name: str) -> None:
        barrier.wait()
        claims.append(claim(run.pk, worker=name))
        connection.close()

    threads = [threading.Thread(target=hear, args=(f"w{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claims) == 8
    return [one for one in claims if isinstance(one, tuple)]


def met_a_stop(act: Callable[[], object]) -> object:
    """What came of an act that waited at the gate while somebody stopped everything."""
    found: list[object] = []

    def go() -> None:
        found.append(act())
        connection.close()

    thread = threading.Thread(target=go)
    with transaction.atomic():
        gate.exclusive()
        thread.start()
        while not _somebody_waits():
            assert thread.is_alive()
        holds.engage("stop", "everything", by="Ines")
    thread.join()
    (only,) = found
    return only


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted",
            [gate.GATE],
        )
        row = cursor.fetchone()
    return bool(row and row[0])
