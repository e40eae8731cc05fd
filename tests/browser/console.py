"""The real console for browser tests: the same processes as `make run`, on a private directory and port.

Started once for all browser tests and ended in order. Looks at nothing inside: whoever wants to know something
asks over HTTP, as a browser does.
"""

import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from opsconsole.embedded.processes import wait_until
from opsconsole.environment import REPOSITORY
from tests import cluster

START_SECONDS: Final = 180.0  # on a busy machine; the figure for an idle one is held elsewhere
STOP_SECONDS: Final = 20.0
SIMULATED_MS: Final = 150  # long enough that a stop meets runs under way

_OURS = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "DJANGO_SETTINGS_MODULE", "DATA_DIR")
_PREFIXES = ("OPSCONSOLE_", "COV_")


@dataclass(kw_only=True)
class Console:
    """One running console. `people` has the password of each demo person."""

    data: Path
    port: int = field(default_factory=lambda: _free_port())
    people: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def ledger(self) -> Path:
        return self.data / "ledger.jsonl"

    def start(self) -> None:
        """Raises AssertionError, with what the console said, if it is not ready in time."""
        kept = {key: value for key, value in os.environ.items() if key not in _OURS}
        env = {key: value for key, value in kept.items() if not key.startswith(_PREFIXES)}
        env |= {name: os.environ[name] for name in (cluster.LIKE,) if name in os.environ}
        env |= {
            "DATA_DIR": str(self.data),
            "PORT": str(self.port),
            "OPSCONSOLE_SIMULATED_MS": str(SIMULATED_MS),
        }
        self._output = (self.data.parent / "console.out").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, "manage.py", "up"],
            cwd=REPOSITORY,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        ready = wait_until(self._told_or_gone, START_SECONDS, 0.05)
        assert ready, self.said()
        assert self._process.poll() is None, self.said()
        self.people = dict(
            line.split()[:2] for line in (self.data / "sign-ins.txt").read_text().splitlines() if line
        )

    def end(self) -> None:
        """Ctrl-C; killed only if that does not help."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its children end with it
            self._process.wait(STOP_SECONDS)
        self._output.close()

    def said(self) -> str:
        return (self.data.parent / "console.out").read_text()

    def put(self, file: str, text: str) -> None:
        """An invoice into the folder that runs know as “inbox”."""
        folder = self.data / "invoices"
        folder.mkdir(exist_ok=True)
        (folder / file).write_text(text, encoding="utf-8")

    def _told_or_gone(self) -> bool:
        return "The console is at" in self.said() or self._process.poll() is not None


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
