"""Named places where a fault test may kill, freeze or break this process. Does nothing unless FAILPOINT is set.

FAILPOINT=name:action[:n] with action kill (SIGKILL), freeze (SIGSTOP), reset (the server ends every connection of this
process, pooled ones and the one that holds the gate too) or raise; the n-th passage counts (default 1). What happened
is said on standard error, so that a test knows that it has.
"""

from __future__ import annotations

import gc
import os
import signal
import threading

import psycopg
from django.db import connection

NAMES = frozenset(
    {
        "after_wake",  # a hint was taken off the broker, which has forgotten it; nothing is claimed yet
        "after_claim",  # the lease is taken and committed, nothing performed
        "before_permit",  # for an effect: the session holds the gate, nothing is written
        "after_permit",  # the permit is committed, nothing sent
        "before_effect",  # the gate was looked at; after a last look at the clock the request is handed over
        "after_effect_before_record",  # it has happened, and only this process knows
        "mid_settle",  # the outcome is written, not committed
        "after_commit_before_wake",  # it is committed, and this worker goes on with what it claimed with it
        "mid_heartbeat",  # seen, and the leases not extended yet
        "after_start_before_move",  # a dropped file's run is committed, the file lies where it lay
        "mid_mark",  # runs that a control covers are marked, not committed
        "mid_lift",  # a run that was held is let go, not committed
        "after_ack",  # an act is committed: no hint was sent, and whoever acted has no answer yet
    }
)
_SIGNALS = {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP}
_passed: dict[str, int] = {}
_lock = threading.Lock()


class Failpoint(Exception):
    """Raised by the action `raise`."""


def hit(name: str) -> None:
    """Pass a failpoint. Raises LookupError when the code names one that is not in NAMES."""
    armed = os.environ.get("FAILPOINT")
    if not armed:
        return
    if name not in NAMES:
        raise LookupError(f"{name} is not in failpoints.NAMES")
    wanted, action, *rest = armed.split(":")
    if wanted != name or not _due(name, int(rest[0]) if rest else 1):
        return
    os.write(2, f"failpoint {name}: {action}\n".encode())
    if action == "raise":
        raise Failpoint(name)
    if action == "reset":
        _reset_connections()
        return
    # To this thread: a stop sent to the process would let it run on until another thread has taken the signal.
    signal.pthread_kill(threading.get_ident(), _SIGNALS[action])


def armed(name: str) -> bool:
    """Whether this process is to be hurt there."""
    return os.environ.get("FAILPOINT", "").partition(":")[0] == name


def _due(name: str, wanted: int) -> bool:
    with _lock:
        _passed[name] = _passed.get(name, 0) + 1
        return _passed[name] == wanted


def _reset_connections() -> None:
    """As after a restart of the server or of what stands between. Returns when they are gone."""
    connections = [one for one in gc.get_objects() if issubclass(type(one), psycopg.Connection)]
    mine = [one.pgconn.backend_pid for one in connections if not one.closed]
    with psycopg.connect(**connection.get_connection_params()) as beside:
        beside.execute("SELECT pg_terminate_backend(pid, 5000) FROM unnest(%s::int[]) AS mine (pid)", [mine])
