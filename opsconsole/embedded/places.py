"""Where the embedded servers keep their files. Starts nothing."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from opsconsole.environment import Refused

# sockaddr_un holds 108 bytes on Linux and 104 on macOS, the closing zero included.
LONGEST_SOCKET_PATH = 103
_LONGEST_NAME = len("/postgres/.s.PGSQL.5432.lock")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Every path the embedded servers use for one data directory."""

    data: Path
    sockets: Path

    @property
    def cluster(self) -> Path:
        return self.data / "postgres"

    @property
    def valkey(self) -> Path:
        return self.data / "valkey"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def installed(self) -> Path:
        return self.data / "postgres-install"

    @property
    def lock(self) -> Path:
        return self.data / "keeper.lock"

    @property
    def password(self) -> Path:
        return self.data / "postgres-password"

    @property
    def keeper_socket(self) -> Path:
        return self.sockets / "keeper.sock"

    @property
    def valkey_socket(self) -> Path:
        return self.sockets / "valkey.sock"

    @property
    def postgres_sockets(self) -> Path:
        return self.sockets / "postgres"


def places_for(data_dir: Path) -> Places:
    """The paths for one data directory; the same on every start, so that clients can reconnect."""
    data = data_dir.resolve()
    sockets = data / "sockets"
    if len(os.fsencode(sockets)) + _LONGEST_NAME > LONGEST_SOCKET_PATH:
        sockets = _short_place(data)
    return Places(data=data, sockets=sockets)


def prepare(places: Places) -> None:
    """Make the directories, or say in one sentence why not (raises Refused)."""
    # Root's server runs under another account, which must be able to pass through; the files are 0600.
    mode = 0o711 if os.geteuid() == 0 else 0o700
    for directory in (places.data, places.sockets, places.logs):
        _make(directory, mode)
    if places.sockets.stat().st_uid != os.geteuid():
        raise Refused(f"{places.sockets} belongs to another account; remove it or choose another DATA_DIR.")


def _short_place(data: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"opsconsole-{os.geteuid()}-{digest}"


def _make(directory: Path, mode: int) -> None:
    if directory.is_dir() and os.access(directory, os.W_OK | os.X_OK):
        return
    try:
        directory.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as why:
        raise Refused(f"Cannot write to {directory} ({why.strerror}); choose another DATA_DIR.") from why
    if not os.access(directory, os.W_OK | os.X_OK):
        raise Refused(
            f"Cannot write to {directory} (it belongs to another account); choose another DATA_DIR."
        )
