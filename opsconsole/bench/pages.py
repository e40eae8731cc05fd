"""How long pages take over few and over many runs, fetched over HTTP by somebody who signed in, and their queries.

Runs, events and journal entries are copies of real ones. The queue of open escalations is as long at every size:
what differs is what lies behind it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from escalations.models import Escalation, EscalationState
from opsconsole.bench import copies, drive
from opsconsole.bench.browser import Browser, signed_in
from opsconsole.bench.figures import of_rounds, percentile
from opsconsole.bench.order import Order
from runs.models import Run

SMALL, LARGE, MILLION = 1_000, 100_000, 1_000_000
OPEN = 200
FETCHES = 30


def measure(order: Order) -> None:
    browser = signed_in(order.port, "reader")
    done, waiting = _templates()
    copies.copy_run(waiting, OPEN - 1)
    before: dict[str, float] = {}
    large = MILLION if order.million else order.n or LARGE
    for size in (SMALL, large):
        copies.copy_run(done, size - Run.objects.count())
        copies.tidy()
        paths = {
            "inbox": "/",
            "runs": "/runs/",
            "run": f"/runs/{Run.objects.order_by('pk')[size // 2].pk}",
            "interventions": "/interventions/",
            "escalation": f"/escalations/{Escalation.objects.filter(state='open').order_by('pk')[OPEN // 2].pk}",
            "workflows": "/workflows/",
            "controls": "/controls/",
        }
        before = _tell(order, browser, size, paths, before)


def _tell(
    order: Order, browser: Browser, size: int, paths: Mapping[str, str], before: Mapping[str, float]
) -> dict[str, float]:
    found: dict[str, float] = {}
    sizes = _sizes()
    for name, path in paths.items():
        browser.get(path)  # the first fills caches, as somebody has on any day
        rounds = [[_fetched_ms(browser, path) for _ in range(FETCHES)] for _ in range(order.rounds)]
        figures = of_rounds(
            f"pages-{name}-{size}",
            n=FETCHES,
            unit="ms",
            values=[percentile(took, 50) for took in rounds],
            samples_ms=rounds,
            detail={
                "queries": _queries(path),
                **({"times_the_small_one": round(_p50(rounds) / before[name], 2)} if name in before else {}),
                "open_escalations": OPEN,
                **sizes,
                **drive.machine(),
            },
        )
        order.tell(figures)
        found[name] = _p50(rounds)
    return found


def _p50(rounds: list[list[float]]) -> float:
    return percentile([took for round_ in rounds for took in round_], 50)


def _templates() -> tuple[int, int]:
    """A run that is done and one that waits for a person, made by the engine."""
    done = drive.start("bench_short", 0)
    drive.until_final([done.pk])
    waiting = drive.start("bench_pays", 1)
    asked = Escalation.objects.filter(run_id=waiting.pk, state=EscalationState.OPEN)
    drive.until(asked.exists, "the run asks")
    return done.pk, waiting.pk


def _sizes() -> dict[str, Any]:
    """Rows behind the pages, counted."""
    tables = {"runs": "runs_run", "steps": "runs_step", "events": "runs_event"}
    tables["journal"] = "escalations_journalentry"
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database()) / 1048576")
        row = cursor.fetchone()
    counts: dict[str, Any] = {name: drive.count(table) for name, table in tables.items()}
    return {**counts, "database_mb": int(row[0]) if row else None}


def _fetched_ms(browser: Browser, path: str) -> float:
    began = time.monotonic()
    browser.get(path)
    return (time.monotonic() - began) * 1000


def _queries(path: str) -> int:
    """Statements of one page, the session's and the person's included; counted in this process."""
    client = Client()
    client.force_login(User.objects.get(username="reader"))
    client.get(path, headers={"host": "localhost"})
    with CaptureQueriesContext(connection) as caught:
        client.get(path, headers={"host": "localhost"})
    return len(caught)
