"""How long pages take over few and over many runs, fetched over HTTP by somebody who signed in, and their queries.

Runs, events and journal entries are copies of real ones. The queue of open escalations is as long at every size:
what differs is what lies behind it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from escalations.models import Escalation, EscalationState
from opsconsole.bench import copies, drive
from opsconsole.bench.browser import Browser, signed_in
from opsconsole.bench.figures import Figures, of_parts, of_rounds, percentile
from opsconsole.bench.order import Order
from runs.models import Run, Step

SMALL, MILLION = 1_000, 1_000_000
OPEN = 200
FETCHES = 30
STEPS, WIDE = 10_000, 50  # of the long run; plans in the nested one, and tasks of each
TRIED, TRIED_OPEN = 1, 20  # of a trial, when the larger size is not above the small one


def measure(order: Order) -> None:
    browser = signed_in(order.port, "reader")
    done, waiting = _templates()
    _tell_large(order, browser, _large(order))
    before: dict[str, float] = {}
    large = order.n or MILLION
    small = SMALL if large > SMALL else large // 2
    waits = OPEN if large > SMALL else TRIED_OPEN
    copies.copy_run(waiting, waits - 1)
    for size in (small, large):
        copies.copy_run(done, size - Run.objects.count())
        copies.tidy()
        paths = {
            "inbox": "/",
            "runs": "/runs/",
            "run": f"/runs/{Run.objects.order_by('pk')[size // 2].pk}",
            "interventions": "/interventions/",
            "escalation": f"/escalations/{Escalation.objects.filter(state='open').order_by('pk')[waits // 2].pk}",
            "workflows": "/workflows/",
            "controls": "/controls/",
        }
        before = _tell(order, browser, size, waits, paths, before)
    parts = order.told()
    order.tell(of_parts("pages", parts, _slowest(parts[-len(paths) :])))


def _large(order: Order) -> dict[str, str]:
    """A run of very many steps with five thousand of its events on one page, and a plan of plans: their pages."""
    long, nest = drive.start("bench_short", 0), drive.start("bench_nest", 4 if order.n else WIDE)
    drive.until_final([long.pk, nest.pk], seconds=1500.0)
    copies.lengthen(long.pk, order.n or STEPS)
    return {
        "steps": f"/runs/{long.pk}",
        "steps-moving": f"/runs/{long.pk}/moving",
        "events": f"/runs/{long.pk}/events?many=1",
        "nested": f"/runs/{nest.pk}",
        "nested-moving": f"/runs/{nest.pk}/moving",
    }


def _tell_large(order: Order, browser: Browser, paths: Mapping[str, str]) -> None:
    fetches = TRIED if order.n else FETCHES
    for name, path in paths.items():
        detail = {"steps": Step.objects.filter(run=int(path.split("/")[2])).count(), "target_ms": 500}
        order.tell(_page(order, browser, f"pages-{name}", path, fetches, **detail)[0])


def _page(
    order: Order, browser: Browser, bench: str, path: str, fetches: int, **detail: Any
) -> tuple[Figures, float]:
    """The figures of one page, and its p50 over all fetches. The first one fills caches, as on any day."""
    size = len(browser.get(path))
    rounds = [[_fetched_ms(browser, path) for _ in range(fetches)] for _ in range(order.rounds)]
    figures = of_rounds(
        bench,
        n=fetches,
        unit="ms",
        values=[percentile(took, 50) for took in rounds],
        samples_ms=rounds,
        detail={"queries": _queries(path), "bytes": size, **detail, **drive.machine()},
    )
    return figures, _p50(rounds)


def _slowest(parts: Sequence[Figures]) -> Figures:
    """The slowest page of the large size."""
    return max(parts, key=lambda one: one.p50_ms or 0.0)


def _tell(
    order: Order,
    browser: Browser,
    size: int,
    waits: int,
    paths: Mapping[str, str],
    before: Mapping[str, float],
) -> dict[str, float]:
    found: dict[str, float] = {}
    sizes = _sizes()
    fetches = FETCHES if size >= SMALL else TRIED
    for name, path in paths.items():
        bench = f"pages-{name}-{size}"
        figures, p50 = _page(order, browser, bench, path, fetches, open_escalations=waits, **sizes)
        if name in before:
            times = {"times_the_small_one": round(p50 / before[name], 2)}
            figures = replace(figures, detail={**figures.detail, **times})
        order.tell(figures)
        found[name] = p50
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
