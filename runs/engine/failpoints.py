"""Named places where a fault test may kill, freeze or break this process. Does nothing unless FAILPOINT is set.

FAILPOINT=name:action[:n] with action kill (SIGKILL), freeze (SIGSTOP) or raise; the n-th passage counts (default 1).
"""

from __future__ import annotations

import os
import signal
import threading

NAMES = frozenset(
    {
        "after_claim",
        "before_permit",
        "after_permit",
        "before_effect",
        "after_effect_before_record",
        "mid_settle",
        "after_commit_before_wake",
        "after_start_before_move",
        "mid_heartbeat",
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
    if action == "raise":
        raise Failpoint(name)
    # To this thread: a stop sent to the process would let it run on until another thread has taken the signal.
    signal.pthread_kill(threading.get_ident(), _SIGNALS[action])


def armed(name: str) -> bool:
    """Whether this process is to be hurt there."""
    return os.environ.get("FAILPOINT", "").partition(":")[0] == name


def _due(name: str, wanted: int) -> bool:
    with _lock:
        _passed[name] = _passed.get(name, 0) + 1
        return _passed[name] == wanted
