"""What a heartbeat writes and reads, as single statements. Called by the runtime alone."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import psycopg
from django.db import OperationalError, connection, transaction
from django.db.models.functions import Now

from runs import live
from runs.engine import holds
from runs.engine.record import announce_run, event, let_go, lock_run, move_run, now, wake_run
from runs.models import Control, ControlReceipt, Run, RunState, Step, StepState, Worker, WorkerKind
from runs.models.step import SETTLED_STEPS

LISTEN_SECONDS = 0.5  # in one wait: so long a process that ends waits for its listener
ACCIDENTS = 3  # so often a step's settlement may be lost; from then on it counts as a lost worker
PATIENCE_SECONDS = 0.5  # a beat, for rows that are locked whenever one looks

_EXTEND = """
    UPDATE runs_run SET lease_until = clock_timestamp() + %(lease)s, due_at = clock_timestamp() + %(lease)s
    WHERE id IN (
        SELECT run.id FROM runs_run run
        JOIN unnest(%(ids)s::bigint[], %(fences)s::bigint[]) AS mine(id, fence) ON mine.id = run.id
        WHERE run.fence = mine.fence AND run.lease_owner = %(worker)s AND run.state = 'running'
        ORDER BY run.id FOR NO KEY UPDATE SKIP LOCKED
    )
"""
_MINE = """
    SELECT run.id, run.state = 'running' AND run.lease_until < clock_timestamp() + %(lease)s / 2 FROM runs_run run
    JOIN unnest(%(ids)s::bigint[], %(fences)s::bigint[]) AS mine(id, fence) ON mine.id = run.id
    WHERE run.fence = mine.fence
"""
# Leases end within these bounds, and few other runs are due there: no walk through a backlog.
_LEASED = """
    SELECT id, fence FROM runs_run WHERE due_at > clock_timestamp() AND due_at <= clock_timestamp() + %(lease)s
      AND state = 'running' AND lease_owner = %(worker)s
"""
# An effect that may be on its way has as long to arrive as the lease lasts: nobody looks for it before.
_NOTHING_ON_ITS_WAY = """
    NOT EXISTS (
        SELECT FROM runs_call call WHERE call.run_id = run.id AND call.kind = 'tool' AND call.state = 'permitted')
"""
_FREE = f"""
    UPDATE runs_run SET lease_until = clock_timestamp(), due_at = clock_timestamp()
    WHERE id IN (
        SELECT run.id FROM runs_run run JOIN runs_worker worker ON worker.name = run.lease_owner
        WHERE run.due_at > clock_timestamp() AND run.due_at <= clock_timestamp() + %(lease)s AND run.state = 'running'
          AND worker.place = %(place)s AND worker.gone_at > clock_timestamp() - %(lease)s AND {_NOTHING_ON_ITS_WAY}
        ORDER BY run.id FOR NO KEY UPDATE OF run SKIP LOCKED
    ) RETURNING id
"""

_ENGAGED = """
    SELECT id, kind, scope_kind, scope, engaged_by FROM runs_control WHERE released_at IS NULL ORDER BY id
"""


def register(name: str, kind: str, pid: int, definitions: Sequence[str] = ()) -> None:
    """Make this process known, and those that died here. A name is used once; a restarted process has a new one.

    `definitions`: the digests of those that it has.
    """
    values = {
        "kind": kind,
        "pid": pid,
        "born": _born(pid) if pid else None,
        "place": _place() if pid else "",
        "definitions": list(definitions),
    }
    Worker.objects.update_or_create(
        name=name, defaults={**values, "started_at": Now(), "seen_at": Now(), "gone_at": None}
    )
    if pid:
        note_the_dead()


def note_the_dead() -> list[int]:
    """Note which processes of this place are no more, and free the runs they had: nobody needs to wait for their
    confirmation or for their leases. Returns those runs. What is counted as a lost worker is the claim's business.
    """
    known = Worker.objects.filter(place=_place(), gone_at__isnull=True)
    dead = [pk for pk, pid, born in known.values_list("pk", "pid", "born") if pid and not _lives(pid, born)]
    if dead:
        Worker.objects.filter(pk__in=dead).update(gone_at=Now(), in_flight=0)
    values: dict[str, Any] = {"lease": holds.lease(), "place": _place()}
    with connection.cursor() as cursor:
        cursor.execute(_FREE, values)
        freed = [run_id for (run_id,) in cursor.fetchall()]
    for run_id in freed:
        live.wake(run_id)
    return freed


def _lives(pid: int, born: int | None) -> bool:
    """Whether that process still is. One that waits to be reaped is not; nor is one whose number another has by now:
    a container that starts again gives the same ones, and on a busy machine they come round."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    found = _stat(pid)
    if found is None:
        return True
    state, began = found
    return state not in ("Z", "X") and born in (None, began)


def _born(pid: int) -> int | None:
    """When it began, in clock ticks since the boot; None where that cannot be known."""
    found = _stat(pid)
    return found[1] if found else None


def _stat(pid: int) -> tuple[str, int] | None:
    """Its state and when it began: the third and the 22nd field of what proc(5) describes."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[19])


def _place() -> str:
    """Where a pid means the same process: one boot of one machine, one process space; empty where unknown."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as boot:
            return f"{boot.read().strip()}:{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return f"unknown-{uuid.uuid4().hex}"


def seen(name: str, in_flight: int) -> bool:
    """Say that this process lives; False when nobody knows it: it registers then."""
    return Worker.objects.filter(name=name).update(seen_at=Now(), in_flight=in_flight) > 0


def eldest(name: str) -> bool:
    """Whether this is the agent worker that has been here for longest, of those that were heard of lately."""
    living = Worker.objects.filter(kind=WorkerKind.AGENTS, gone_at__isnull=True)
    heard = living.filter(seen_at__gt=now() - timedelta(seconds=holds.SILENT_AFTER_SECONDS))
    return heard.order_by("pk").values_list("name", flat=True).first() == name


def beats() -> bool:
    """Whether somebody sweeps: beat says so with every sweep."""
    beat = Worker.objects.filter(kind=WorkerKind.BEAT, gone_at__isnull=True)
    return beat.filter(seen_at__gt=now() - timedelta(seconds=holds.SILENT_AFTER_SECONDS)).exists()


def leave(name: str) -> None:
    Worker.objects.filter(name=name).update(gone_at=Now(), in_flight=0)


def extend_leases(worker: str, flights: dict[int, int]) -> set[int]:
    """Extend the leases of {run id: fence}; returns those whose fence still is ours.

    Rows that somebody has locked at this moment are left for the next beat (a lease is many beats long), but not
    once half of it is gone: dozens of steps side by side may have their run's row locked at every beat.
    """
    if not flights:
        return set()
    values: dict[str, Any] = {
        "lease": holds.lease(),
        "ids": list(flights),
        "fences": list(flights.values()),
        "worker": worker,
    }
    with connection.cursor() as cursor:
        cursor.execute(_EXTEND, values)
        cursor.execute(_MINE, values)
        mine = dict(cursor.fetchall())
    _extend_patiently([run_id for run_id, late in mine.items() if late], values)
    return set(mine)


def _extend_patiently(late: list[int], values: dict[str, Any]) -> None:
    """Stand in the row's queue for a moment; a worker that is frozen with the row in its hands is not waited for."""
    until = time.monotonic() + PATIENCE_SECONDS
    for run_id in late:
        left = until - time.monotonic()
        if left <= 0:
            return
        with contextlib.suppress(OperationalError), transaction.atomic(), connection.cursor() as cursor:
            _wait_at_most(left)
            cursor.execute(_EXTEND.replace("SKIP LOCKED", ""), _only(run_id, values))


def _wait_at_most(seconds: float) -> None:
    """For a lock, in this transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{max(1, round(seconds * 1000))}ms"])


def _only(run_id: int, values: dict[str, Any]) -> dict[str, Any]:
    return {**values, "ids": [run_id], "fences": [values["fences"][values["ids"].index(run_id)]]}


def leased(worker: str) -> dict[int, int]:
    """{run id: fence} of what this worker holds the lease of, and for how long it still will is not said."""
    values: dict[str, Any] = {"lease": holds.lease(), "worker": worker}
    with connection.cursor() as cursor:
        cursor.execute(_LEASED, values)
        return dict(cursor.fetchall())


def give_back(worker: str, run_id: int, fence: int) -> bool:
    """Let go of a run that this worker holds and does not perform any more: a transaction of it was lost with its
    connection. Nobody's step is to blame. False when it is not so, or when an effect may be on its way.

    The fence grows here already: a thread that was given up may come back before anybody has claimed the run anew.
    """
    with transaction.atomic():
        run = lock_run(run_id, skip_locked=True)
        if run is None or (run.fence, run.lease_owner, run.state) != (fence, worker, RunState.RUNNING):
            return False
        if run.calls.filter(kind="tool", state="permitted").exists():
            return False
        run.steps.filter(state=StepState.RUNNING, fence=fence).update(fence=0)
        move_run(run, RunState.READY)
        run.fence += 1
        run.due_at = now()
        let_go(run)
        event(run, "given back", worker=worker, fence=fence)
        run.save()
        announce_run(run)
        wake_run(run)
    return True


def performed(worker: str, run_id: int, fence: int) -> set[int] | None:
    """The steps of a run that this worker performs by the record; None when it has not the run by that fence."""
    if not Run.objects.filter(pk=run_id, fence=fence, lease_owner=worker, state=RunState.RUNNING).exists():
        return None
    steps = Step.objects.filter(run=run_id, state=StepState.RUNNING, fence=fence)
    return set(steps.values_list("pk", flat=True))


def give_back_steps(worker: str, run_id: int, fence: int, steps: set[int]) -> bool | None:
    """Let go of steps that nobody performs any more, while others of their run go on under the same fence. Nobody's
    step is to blame, unless it happens to one again and again: then a person is asked in the end. False when
    an effect may be on its way, None when others have had the row for too long.
    """
    try:
        with transaction.atomic():
            _wait_at_most(PATIENCE_SECONDS)
            return _steps_given_back(worker, run_id, fence, steps)
    except OperationalError:
        return None


def _steps_given_back(worker: str, run_id: int, fence: int, steps: set[int]) -> bool:
    run = lock_run(run_id)
    if run is None or (run.fence, run.lease_owner, run.state) != (fence, worker, RunState.RUNNING):
        return True
    if run.calls.filter(step__in=steps, kind="tool", state="permitted").exists():
        return False
    for step in run.steps.filter(pk__in=steps, state=StepState.RUNNING, fence=fence).order_by("seq"):
        step.fence = 0
        if run.events.filter(kind="given back", step=step).count() >= ACCIDENTS:
            step.losses += 1
        step.save(update_fields=["fence", "losses"])
        event(run, "given back", step=step, worker=worker, fence=fence)
    run.save(update_fields=["event_seq"])
    announce_run(run)
    return True


def settled(steps: set[int]) -> set[int]:
    """Those of these steps that have their outcome already."""
    if not steps:
        return set()
    return set(Step.objects.filter(pk__in=steps, state__in=SETTLED_STEPS).values_list("pk", flat=True))


def engaged_controls() -> list[Control]:
    return list(holds.engaged())


def note_cut(control: Control, worker: str, covered: int) -> None:
    """How many flights of this worker the control met is kept on the receipt when it is written."""
    if covered:
        _met[(control.pk, worker)] = max(covered, _met.get((control.pk, worker), 0))


_met: dict[tuple[int, str], int] = {}


def confirm(control: Control, worker: str) -> None:
    """Write this worker's receipt, once: nothing that the control covers is in flight here."""
    if (control.pk, worker) in _confirmed:
        return
    row = Worker.objects.filter(name=worker).first()
    if row is None:
        return
    ControlReceipt.objects.get_or_create(
        control=control, worker=row, defaults={"cut": _met.pop((control.pk, worker), 0)}
    )
    _confirmed.add((control.pk, worker))
    live.announce("journal", {"type": "controls"})


_confirmed: set[tuple[int, str]] = set()


def listen(
    hear: Callable[[list[Control]], None], look_at: Callable[[int], None], stopping: threading.Event
) -> None:
    """Hear of each control, and of each run that a person let go on, with the commit, over a connection of its own.
    Only quicker than the heartbeat, which reads the controls anyway, and than hints."""
    while not stopping.is_set():
        with contextlib.suppress(psycopg.Error, OSError):
            _listen_once(hear, look_at, stopping)
        stopping.wait(1.0)


def _listen_once(
    hear: Callable[[list[Control]], None], look_at: Callable[[int], None], stopping: threading.Event
) -> None:
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as own:
        own.execute(f"LISTEN {live.CONTROLS_CHANNEL}; LISTEN {live.RUNS_CHANNEL}")
        hear(_read_controls(own))  # what was engaged while nobody listened
        while not stopping.is_set():
            told = list(own.notifies(timeout=LISTEN_SECONDS, stop_after=1))
            controls = [one.payload for one in told if one.channel == live.CONTROLS_CHANNEL]
            if controls:
                hear(_told(controls) or _read_controls(own))
                behind = list(
                    own.notifies(timeout=0)
                )  # what is engaged of that is read: calls were cut meanwhile
                if any(one.channel == live.CONTROLS_CHANNEL for one in behind):
                    hear(_read_controls(own))
                told += behind
            for one in told:
                if one.channel == live.RUNS_CHANNEL:
                    look_at(int(one.payload))


def _told(payloads: Sequence[str]) -> list[Control]:
    """What has just been engaged, by the notices of it; nothing when one does not say what."""
    return [Control(**json.loads(one)) for one in payloads] if all(payloads) else []


def _read_controls(own: psycopg.Connection[Any]) -> list[Control]:
    names = ("pk", "kind", "scope_kind", "scope", "engaged_by")
    rows = own.execute(_ENGAGED).fetchall()
    return [Control(**dict(zip(names, row, strict=True))) for row in rows]
