"""One supervised process: start, restart with back-off, stop. Knows nothing of what the process does.

Children are forked from a supervisor that has everything imported, has one thread and holds no
connection: loading the code six times over would cost a start most of its seconds, and a worker that
was killed is back at once.
"""

import contextlib
import os
import runpy
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from opsconsole.embedded import processes
from opsconsole.environment import REPOSITORY

STEADY_SECONDS = 30.0  # who lived this long did not crash at the start
LOG_LIMIT_BYTES = 5 * 2**20
_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_LOOP_DEATHS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What to run, as by `python -m MODULE ARGUMENTS`.

    `socket` is removed before each start: a killed server leaves its file behind.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    pass_fds: tuple[int, ...] = ()
    socket: Path | None = None


def pause_after(deaths: int) -> float:
    """Seconds to wait before the next start after so many deaths in a row."""
    return _PAUSES[min(deaths, len(_PAUSES)) - 1]


class Child:
    """A process that is kept running until `kill`. To be used from the main thread."""

    def __init__(self, spec: Spec, env: Mapping[str, str], logs: Path) -> None:
        self.spec = spec
        self.log = logs / f"{spec.name}.log"
        self.pid: int | None = None
        self.code: int | None = None
        self._env = dict(env)
        self._started = 0.0
        self._deaths = 0
        self._next_start = 0.0

    @property
    def age(self) -> float:
        """Seconds since the last start, 0 while it is down."""
        return time.monotonic() - self._started if self.pid is not None else 0.0

    def start(self) -> None:
        """Fork it now."""
        if self.spec.socket is not None:
            self.spec.socket.unlink(missing_ok=True)
        self._started = time.monotonic()
        self.code = None
        self.pid = fork(self.spec.name, self.log, self._env, self.spec.pass_fds, self._run)

    def gone(self) -> bool:
        """Whether it has ended; its exit code is then in `code` (negative: the signal)."""
        if self.pid is None:
            return True
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            pid, status = self.pid, 0
        if pid == 0:
            return False
        self._signal_group(signal.SIGKILL)  # what it started goes with it
        self.code = os.waitstatus_to_exitcode(status)
        self.pid = None
        return True

    def look_after(self) -> str | None:
        """One turn: notice a death, start again when it is time. Returns a sentence worth telling."""
        now = time.monotonic()
        if self.pid is None:
            if now >= self._next_start:
                self.start()
            return None
        if not self.gone():
            return None
        self._deaths = 1 if now - self._started > STEADY_SECONDS else self._deaths + 1
        pause = pause_after(self._deaths)
        self._next_start = now + pause
        ended = f"{self.spec.name} ended ({_how(self.code or 0)})"
        if self._deaths < _LOOP_DEATHS:
            return f"{ended}: starting it again"
        return f"{ended}, {self._deaths} times in a row: next try in {pause:g} s; see {self.log}"

    def ask_to_stop(self) -> None:
        """SIGTERM to the process alone: it sees to its own children."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """The process and whatever it started."""
        if self.pid is None:
            return
        self._signal_group(signal.SIGKILL)
        processes.wait_until(self.gone, 1.0)

    def _signal_group(self, sig: signal.Signals) -> None:
        assert self.pid is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, sig)

    def _run(self) -> None:
        sys.argv = [self.spec.module, *self.spec.arguments]
        runpy.run_module(self.spec.module, run_name="__main__", alter_sys=True)


def fork(
    name: str, log: Path, env: Mapping[str, str], pass_fds: tuple[int, ...], run: Callable[[], None]
) -> int:
    """Run `run` in a child of its own session that dies with us. Returns its pid."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        _become(name, log, env, pass_fds, parent)
        run()
        code = 0
    except SystemExit as wanted:
        code = _exit_code(wanted)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # never back into the supervisor's code


def _become(name: str, log: Path, env: Mapping[str, str], pass_fds: tuple[int, ...], parent: int) -> None:
    os.setsid()
    processes.die_with_parent(parent, signal.SIGKILL)
    processes.name_this(f"ops-{name}")
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, signal.SIG_DFL if sig != signal.SIGINT else signal.default_int_handler)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)  # it may be cut while we write
    silence = os.open(os.devnull, os.O_RDONLY)
    os.dup2(silence, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    _close_all_but({0, 1, 2, *pass_fds})  # the locks and the keeper's connection are the supervisor's alone
    os.chdir(REPOSITORY)
    os.environ.clear()
    os.environ.update(env)


def _close_all_but(kept: set[int]) -> None:
    low = 0
    for fd in sorted(kept):
        if low < fd:  # closerange(0, 0) would close everything
            os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, max(low + 1, os.sysconf("SC_OPEN_MAX")))


def _exit_code(wanted: SystemExit) -> int:
    if wanted.code is None:
        return 0
    if isinstance(wanted.code, int):
        return wanted.code
    print(wanted.code, file=sys.stderr)
    return 1


def bound_log(log: Path) -> None:
    """Keep the last LOG_LIMIT_BYTES in NAME.log.1 and let the writer go on with an empty file.

    Lines written between the copy and the cut are lost: the price of not piping every byte through us.
    """
    try:
        if log.stat().st_size <= LOG_LIMIT_BYTES:
            return
    except FileNotFoundError:
        return
    with log.open("rb") as source:
        source.seek(-LOG_LIMIT_BYTES, os.SEEK_END)
        log.with_suffix(".log.1").write_bytes(source.read(LOG_LIMIT_BYTES))
    os.truncate(log, 0)


def _how(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
