"""Ours, the floor, LangGraph and DBOS in turn, round by round, on the same PostgreSQL and with the same counts.

The peers have a database of their own there, two processes of four threads each, and no broker: they are called where
they run, and make their runs there within the measured time. So do we and the floor: this process starts our runs as a
front does, while two workers of four threads work. Ours goes through Celery, gate, events, journal and hints as ever.
Set against each other as well, in the detail: ours and LangGraph with the runs on record before, each with its input.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

from opsconsole.bench import contestants, drive, steps
from opsconsole.bench.contestants import Took
from opsconsole.bench.figures import of_rounds
from opsconsole.bench.order import Order
from opsconsole.environment import REPOSITORY, Refused

PYTHON = REPOSITORY / ".venv-peers" / "bin" / "python"
_SCRIPTS = Path(__file__).parent / "peers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A library, the package that names its version, and its script."""

    name: str
    package: str
    script: str


LANGGRAPH = Peer(name="langgraph", package="langgraph", script="langgraph_steps.py")
PEERS = (LANGGRAPH, Peer(name="dbos", package="dbos", script="dbos_steps.py"))


def measure(order: Order) -> None:
    """Raises Refused when the peers are not installed."""
    if not PYTHON.exists():
        raise Refused("The peers are not installed: run `make bench-peers`, which installs them first.")
    runs = order.n or steps.RUNS
    for peer in PEERS:
        _set_up(peer)
    steps.ours("bench_steps", 8)
    floors: list[float] = []
    ours: list[steps.Ours] = []
    without_starts: list[steps.Ours] = []
    theirs: dict[str, list[Took]] = {peer.name: [] for peer in PEERS}
    langgraph_without: list[Took] = []
    for _ in range(order.rounds):
        floors.append(_rate(runs, steps.the_floor(runs, with_starts=True)))
        ours.append(steps.ours_with_starts("bench_steps", runs))
        without_starts.append(steps.ours("bench_steps", runs))
        for peer in PEERS:
            theirs[peer.name].append(_contest(peer, runs))
        langgraph_without.append(_contest(LANGGRAPH, runs, on_record=True))
    rates = {peer.name: [_rate(runs, took) for took in theirs[peer.name]] for peer in PEERS}
    our_rates = [one.steps_a_second for one in ours]
    best = [max(of_round) for of_round in zip(*rates.values(), strict=True)]
    without = [_rate(runs, took) for took in langgraph_without]
    _tell(
        order,
        "peers-ours",
        runs,
        our_rates,
        [one.step_ms for one in ours],
        floors,
        measured="from before the first start to the last settlement",
        starters=steps.STARTERS,
        times_the_best_library=_times(our_rates, best),
        without_starts=[round(one.steps_a_second, 1) for one in without_starts],
        langgraph_without_starts=[round(one, 1) for one in without],
        times_langgraph_without_starts=_times([one.steps_a_second for one in without_starts], without),
        starter_cpu_ms_a_run=[round(one.starter_cpu_ms, 2) for one in ours],
        worker_cpu_ms_a_step=[round(one.worker_cpu_ms, 2) for one in ours],
        postgres_cpu_ms_a_step=[round(one.postgres_cpu_ms, 2) for one in ours],
    )
    for peer in PEERS:
        samples = [took.step_ms for took in theirs[peer.name]]
        _tell(order, f"peers-{peer.name}", runs, rates[peer.name], samples, floors, version=_version(peer))


def _tell(
    order: Order,
    bench: str,
    runs: int,
    rates: Sequence[float],
    samples: Sequence[Sequence[float]],
    floors: Sequence[float],
    **detail: object,
) -> None:
    shared = {
        "runs": runs,
        "steps_a_run": steps.STEPS,
        "processes": steps.PROCESSES,
        "threads": steps.THREADS,
    }
    order.tell(
        of_rounds(
            bench,
            n=runs * steps.STEPS,
            unit="steps/s",
            values=rates,
            samples_ms=samples,
            floors=floors,
            detail={**shared, **detail, **drive.machine()},
        )
    )


def _times(ours: Sequence[float], others: Sequence[float]) -> list[float]:
    return [round(our / other, 3) for our, other in zip(ours, others, strict=True)]


def _rate(runs: int, took: Took) -> float:
    return runs * steps.STEPS / took.seconds


def _contest(peer: Peer, runs: int, *, on_record: bool = False) -> Took:
    command = [str(PYTHON), str(_SCRIPTS / peer.script), str(steps.THREADS)]
    env = {**_environment(peer), **({"ON_RECORD": "1"} if on_record else {})}
    return contestants.contest(command, counts=steps.halves(runs), env=env)


def _set_up(peer: Peer) -> None:
    """A database and the library's own tables in it."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {peer.name}")
    command = [str(PYTHON), str(_SCRIPTS / peer.script)]
    environment = {**os.environ, **_environment(peer), "SETUP": "1"}
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, timeout=120)


def _environment(peer: Peer) -> dict[str, str]:
    """The same server by the same socket, another database."""
    url = urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{peer.name}"))
    return {"BENCH_DATABASE": url, "PYTHONPATH": ""}


def _version(peer: Peer) -> str:
    words = f"import importlib.metadata as known; print(known.version({peer.package!r}))"
    told = subprocess.run([str(PYTHON), "-c", words], capture_output=True, text=True, check=True)
    return told.stdout.strip()
