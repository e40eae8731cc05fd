"""A stopped cluster with all tables, made once for a session and copied wherever a test wants servers of its own.

The tables are in template1: every database that is created there has them, the tests' own as well, and no migration
is applied again.

    python -m tests.cluster FOLDER

Who tests a start from nothing, or a migration, takes LIKE out of the environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

from opsconsole.embedded import lease
from opsconsole.embedded.places import places_for
from opsconsole.embedded.postgres import LIKE, NAME
from opsconsole.environment import REPOSITORY

__all__ = ["LIKE", "made"]


def made() -> Path:
    """The folder of a new one. Raises RuntimeError with what its making said."""
    folder = Path(tempfile.mkdtemp(prefix="opsconsole-like-"))
    folder.chmod(0o711)  # as root, the database runs under another account
    command = [sys.executable, "-m", "tests.cluster", str(folder)]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "opsconsole.settings", "DATA_DIR": str(folder)}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(done.stdout + done.stderr)
    return folder


def _make(folder: Path) -> None:
    held = lease.hold(folder, fast=True)
    parts = urlsplit(held.database_url)
    model, beside = (urlunsplit(parts._replace(path=f"/{name}")) for name in ("template1", "postgres"))
    os.environ["DATABASE_URL"] = model

    import django
    from django.core.management import call_command
    from django.db import connections

    django.setup()
    from runs.engine import lanes

    call_command("migrate", interactive=False, verbosity=0)
    lanes.close()
    connections.close_all()
    # A database with somebody connected to it is not copied.
    connections["default"].close_pool()  # type: ignore[attr-defined]  # PostgreSQL's has one
    with psycopg.connect(beside, autocommit=True) as conn:
        conn.execute(f"DROP DATABASE {NAME}".encode())
        conn.execute(f"CREATE DATABASE {NAME}".encode())
    held.close()
    cluster = places_for(folder).cluster
    if (cluster / "postmaster.pid").exists():
        raise RuntimeError("PostgreSQL has not stopped in order")
    (cluster / ".complete").unlink()  # a copy says so itself, when it is


if __name__ == "__main__":
    _make(Path(sys.argv[1]))
