"""How a process gets the embedded servers: it holds a connection to their keeper for as long as it lives.

Starts a keeper if none runs. Never starts a server itself.
"""

import atexit
import json
import os
import select
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from opsconsole.embedded.places import Places, places_for, prepare
from opsconsole.environment import Refused

_WAIT_SECONDS = 90.0
_GOODBYE_SECONDS = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The addresses, valid while this object is open."""

    database_url: str
    redis_url: str
    conn: socket.socket
    keeper: subprocess.Popen[bytes] | None  # if it was started for this lease

    def alive(self) -> bool:
        """Whether the keeper is still there. It says nothing after the addresses: readable means gone."""
        return self.conn.fileno() != -1 and not select.select([self.conn], [], [], 0)[0]

    def close(self) -> None:
        """Give the servers up; if nobody else holds them, returns when they are stopped. Idempotent."""
        try:
            self.conn.shutdown(socket.SHUT_WR)
            self.conn.settimeout(_GOODBYE_SECONDS)
            while self.conn.recv(64):
                pass
        except OSError:
            pass
        finally:
            self.conn.close()
            _let_go(self.keeper)


def acquire(data_dir: Path, *, fast: bool = False) -> Lease:
    """Share the servers of this data directory or have them started. Raises Refused.

    `fast` trades durability for speed and only counts for whoever comes first: for tests.
    """
    places = places_for(data_dir)
    prepare(places)
    keeper: subprocess.Popen[bytes] | None = None
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        try:
            conn, told = _connect(places, deadline)
        except OSError:  # nobody listens yet, or no longer
            pass
        else:
            if "error" in told:
                _let_go(keeper)
                raise Refused(told["error"])
            return Lease(**told, conn=conn, keeper=keeper)
        if keeper is None or keeper.poll() is not None:
            keeper = _spawn(places, fast=fast)
        time.sleep(0.02)
    raise Refused(f"The embedded servers did not start within {_WAIT_SECONDS:.0f} s; see {places.logs}.")


def hold(data_dir: Path, *, fast: bool = False) -> Lease:
    """Acquire, put the addresses into the environment for Django and children, give up at exit."""
    lease = acquire(data_dir, fast=fast)
    os.environ["DATABASE_URL"] = lease.database_url
    os.environ["REDIS_URL"] = lease.redis_url
    owner = os.getpid()
    atexit.register(lambda: lease.close() if os.getpid() == owner else None)
    return lease


def _connect(places: Places, deadline: float) -> tuple[socket.socket, dict[str, str]]:
    conn = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    conn.settimeout(max(0.1, deadline - time.monotonic()))
    try:
        conn.connect(str(places.keeper_socket))
        with conn.makefile("rb") as lines:
            line = lines.readline()
        if not line:
            raise ConnectionError("the keeper is stopping")
        return conn, json.loads(line)
    except OSError:
        conn.close()
        raise


def _spawn(places: Places, *, fast: bool) -> subprocess.Popen[bytes]:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "opsconsole.embedded.keeper", str(places.data)]
    with (places.logs / "keeper.log").open("ab") as log:
        return subprocess.Popen(
            [*command, "--fast"] if fast else command,
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C in the terminal is for the client, which then leaves
        )


def _let_go(keeper: subprocess.Popen[bytes] | None) -> None:
    if keeper is None:
        return
    try:
        keeper.wait(0.5)
    except subprocess.TimeoutExpired:
        keeper.returncode = 0  # it goes on for others: not ours to wait for, nor to warn about
