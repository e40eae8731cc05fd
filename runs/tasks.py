"""The Celery edge: messages only say "look". Duplicated, lost or late ones are harmless."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from celery import shared_task
from celery.signals import celeryd_after_setup, worker_shutdown, worker_shutting_down
from django.conf import settings
from django.db import OperationalError, connection

from runs.agents import providers
from runs.engine import failpoints, overdue, shortened, sweep, versions
from runs.engine.advance import advance
from runs.engine.away import away
from runs.engine.spend import budgets
from runs.engine.triggers import folders, schedules
from runs.engine.worker import heart
from runs.engine.worker.leaving import Leaving
from runs.engine.worker.runtime import Runtime, current, install
from runs.engine.worker.standstill import Watch
from runs.models import WorkerKind

_log = logging.getLogger("opsconsole.tasks")
POLL_THREADS = 4
POLL_AT_ONCE = POLL_THREADS * 4
OVERLOOKED_SECONDS = 2.0  # a run due for so long has been overlooked: the hint was lost
WATCH_SHARE = 1.25  # of the time after which others call it silent: a worker that hangs ends itself
NEW_SECONDS = 60.0  # for so long a worker looks for questions about versions that it has brought back
MOST_PASSED = 8  # workers that pass a hint on; then whoever has the run's definition finds it by polling
JUST_AFTER_SECONDS = 0.05  # a lease has ended
PART_SECONDS = 0.5  # of a poller's look, for one of its parts
AGAIN_SECONDS = 0.5  # between two looks of a poller while there is more than it can take at once


@shared_task(name="runs.advance", ignore_result=True)
def advance_run(run_id: int, passed: int = 0) -> None:
    """`passed`: how many workers have passed this hint on, because they have not the definition of its run."""
    if current().leaving:
        return  # whoever polls finds the run
    failpoints.hit("after_wake")
    if advance(run_id).why == "elsewhere" and passed < MOST_PASSED:
        with contextlib.suppress(Exception):
            advance_run.apply_async(args=(run_id, passed + 1), queue="agents", retry=False)


@shared_task(name="runs.sweep", ignore_result=True)
def sweep_runs() -> None:
    """Every 5 s by beat: expire, mark, lift, and hint at due runs."""
    heart.register("beat", WorkerKind.BEAT, 0)
    for part in sweep_parts():
        _try(part)
    # Hints that piled up while no worker listened are worth nothing: the next sweep gives them again.
    expires = float(settings.RUNS_SWEEP_SECONDS * 2)
    for run_id in sweep.due(overlooked_seconds=OVERLOOKED_SECONDS):
        with contextlib.suppress(Exception):
            advance_run.apply_async(args=(run_id,), queue="agents", retry=False, expires=expires)


def sweep_parts() -> tuple[Callable[[], int], ...]:
    """What each sweep does, in this order, before it looks for due runs; each returns a count."""
    return (
        _note_the_dead,
        sweep.mark_controls,
        sweep.lift_pauses,
        shortened.hurry_questions,
        overdue.tell,
        sweep.expire_questions,
        *budgets.PARTS,
    )


def _note_the_dead() -> int:
    return len(heart.note_the_dead())


@shared_task(name="runs.look_at_triggers", ignore_result=True)
def look_at_triggers() -> None:
    """Every 10 s by beat: start what is due by schedule, and what was dropped into a watched folder."""
    for part in (schedules.look, folders.look):
        _try(part)


def _try(part: Callable[[], int]) -> bool:
    """One part of the sweep; whatever it meets, the others go on. False when the database cannot be reached."""
    try:
        part()
    except Exception as error:
        _log.exception("a part of the sweep failed")
        connection.close()
        return not away(error)
    return True


class Poller:
    """In every agent worker: advances overlooked runs without any message, so that Valkey may be gone."""

    def __init__(self, runtime: Runtime, watch: Watch) -> None:
        self._runtime = runtime
        self._watch = watch
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(POLL_THREADS, thread_name_prefix="poll")
        self._looking: set[int] = set()
        self._reached = True  # the database, at the last look
        self._to_lift = 0  # runs of released pauses, at the last look
        self._parts_due = 0.0  # by this process's clock
        self._new_until = time.monotonic() + NEW_SECONDS
        threading.Thread(target=self._run, name="poller", daemon=True).start()

    def stop(self) -> None:
        self._watch.leaves("poller")
        self._stopping.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        self._come_back()
        due = time.monotonic() + float(settings.RUNS_SWEEP_SECONDS)
        while not self._stopping.wait(min(1.0, max(0.0, due - time.monotonic()))):
            if time.monotonic() >= due:
                due = time.monotonic() + self._looked()
                if time.monotonic() < self._new_until:
                    self._come_back()
            if not (self._reached and self._hangs()):
                self._watch.goes_on("poller")

    def _come_back(self) -> None:
        """This worker may have what people were asked for, also by those who had not heard of it yet."""
        _try(versions.come_back)
        connection.close()

    def _looked(self) -> float:
        """One look; in how many seconds the next one is due."""
        pause = float(settings.RUNS_SWEEP_SECONDS)
        try:
            self._reached, more = True, self._look()
            ends = None if more else sweep.next_due(pause)
        except Exception:
            self._reached, more, ends = False, False, None
        finally:
            connection.close()
        if more:
            return AGAIN_SECONDS
        return pause if ends is None else ends + JUST_AFTER_SECONDS

    def _look(self) -> bool:
        if not all(_try(part) for part in self._parts()):
            raise OperationalError("each part would wait for a connection in vain")
        busy = {flight.run_id for flight in self._runtime.in_flight()}
        others = versions.left_to_others()
        overlooked = sweep.due(limit=POLL_AT_ONCE, overlooked_seconds=OVERLOOKED_SECONDS, leave=others)
        beside = sweep.due_beside(self._runtime.name, limit=POLL_AT_ONCE)
        for run_id in [*(one for one in overlooked if one not in busy), *beside]:
            self._take(run_id)
        return self._to_lift > 0 or len(overlooked) >= POLL_AT_ONCE

    def _parts(self) -> tuple[Callable[[], int], ...]:
        """What the sweep does, in shorter turns: without Valkey there is no sweep, and a release or a raised limit is
        still to be obeyed. What takes longer is done no more often than a sweep: in a backlog a look is for the runs.
        Accounts, and time that limits only tell of, are looked after by one worker, and only while nobody sweeps: each
        that looks gives room to a card. Folders wait for beat: they lie where the ordinary workers are."""
        light = (
            _note_the_dead,
            self._lift,
            partial(sweep.expire_questions, limit=50, seconds=PART_SECONDS),
            schedules.look,
        )
        if time.monotonic() < self._parts_due:
            return light
        self._parts_due = time.monotonic() + float(settings.RUNS_SWEEP_SECONDS)
        marked = partial(sweep.mark_controls, seconds=PART_SECONDS)
        parts = (marked, *light, partial(shortened.hurry_questions, seconds=PART_SECONDS))
        if heart.beats() or not heart.eldest(self._runtime.name):
            return parts
        return (*parts, partial(overdue.tell, seconds=PART_SECONDS), *budgets.PARTS)

    def _lift(self) -> int:
        self._to_lift = 0
        self._to_lift = sweep.lift_pauses(seconds=PART_SECONDS)
        return self._to_lift

    def look_at(self, run_id: int) -> None:
        """Advance a run that a person let go on, if a thread is free; its hint is on the way too."""
        if len(self._looking) < POLL_THREADS and not self._stopping.is_set():
            with contextlib.suppress(RuntimeError):  # it ends at this moment
                self._take(run_id, answered=True)

    def _take(self, run_id: int, *, answered: bool = False) -> None:
        if run_id not in self._looking:
            self._looking.add(run_id)
            self._pool.submit(self._advance, run_id, answered)

    def _hangs(self) -> bool:
        """Whether runs have waited for long and no thread of this process comes back to take one."""
        silent = float(settings.RUNS_SILENT_SECONDS)
        if not self._runtime.stuck(silent):
            return False
        try:
            return bool(sweep.due(limit=1, overlooked_seconds=silent, leave=versions.left_to_others()))
        except Exception:  # without the database nobody can claim, and that is not this process's fault
            return False
        finally:
            connection.close()

    def _advance(self, run_id: int, answered: bool) -> None:
        try:
            advance(run_id, self._runtime, answered=answered)
        finally:
            self._looking.discard(run_id)
            connection.close()


_poller: Poller | None = None
_watch: Watch | None = None
_leaving: Leaving | None = None


@celeryd_after_setup.connect
def _begin(sender: Any = None, **_: Any) -> None:
    """Before the worker connects to Valkey: one that starts while Valkey is down works all the same, by polling."""
    global _poller, _watch
    runtime = runtime_of(str(sender or ""))
    kind = runtime.kind
    install(runtime)
    runtime.start()
    parts = ("heart", "poller") if kind == WorkerKind.AGENTS else ("heart",)
    _watch = watch = Watch(parts, seconds=float(settings.RUNS_SILENT_SECONDS) * WATCH_SHARE)
    runtime.after_beat = lambda: watch.goes_on("heart")
    if kind == WorkerKind.AGENTS:
        providers.load_beside()
        _poller = Poller(runtime, watch)
        runtime.look_at = _poller.look_at


def runtime_of(host: str) -> Runtime:
    """Of the Celery worker `agents@somewhere` or `ordinary@somewhere`. Its name is used once: a container that starts
    again may have host and pid of the one that died, and not its leases."""
    kind = WorkerKind.AGENTS if host.startswith("agents") else WorkerKind.ORDINARY
    place = host.partition("@")[2] or "local"
    return Runtime(f"{kind}-{place}-{os.getpid()}.{secrets.token_hex(4)}", kind)


@worker_shutting_down.connect
def _leave(**_: Any) -> None:
    """No more polling; what is under way may finish for a while."""
    global _leaving
    if _poller is not None:
        _poller.stop()
    if _leaving is None:
        _leaving = Leaving(current(), seconds=float(settings.RUNS_DRAIN_SECONDS))
        _leaving.begin()


@worker_shutdown.connect
def _gone(**_: Any) -> None:
    """The last act of a process that leaves in order: nothing is in flight here any more."""
    if _leaving is not None:
        _leaving.wait()
    if _watch is not None:
        _watch.leaves("heart")
    current().stop()
