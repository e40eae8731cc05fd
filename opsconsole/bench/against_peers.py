"""Ours, the floor, LangGraph and DBOS in turn, round by round, on the same PostgreSQL and with the same counts.

The peers have a database of their own there, two processes of four threads each, and no broker: they are called where
they run. Ours goes through Celery, gate, events and hints as ever.
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


PEERS = (
    Peer(name="langgraph", package="langgraph", script="langgraph_steps.py"),
    Peer(name="dbos", package="dbos", script="dbos_steps.py"),
)


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
    theirs: dict[str, list[Took]] = {peer.name: [] for peer in PEERS}
    for _ in range(order.rounds):
        floors.append(_rate(runs, steps.the_floor(runs)))
        ours.append(steps.ours("bench_steps", runs))
        for peer in PEERS:
            theirs[peer.name].append(_contest(peer, runs))
    rates = {peer.name: [_rate(runs, took) for took in theirs[peer.name]] for peer in PEERS}
    our_rates = [one.steps_a_second for one in ours]
    best = [max(of_round) for of_round in zip(*rates.values(), strict=True)]
    _tell(
        order,
        "peers-ours",
        runs,
        our_rates,
        [one.step_ms for one in ours],
        floors,
        times_the_best_library=[round(our / other, 3) for our, other in zip(our_rates, best, strict=True)],
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


def _rate(runs: int, took: Took) -> float:
    return runs * steps.STEPS / took.seconds


def _contest(peer: Peer, runs: int) -> Took:
    command = [str(PYTHON), str(_SCRIPTS / peer.script), str(steps.THREADS)]
    return contestants.contest(command, counts=steps.halves(runs), env=_environment(peer))


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
