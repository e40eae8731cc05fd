"""What every benchmark does from its driving process: people, runs started and woken, stamps heard."""

from __future__ import annotations

import contextlib
import itertools
import os
import platform
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

from django.contrib.auth.models import Group, User
from django.db import connection, transaction

from escalations.roles import Role
from escalations.starts import start_run
from runs import live
from runs.engine.record import now
from runs.models import Question, Run, RunState, Worker
from runs.models.run import ACTIVE

LOOK_SECONDS = 0.01
FINAL_LOOK_SECONDS = (
    0.1  # what is measured ends by the settlements' own clock: looking often would only slow it
)
PATIENCE_SECONDS = 120.0


_KEY = secrets.token_hex(8)
_NUMBERS = itertools.count()  # who starts a run has its key: making one is no part of what a start costs


class Stalled(Exception):
    """Something that a benchmark waited for did not come."""


def until(
    true: Callable[[], bool],
    what: str,
    seconds: float = PATIENCE_SECONDS,
    *,
    look_seconds: float = LOOK_SECONDS,
) -> None:
    """Poll until it is true. Raises Stalled."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise Stalled(f"not within {seconds:.0f} s: {what}")
        time.sleep(look_seconds)


def wait_for_workers(count: int) -> None:
    """Until so many agent workers have been seen."""
    until(lambda: Worker.objects.filter(kind="agents").count() >= count, f"{count} workers are there")


def worker_pids() -> list[int]:
    """The agent workers of this benchmark."""
    pids = Worker.objects.filter(kind="agents", gone_at__isnull=True).values_list("pid", flat=True)
    return [pid for pid in pids if pid]


@cache
def operator(username: str = "bench", password: str | None = None) -> User:
    """Somebody on shift; made when not there. With a password they can sign in by the form."""
    found = User.objects.filter(username=username).first()
    if found:
        return found
    with transaction.atomic():
        made = User.objects.create_user(username, password=password)
        made.groups.add(Group.objects.get_or_create(name=Role.OPERATOR)[0])
    return made


def mark() -> str:
    """A mark that nothing else bears."""
    return f"mark-{secrets.token_hex(8)}"


def started(workflow: str, count: int, marks: Sequence[str] = ()) -> list[int]:
    """Runs that exist and that nobody has been told of: the start act, without its hints."""
    with live.silent():
        return [start(workflow, number, marks[number] if marks else "").pk for number in range(count)]


def started_by(threads: int, workflow: str, count: int) -> list[int]:
    """Runs started by so many threads of this process, with their hints, as a front does: workers begin at once."""
    with ThreadPoolExecutor(threads) as pool:
        shares = [range(at, count, threads) for at in range(threads)]
        return [run_id for ids in pool.map(partial(_each_started, workflow), shares) for run_id in ids]


def _each_started(workflow: str, numbers: Iterable[int]) -> list[int]:
    try:
        return [start(workflow, number).pk for number in numbers]
    finally:
        connection.close()


def start(workflow: str, number: int, mark: str = "") -> Run:
    """One run by the start act, which wakes the workers."""
    raw = {"number": number, "mark": mark}
    key = f"{_KEY}-{next(_NUMBERS)}"
    return start_run(actor=operator(), workflow=workflow, raw_input=raw, start_key=key).run


def wake(run_ids: Iterable[int]) -> None:
    """The hint that each start would have given."""
    for run_id in run_ids:
        live.wake(run_id)


def moment() -> Any:
    """PostgreSQL's clock."""
    return now()


def until_final(run_ids: Sequence[int], seconds: float = PATIENCE_SECONDS) -> int:
    """Until none of these runs goes on; returns how many slept meanwhile. Raises Stalled when one does not end well.

    Sleepers are woken when they are due, as the sweep would: where nobody polls, nobody else does.
    """
    runs = Run.objects.filter(pk__gte=min(run_ids), pk__lte=max(run_ids))
    slept: set[tuple[int, int]] = set()

    def all_final() -> bool:
        states = set(runs.filter(state__in=ACTIVE).values_list("state", flat=True).distinct())
        if RunState.WAITING in states:
            asked = Question.objects.filter(run__in=runs).values_list("title", flat=True).first()
            raise Stalled(f"a run waits for a person: {asked}")
        if RunState.SLEEPING in states:
            due = runs.filter(state=RunState.SLEEPING, due_at__lte=now()).values_list("pk", "event_seq")
            fresh = set(due) - slept
            wake(run_id for run_id, _ in fresh)
            slept.update(fresh)
        return not states

    until(all_final, f"{len(run_ids)} runs are final", seconds, look_seconds=FINAL_LOOK_SECONDS)
    bad = runs.exclude(state=RunState.DONE).values_list("pk", "state", "ending")[:3]
    if bad:
        raise Stalled(f"runs did not end well: {list(bad)}")
    return len(slept)


# Written out: a plan for any states would read every run, and what is measured next would begin in cold caches.
_GOING = "SELECT EXISTS (SELECT FROM runs_run WHERE state IN ('ready', 'running', 'sleeping'))"


def until_quiet() -> None:
    """Until no run goes on by itself: the workers have nothing to do. Raises Stalled."""
    until(lambda: not _rows(_GOING)[0][0], "nothing goes on")


def span_seconds(run_ids: Sequence[int], began: Any) -> float:
    """From `began` to the last settlement of these runs, by PostgreSQL's clock."""
    rows = _rows("SELECT max(finished_at) FROM runs_run WHERE id = ANY(%s)", [list(run_ids)])
    return float((rows[0][0] - began).total_seconds())


def step_ms(run_ids: Sequence[int]) -> list[float]:
    """From one settlement to the next of the same run, for every step but the first."""
    rows = _rows(
        """
        SELECT extract(epoch FROM gap) * 1000 FROM (
            SELECT finished_at - lag(finished_at) OVER (PARTITION BY run_id ORDER BY seq) AS gap
            FROM runs_step WHERE run_id = ANY(%s)
        ) AS gaps WHERE gap IS NOT NULL
        """,
        [list(run_ids)],
    )
    return [float(row[0]) for row in rows]


def run_ms(run_ids: Sequence[int]) -> list[float]:
    """From a run's start on record to its end, by PostgreSQL's clock."""
    rows = _rows(
        "SELECT extract(epoch FROM finished_at - created_at) * 1000 FROM runs_run WHERE id = ANY(%s)",
        [list(run_ids)],
    )
    return [float(row[0]) for row in rows]


def settled_ms(run_ids: Sequence[int]) -> list[float]:
    """From one settlement to the next of the same run, whichever steps they are of: side by side they overtake."""
    rows = _rows(
        """
        SELECT extract(epoch FROM gap) * 1000 FROM (
            SELECT finished_at - lag(finished_at) OVER (PARTITION BY run_id ORDER BY finished_at) AS gap
            FROM runs_step WHERE run_id = ANY(%s)
        ) AS gaps WHERE gap IS NOT NULL
        """,
        [list(run_ids)],
    )
    return [float(row[0]) for row in rows]


def count(table: str) -> int:
    """Rows of a table, counted."""
    return int(_rows(f"SELECT count(*) FROM {connection.ops.quote_name(table)}")[0][0])


def _rows(sql: str, values: Sequence[Any] = ()) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())


def machine() -> dict[str, Any]:
    """On what it was measured."""
    settings = dict(
        _rows(
            "SELECT name, setting FROM pg_settings WHERE name IN "
            "('server_version', 'fsync', 'synchronous_commit', 'shared_buffers')"
        )
    )
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "postgresql": settings["server_version"],
        "fsync": settings["fsync"],
        "synchronous_commit": settings["synchronous_commit"],
    }


class Stamps:
    """Hears when code started and when the deaf server saw somebody come or go. Times are monotonic nanoseconds."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._heard: dict[str, int] = {}
        self._changed = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            with contextlib.suppress(ValueError):
                words, _, moment = self._socket.recv(4096).decode().rpartition(" ")
                with self._changed:
                    self._heard.setdefault(words, int(moment))
                    self._changed.notify_all()

    def wait(self, *words: str, seconds: float = PATIENCE_SECONDS) -> list[int]:
        """When each was said first; forgets them. Raises Stalled."""

        def all_heard() -> bool:
            return all(one in self._heard for one in words)

        with self._changed:
            if not self._changed.wait_for(all_heard, seconds):
                missing = [one for one in words if one not in self._heard]
                raise Stalled(f"not within {seconds:.0f} s: {len(missing)} stamps, such as {missing[0]}")
            return [self._heard.pop(one) for one in words]
