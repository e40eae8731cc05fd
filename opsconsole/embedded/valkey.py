"""Starts the embedded Valkey: a unix socket only its owner may use, no TCP port, append-only file."""

import os
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from opsconsole.embedded import binaries, processes
from opsconsole.embedded.places import Places
from opsconsole.environment import Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Valkey:
    """One server: how to start it. Made by `prepare`."""

    places: Places
    binary: Path

    def url(self) -> str:
        return f"unix://{self.places.valkey_socket}?db=0"

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server, after an orphan of an earlier start is gone. From the main thread."""
        self.places.valkey.mkdir(mode=0o700, exist_ok=True)
        self._end_orphan()
        parent = os.getpid()
        log = (self.places.logs / "valkey.log").open("ab")
        with log:
            process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: processes.die_with_parent(parent, signal.SIGTERM),
            )
        self._pid_file().write_text(str(process.pid))
        return process

    def ready(self) -> bool:
        """Whether it answers PING; while it loads its file it answers with an error."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as conn:
            conn.settimeout(1)
            try:
                conn.connect(str(self.places.valkey_socket))
                conn.sendall(b"PING\r\n")
                return conn.recv(64).startswith(b"+PONG")
            except OSError:
                return False

    def _command(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.places.valkey_socket),
            "unixsocketperm": "700",
            "dir": str(self.places.valkey),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "loglevel": "warning",
        }
        return [str(self.binary), *(part for key, value in options.items() for part in (f"--{key}", value))]

    def _pid_file(self) -> Path:
        return self.places.valkey / "valkey.pid"

    def _end_orphan(self) -> None:
        # A second server on the same append-only file would not be refused by Valkey itself.
        try:
            pid = int(self._pid_file().read_text())
        except (OSError, ValueError):
            return
        if not processes.end(pid, self.binary.name, (signal.SIGTERM, signal.SIGKILL)):
            raise Refused(f"Another Valkey (process {pid}) holds {self.places.valkey} and does not stop.")


def prepare(places: Places) -> Valkey:
    """Find the binary for this data directory. Raises Refused."""
    return Valkey(places=places, binary=binaries.valkey_server())
