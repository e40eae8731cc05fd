"""PostgreSQL goes away under load, in four ways: nothing that was acknowledged is lost, and every process is back by
itself. The console is a whole one, with its database's production settings.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable

import psycopg

from opsconsole.embedded.processes import wait_until
from tests.faults import counts, figures
from tests.faults.console import Clients, Console, clients
from tests.faults.fleet import pause, until

TIMES = counts.of(fast=4, soak=20, name="postgres")
AWAY_SECONDS = counts.of(fast=4, soak=25)
TARGET_SECONDS = 30.0
DONE_BETWEEN = 10  # acts acknowledged between two faults
EVERY_ACT = ("start", "approve", "take", "engage", "release", "resume")


def restart(console: Console) -> None:
    """A fast one: every connection is ended, nothing has to be recovered."""
    os.kill(console.postmaster(), signal.SIGINT)


def kill(console: Console) -> None:
    """The server itself; its children notice and go."""
    os.kill(console.postmaster(), signal.SIGKILL)


def kill_a_backend(console: Console) -> None:
    """One of its children: the server ends all others and recovers, since shared memory may be broken."""
    found = console.rows(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND state = 'idle'"
    )
    os.kill(found[0][0], signal.SIGKILL)


def away(console: Console) -> None:
    """Gone for a while: nobody starts it again. Whoever tries all that time must not wait as long again."""
    keeper = console.keeper()
    os.kill(keeper, signal.SIGSTOP)
    try:
        kill(console)
        pause(AWAY_SECONDS)
    finally:
        os.kill(keeper, signal.SIGCONT)


FAULTS: tuple[Callable[[Console], None], ...] = (restart, kill, kill_a_backend, away)


def test_nothing_acknowledged_is_lost_when_postgresql_goes_and_every_process_comes_back(
    whole_console: Console,
) -> None:
    console = whole_console
    before, dice = console.children(), random.Random(18)
    back: list[float] = []
    with clients(console, starters=3, deciders=1, controllers=1, a_second=20) as acting:
        for number in range(TIMES):
            _under_load(acting)
            pause(dice.uniform(0.0, 1.0))
            back.append(_back_after(FAULTS[number % len(FAULTS)], console, acting))
        _under_load(acting)
        acting.end()
        until(lambda: _unfinished(console) == 0, "every run is final", 120)
        console.heal()
        console.check(acting.log)
        _said_something(acting)
        lost = _settlements_lost(console)
        acts = sum(len(acting.acknowledged(act)) for act in EVERY_ACT)
    assert not lost, lost
    assert console.children() == before, f"somebody had to be started again: {console.said()}"
    figures.tell(
        f"PostgreSQL restarted, killed, a backend killed, away for {AWAY_SECONDS} s, under load",
        target=f"nothing acknowledged lost, every process back within {TARGET_SECONDS:g} s",
        measured=f"0 of {acts} acknowledged acts lost; back {figures.spread(back)}",
        n=TIMES,
    )
    assert max(back) <= figures.room(TARGET_SECONDS), back


def _said_something(acting: Clients) -> None:
    """Else that nothing acknowledged is lost would say nothing of these acts."""
    missing = [act for act in EVERY_ACT if not acting.acknowledged(act)]
    assert not missing, f"nobody was ever told of: {missing}"


def _under_load(acting: Clients) -> None:
    done = len(acting.acknowledged("start"))
    until(lambda: len(acting.acknowledged("start")) >= done + DONE_BETWEEN, "acts are acknowledged", 120)


def _back_after(fault: Callable[[Console], None], console: Console, acting: Clients) -> float:
    """Seconds until the last has done its part again: lanes, clients, workers, beat. An absence is not counted."""
    fault(console)
    begun, since = time.monotonic(), time.time()
    parts: dict[str, Callable[[], bool]] = {
        "the lane of pages": lambda: console.page("/"),
        "the lane of controls": lambda: console.page("/controls/"),
        "whoever acts": lambda: any(one["at"] > since for one in acting.acknowledged("start")[-20:]),
        "the workers": lambda: _a_run_since(console, since),
        "beat": lambda: _ticked_since(console, since),
        "every part": console.ready,
    }
    for name, works in parts.items():
        left = figures.room(TARGET_SECONDS) * 2 - (time.monotonic() - begun)
        assert wait_until(works, left, 0.1), f"{name} is not back after {fault.__name__}"
    return time.monotonic() - begun


def _a_run_since(console: Console, since: float) -> bool:
    return (
        _said(
            console,
            "SELECT count(*) FROM runs_run WHERE state = 'done' AND created_at > to_timestamp(%s)",
            since,
        )
        > 0
    )


def _ticked_since(console: Console, since: float) -> bool:
    return (
        _said(
            console,
            "SELECT count(*) FROM runs_worker WHERE kind = 'beat' AND seen_at > to_timestamp(%s)",
            since,
        )
        > 0
    )


def _said(console: Console, sql: str, since: float) -> int:
    try:
        return int(console.value(sql, since))
    except psycopg.Error:
        return 0


def _unfinished(console: Console) -> int:
    return int(
        console.value(
            "SELECT count(*) FROM runs_run run WHERE state NOT IN ('done', 'failed', 'ended') AND workflow IN"
            " ('load_chain', 'load_pays') AND NOT EXISTS (SELECT FROM runs_question q WHERE q.run_id = run.id"
            " AND q.state = 'open')"
        )
    )


def _settlements_lost(console: Console) -> list[tuple[int, int]]:
    """(number, step) of outcomes that are not there, though a worker knew of them: it began the step after."""
    done = set(
        console.rows(
            "SELECT split_part(run.start_key, '-', 2)::bigint, step.seq - 1 FROM runs_run run"
            " JOIN runs_step step ON step.run_id = run.id"
            " WHERE run.workflow = 'load_chain' AND step.state = 'done'"
        )
    )
    begun = {(number, step) for word, number, step, _ in console.marks() if word == "chain" and step > 0}
    return sorted((number, step - 1) for number, step in begun if (number, step - 1) not in done)
