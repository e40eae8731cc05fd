"""What Linux gives us so that no process is left behind. Knows nothing of the servers.

A child dies with its parent (PDEATHSIG), orphans of our children come to us (subreaper), and a pid in
a file is trusted only after a look at /proc. On other systems these calls do nothing.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_CLONE_NEWUSER = 0x10000000


def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


_LIBC = _libc()


def die_with_parent(parent: int, sig: signal.Signals) -> None:
    """To be called in the child after any change of uid, which would clear it.

    The signal is sent when the *thread* that spawned the child ends: spawn from the main thread only.
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(sig), 0, 0, 0)
        if os.getppid() != parent:  # it died before the call
            os._exit(1)


def adopt_orphans() -> None:
    """Children of our dead children become ours, so that we can reap them."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def name_this(name: str) -> None:
    """The name that ps and pgrep show for this process; 15 bytes of it."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def reap_strangers(ours: set[int]) -> None:
    """Reap adopted children; those in `ours` are left to their Popen."""
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid in ours:
            return
        os.waitpid(found.si_pid, os.WNOHANG)


def enter_user_namespace(seen_as: int) -> None:
    """In the child: stay the same account on disk but be seen as `seen_as` by the program (OSError)."""
    if _LIBC is None:
        raise OSError("no user namespaces on this system")
    uid, gid = os.geteuid(), os.getegid()
    if _LIBC.unshare(_CLONE_NEWUSER) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{seen_as} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{seen_as} {gid} 1")


def running(pid: int, named: str) -> bool:
    """Whether that pid is a living process of this name: neither a zombie nor a stranger's reuse."""
    if sys.platform != "linux":
        return answers(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    name, _, rest = stat.partition("(")[2].rpartition(")")
    return named.startswith(name) and rest.split()[0] not in ("Z", "X")


def end(pid: int, named: str, signals: tuple[signal.Signals, ...], each: float = 3.0) -> bool:
    """Send the signals in turn until the process is gone; true when it is. Seconds in `each`."""
    for sig in signals:
        if not running(pid, named):
            return True
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            return True
        if wait_until(lambda: not running(pid, named), each):
            return True
    return not running(pid, named)


def wait_until(true: Callable[[], bool], seconds: float, pause: float = 0.02) -> bool:
    """Poll until it is true; false when the time is up."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


def answers(pid: int) -> bool:
    """Whether that number is a process, whosever it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
