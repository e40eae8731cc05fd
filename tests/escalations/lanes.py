"""A lane of the console as a process of its own, on the test's database, for tests with real sockets."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from opsconsole.embedded.processes import wait_until
from opsconsole.environment import REPOSITORY

START_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A daphne that serves pages and sockets; `log` has whatever it said."""

    port: int
    log: Path

    @property
    def address(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/live"

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def headers(self, user: User) -> dict[str, str]:
        """What a browser sends whose person is signed in."""
        client = Client()
        client.force_login(user)
        cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
        return {"Cookie": f"{settings.SESSION_COOKIE_NAME}={cookie}"}


@contextlib.contextmanager
def lane(folder: Path, valkey: str) -> Iterator[Lane]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = folder / "lane.log"
    command = [sys.executable, "-m", "daphne", "-p", str(port), "-v", "0", "opsconsole.asgi:application"]
    environment = dict(os.environ, DATABASE_URL=database_url(), REDIS_URL=valkey)
    with log.open("w") as said:
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=said, stderr=said)
    try:
        assert wait_until(lambda: _listens(port) or process.poll() is not None, START_SECONDS)
        assert process.poll() is None, log.read_text()
        yield Lane(port=port, log=log)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def database_url() -> str:
    """The test database of this process, as an address."""
    given = connection.settings_dict
    who = f"{quote(given['USER'])}:{quote(given['PASSWORD'])}"
    host, port = str(given["HOST"]), str(given["PORT"])
    if host.startswith("/"):
        return f"postgresql://{who}@/{given['NAME']}?host={quote(host)}" + (f"&port={port}" if port else "")
    return f"postgresql://{who}@{host}:{port or 5432}/{given['NAME']}"
