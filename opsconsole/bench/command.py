"""`manage.py bench [NAME ...] [--json]`: has each benchmark measured in a world of its own and prints what it says.

Loads no Django and touches no data directory but those it makes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from opsconsole.bench.catalogue import BENCHES, Bench, named, usual
from opsconsole.bench.order import Order
from opsconsole.embedded import processes
from opsconsole.environment import REPOSITORY

_END_SECONDS = 20.0
_TAIL_LINES = 12


def main(arguments: list[str]) -> int:
    """Returns the exit code: 0 when every benchmark said something."""
    given = _parser().parse_args(arguments)
    wanted = [named(name) for name in given.names] if given.names else usual()
    benches = [bench for bench in wanted if bench]
    unknown = [name for name in given.names if named(name) is None]
    if unknown:
        known = ", ".join(bench.name for bench in BENCHES)
        print(f"There is no benchmark {unknown[0]!r}. Known: {known}.", file=sys.stderr)
        return 2
    try:
        outcomes = [_measured(bench, given) for bench in benches]  # a failure does not hide the others
    except KeyboardInterrupt:
        return 130
    return 0 if all(outcomes) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="manage.py bench",
        description="Measures on servers and data of its own, which are removed afterwards.",
        epilog="; ".join(f"{bench.name}: {bench.says}" for bench in BENCHES),
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="all but peers and profile when none is given"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument(
        "--rounds", type=_count, default=0, help="figures are medians of so many (3; guarded 60)"
    )
    parser.add_argument("--n", type=_count, default=0, help="another count than the benchmark's own")
    parser.add_argument("--keep", action="store_true", help="keep the directory with logs and data")
    return parser


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _measured(bench: Bench, given: argparse.Namespace) -> bool:
    folder = Path(tempfile.mkdtemp(prefix="opsconsole-bench-"))
    folder.chmod(0o711)  # as root, the database runs under another account
    order = Order(
        bench=bench.name,
        folder=folder,
        rounds=given.rounds or bench.rounds,
        n=given.n,
        load1=os.getloadavg()[0],
    )
    try:
        why = _performed(bench, order)
        for figures in order.told():
            print(figures.line() if given.json else figures.sentence(), flush=True)
        if why:
            print(f"{bench.name}: {why}\n{_last_words(folder)}", file=sys.stderr, flush=True)
        return not why
    finally:
        if given.keep:
            print(f"{bench.name}: everything is kept in {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _performed(bench: Bench, order: Order) -> str:
    """Have one world live and end. Returns what went wrong, or nothing."""
    parent = os.getpid()
    world = subprocess.Popen(
        [sys.executable, "-m", "opsconsole.bench.world", order.text()],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,  # standard output is for the objects alone
        preexec_fn=lambda: processes.die_with_parent(parent, signal.SIGTERM),
    )
    try:
        code = world.wait(bench.seconds)
    except subprocess.TimeoutExpired:
        _end(world)
        return f"not done within {bench.seconds:.0f} s"
    except KeyboardInterrupt:
        _end(world)
        raise
    return "" if code == 0 else f"ended with {code}"


def _end(world: subprocess.Popen[bytes]) -> None:
    """It ends its own processes; what it started dies with it if it does not."""
    world.terminate()
    try:
        world.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        world.kill()
        world.wait()


def _last_words(folder: Path) -> str:
    said: list[str] = []
    for name in ("driver", "prepare"):
        with contextlib.suppress(OSError):
            said += (folder / "logs" / f"{name}.log").read_text(errors="replace").splitlines()[-_TAIL_LINES:]
    return "\n".join(f"    {line}" for line in said)
