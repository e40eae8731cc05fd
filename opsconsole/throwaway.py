"""A database for one command: made as Django's test runner makes one, migrated, and dropped at its end.

The console's own database is not touched. One that a killed command left behind is dropped by the next.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import sys
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from django.db import connection

from opsconsole.embedded.processes import answers
from opsconsole.environment import Refused
from runs.engine import lanes

_PREFIX = "test_check_"


@contextlib.contextmanager
def database() -> Iterator[str]:
    """While inside, this process works on a fresh database; gives its name. Raises Refused."""
    _may_create()
    own = connection.settings_dict["NAME"]
    name = f"{_PREFIX}{_machine()}_{os.getpid()}"
    connection.settings_dict["TEST"]["NAME"] = name
    _drop_left_behind()
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leave as after Ctrl-C: in order
    try:
        _make()
        try:
            yield name
        finally:
            lanes.close()
            connection.creation.destroy_test_db(own, verbosity=0)
    finally:
        signal.signal(signal.SIGTERM, before)


def _make() -> None:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    except SystemExit as error:  # Django's way of saying that it could not
        raise Refused(
            f"No database could be made for this command: {said.getvalue().strip()[:300]}"
        ) from error


def _may_create() -> None:
    row = _asked("SELECT rolcreatedb OR rolsuper, rolname FROM pg_roles WHERE rolname = current_user")
    if row and not row[0][0]:
        raise Refused(
            f"This command makes a database of its own and drops it, and {row[0][1]} may not: "
            "grant it CREATEDB, or leave DATABASE_URL and REDIS_URL unset to use the embedded servers."
        )


def _drop_left_behind() -> None:
    mine = f"{_PREFIX}{_machine()}_"
    for (name,) in _asked("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", mine):
        pid = name.removeprefix(mine)
        if pid.isdigit() and not answers(int(pid)):
            with contextlib.suppress(Exception), connection.creation._nodb_cursor() as cursor:  # type: ignore[attr-defined]
                cursor.execute(f"DROP DATABASE {connection.ops.quote_name(name)}")


def _asked(sql: str, *values: Any) -> list[Any]:
    with connection.creation._nodb_cursor() as cursor:  # type: ignore[attr-defined]
        cursor.execute(sql, values)
        found: list[Any] = cursor.fetchall()
        return found


def _machine() -> str:
    """Process numbers mean nothing on another machine, or in another container."""
    return sha256(socket.gethostname().encode()).hexdigest()[:8]
