"""One supervised process: start, restart with back-off, stop. Knows nothing of what the process does."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping
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
    """What to run. `socket` is removed before each start: a killed server leaves its file behind."""

    name: str
    command: tuple[str, ...]
    pass_fds: tuple[int, ...] = ()
    socket: Path | None = None


def pause_after(deaths: int) -> float:
    """Seconds to wait before the next start after so many deaths in a row."""
    return _PAUSES[min(deaths, len(_PAUSES)) - 1]


class Child:
    """A process that is kept running until `stop`. To be used from the main thread."""

    def __init__(self, spec: Spec, env: Mapping[str, str], logs: Path) -> None:
        self.spec = spec
        self._env = dict(env)
        self._log = logs / f"{spec.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._deaths = 0
        self._next_start = 0.0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def age(self) -> float:
        """Seconds since the last start, 0 while it is down."""
        return time.monotonic() - self._started if self._process is not None else 0.0

    def start(self) -> None:
        if self.spec.socket is not None:
            self.spec.socket.unlink(missing_ok=True)
        parent = os.getpid()
        with self._log.open("ab") as log:  # appending: the file may be cut while it is written
            self._process = subprocess.Popen(
                self.spec.command,
                cwd=REPOSITORY,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=self.spec.pass_fds,
                start_new_session=True,  # a group of its own: its children go with it
                preexec_fn=lambda: processes.die_with_parent(parent, signal.SIGKILL),
            )
        self._started = time.monotonic()

    def look_after(self) -> str | None:
        """One turn: notice a death, start again when it is time. Returns a sentence worth telling."""
        now = time.monotonic()
        if self._process is None:
            if now >= self._next_start:
                self.start()
            return None
        code = self._process.poll()
        if code is None:
            return None
        self._signal_group(signal.SIGKILL)
        self._deaths = 1 if now - self._started > STEADY_SECONDS else self._deaths + 1
        pause = pause_after(self._deaths)
        self._process = None
        self._next_start = now + pause
        ended = f"{self.spec.name} ended ({_how(code)})"
        if self._deaths < _LOOP_DEATHS:
            return f"{ended}: starting it again"
        return f"{ended}, {self._deaths} times in a row: next try in {pause:g} s; see {self._log}"

    def bound_log(self) -> None:
        """Keep the last LOG_LIMIT_BYTES in NAME.log.1 and go on with an empty file."""
        bound_log(self._log)

    def ask_to_stop(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def gone(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def kill(self) -> None:
        """The process and whatever it started."""
        if self._process is None:
            return
        self._signal_group(signal.SIGKILL)
        self._process.wait()

    def _signal_group(self, sig: signal.Signals) -> None:
        assert self._process is not None
        try:
            os.killpg(self._process.pid, sig)
        except (ProcessLookupError, PermissionError):
            pass


def bound_log(log: Path) -> None:
    """Lines written between the copy and the cut are lost: the price of not piping every byte through us."""
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
