"""A whole console of its own (`manage.py up`, PostgreSQL and Valkey with their production settings), to be hurt.

It is looked at from outside: by its pages, its processes and plain SQL. Asserts nothing about runs.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg

from opsconsole.embedded import lease, processes
from opsconsole.environment import REPOSITORY
from tests import cluster
from tests.faults.fleet import until

START_SECONDS = 120.0  # ten on a quiet machine
OPERATIONS = 3  # of each process, after the last fault
_DUE = "hold = '' AND (state IN ('ready', 'running') OR state = 'sleeping' AND due_at <= now())"
_NOT_OURS = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "DATA_DIR", "DJANGO_SETTINGS_MODULE", "FAULT_MARKS")


class Console:
    """One console, from its start to the last of its processes ended."""

    def __init__(self, **settings: str | int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="opsconsole-faulty-"))
        self.folder.chmod(0o711)  # as root, the database runs under another account
        self.data = self.folder / "data"
        self.marks_file = self.folder / "marks.jsonl"
        self.marks_file.touch(mode=0o600)
        self._told_file = (
            self.folder / "told.jsonl"
        )  # what was acknowledged to whoever started a run by its form
        self._told_file.touch(mode=0o600)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = int(listener.getsockname()[1])
        kept = {
            key: value
            for key, value in os.environ.items()
            if key == cluster.LIKE or not key.startswith(("OPSCONSOLE_", "COV_"))
        }
        self.env = {key: value for key, value in kept.items() if key not in _NOT_OURS} | {
            "DATA_DIR": str(self.data),
            "PORT": str(self.port),
            "SECRET_KEY": secrets.token_urlsafe(50),
            "FAULT_MARKS": str(self.marks_file),
            "OPSCONSOLE_APPS": "tests.faults.load",
            "OPSCONSOLE_LOG_LEVEL": "WARNING",
            "OPSCONSOLE_SIMULATED_MS": "0",
            **{f"OPSCONSOLE_{name}": str(value) for name, value in settings.items()},
        }
        self._output = (self.folder / "said.txt").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, "manage.py", "up"],
            cwd=REPOSITORY,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._lease: lease.Lease | None = None
        self._session = ""

    def wait_ready(self) -> None:
        until(
            lambda: "The console is at" in self.said() or self._process.poll() is not None,
            "it is up",
            START_SECONDS,
        )
        assert self.ready(), self.said()
        self._lease = lease.acquire(self.data)
        self.watch()

    def said(self) -> str:
        """What its supervisor has printed."""
        return Path(self._output.name).read_text()

    def log(self, name: str) -> str:
        return (self.data / "logs" / f"{name}.log").read_text(errors="replace")

    # its pages

    def get(self, path: str, session: str = "") -> tuple[int, str]:
        return self._asked("GET", path, {"Cookie": session} if session else {})[:2]

    def ready(self) -> bool:
        try:
            return self.get("/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def page(self, path: str) -> bool:
        """Whether a signed-in person sees this page now. The first call signs in."""
        try:
            return self.get(path, self.session())[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def session(self) -> str:
        """The cookies of an operator."""
        self._session = self._session or self._sign_in()
        return self._session

    def start(self, workflow: str, number: int, **given: int) -> int:
        """Start a run by its form, as an operator does; returns its number."""
        session = self.session()
        token = SimpleCookie(session)["csrftoken"].value
        key, piece = f"load-{number}", {"number": number, "ms": 20, "step": 0, **given}
        fields = {f"field.{name}": str(value) for name, value in piece.items()}
        body = urlencode({"csrfmiddlewaretoken": token, "start_key": key, **fields})
        headers = {"Cookie": session, "Content-Type": "application/x-www-form-urlencoded"}
        status, page, _ = self._asked("POST", f"/runs/start/{workflow}", headers, body)
        assert status == 302, (status, page)
        run_id = int(
            self.value("SELECT id FROM runs_run WHERE workflow = %s AND start_key = %s", workflow, key)
        )
        with self._told_file.open("a") as told:
            told.write(json.dumps({"ok": True, "act": "start", "run": run_id, "key": key}) + "\n")
        return run_id

    def _sign_in(self) -> str:
        name, password = (self.data / "sign-ins.txt").read_text().splitlines()[0].split()[:2]
        _, form, cookies = self._asked("GET", "/sign-in", {})
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)
        assert found
        body = urlencode({"username": name, "password": password, "csrfmiddlewaretoken": found[1]})
        headers = {"Cookie": _sent(cookies), "Content-Type": "application/x-www-form-urlencoded"}
        status, _, cookies = self._asked("POST", "/sign-in", headers, body)
        assert status == 302, status
        return _sent(cookies)

    def _asked(
        self, method: str, path: str, headers: dict[str, str], body: str | None = None
    ) -> tuple[int, str, SimpleCookie]:
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        try:
            conn.request(method, path, body, {"Host": "localhost", **headers})
            response = conn.getresponse()
            cookies = SimpleCookie()
            for line in response.headers.get_all("Set-Cookie") or ():
                cookies.load(line)
            return response.status, response.read().decode(), cookies
        finally:
            conn.close()

    # its processes

    def children(self) -> dict[str, int]:
        """The supervised processes by name."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, IndexError):
                name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
                state, parent = rest.split()[:2]
                if int(parent) == self._process.pid and name.startswith("ops-") and state not in "ZX":
                    found[name.removeprefix("ops-")] = int(folder.name)
        return found

    def keeper(self) -> int:
        """Who starts the servers again."""
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (folder / "cmdline").read_bytes()
                if b"opsconsole.embedded.keeper" in command and os.fsencode(self.data) in command:
                    return int(folder.name)
        raise LookupError("the keeper is gone")

    def postmaster(self) -> int:
        return int((self.data / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])

    def valkey(self) -> int:
        return int((self.data / "valkey" / "valkey.pid").read_text())

    # its record

    @property
    def database_url(self) -> str:
        assert self._lease is not None
        return self._lease.database_url

    @property
    def acting_env(self) -> dict[str, str]:
        """The environment of a process that acts on this console."""
        assert self._lease is not None
        return self.env | {
            "DJANGO_SETTINGS_MODULE": "opsconsole.settings",
            "DATABASE_URL": self._lease.database_url,
            "REDIS_URL": self._lease.redis_url,
        }

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """What the database says. Raises psycopg.Error while it is away."""
        with psycopg.connect(self.database_url, connect_timeout=5, autocommit=True) as conn:
            return conn.execute(sql.encode(), values).fetchall()

    def value(self, sql: str, *values: Any) -> Any:
        return self.rows(sql, *values)[0][0]

    def watch(self) -> None:
        """Begin to note what the record cannot show afterwards."""
        self._checked("watch")

    def check(self, *logs: Path) -> None:
        """Fails with every sentence that is wrong about the record, or about what those clients were told."""
        self._checked("check", *map(str, (self._told_file, *logs)))

    # after the last fault

    def heal(self, seconds: float = 120.0) -> None:
        """Fails when a run that is due stays undone, or one of its processes does not do three things more, rightly."""
        until(lambda: self.ready(), "every part is ready", seconds)
        until(
            lambda: not self.value(f"SELECT count(*) FROM runs_run WHERE {_DUE}"),
            "the backlog is zero",
            seconds,
        )
        for path in ("/", "/controls/"):  # each by a lane of its own, both by the front
            answers = [self.get(path, self.session())[0] for _ in range(OPERATIONS)]
            assert answers == [200] * OPERATIONS, f"{path}: {answers}"
        self._ticks(seconds)
        self._performs(seconds)

    def _ticks(self, seconds: float) -> None:
        """Beat asks for a sweep and the ordinary worker performs it: only then somebody writes that beat was seen."""
        seen: set[Any] = set()

        def ticked() -> bool:
            seen.add(self.value("SELECT max(seen_at) FROM runs_worker WHERE kind = 'beat'"))
            return len(seen) > OPERATIONS

        until(ticked, f"{OPERATIONS} sweeps more by beat and the ordinary worker", seconds)

    def _performs(self, seconds: float) -> None:
        pid = self.children()["agents"]
        worker = self.value(
            "SELECT name FROM runs_worker WHERE pid = %s AND kind = 'agents' AND gone_at IS NULL", pid
        )
        before = self.value("SELECT coalesce(max(id), 0) FROM runs_attempt")
        probes = [self.start("load_long", next(_probes), ms=1) for _ in range(OPERATIONS)]
        until(
            lambda: (
                not self.value("SELECT count(*) FROM runs_run WHERE id = ANY(%s) AND state <> 'done'", probes)
            ),
            f"{OPERATIONS} runs more are done",
            seconds,
        )
        last = self.rows(
            "SELECT state FROM runs_attempt WHERE worker = %s AND id > %s ORDER BY id DESC LIMIT %s",
            *(worker, before, OPERATIONS),
        )
        assert last == [("done",)] * OPERATIONS, f"{worker}: {last}"

    def _checked(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "tests.faults.checked", *arguments]
        done = subprocess.run(
            command, cwd=REPOSITORY, env=self.acting_env, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]

    def marks(self) -> list[tuple[str, int, int, float]]:
        """What steps have said: a word, a number, a step, when."""
        return [tuple(json.loads(line)) for line in self.marks_file.read_text().splitlines()]

    # its end

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its children die with it
            self._process.wait()
        self._output.close()
        if self._lease is not None:
            self._lease.close()
        processes.wait_until(lambda: not (self.data / "postgres" / "postmaster.pid").exists(), 10)
        shutil.rmtree(self.folder, ignore_errors=True)


def _sent(cookies: SimpleCookie) -> str:
    return "; ".join(f"{name}={morsel.value}" for name, morsel in cookies.items())


_firsts = itertools.count(1, 1_000_000)
_probes = itertools.count(900_000_000)


class Clients:
    """The process that acts on a console: see `clients.py`. Its list of what was acknowledged is its own."""

    def __init__(self, console: Console, **load: float | str) -> None:
        load = {"first": next(_firsts), **load}
        self.log = console.folder / f"acts-{time.monotonic_ns()}.jsonl"
        self.log.touch(mode=0o600)
        self._complaints = self.log.with_suffix(".log").open("wb")
        parent = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.clients", str(self.log), json.dumps(load)],
            cwd=REPOSITORY,
            env=console.acting_env,
            stdin=subprocess.PIPE,
            stderr=self._complaints,
            preexec_fn=lambda: processes.die_with_parent(parent, signal.SIGKILL),
        )

    def acts(self) -> list[dict[str, Any]]:
        """Every act, in the order in which it returned or failed."""
        lines = self.log.read_text().split("\n")[:-1]  # the last line may still be written
        return [json.loads(line) for line in lines]

    def acknowledged(self, act: str) -> list[dict[str, Any]]:
        return [one for one in self.acts() if one["act"] == act and one["ok"]]

    def end(self) -> None:
        """No more acts: it ends when those under way have returned."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._complaints.close()


@contextlib.contextmanager
def clients(console: Console, **load: float | str) -> Iterator[Clients]:
    acting = Clients(console, **load)
    try:
        yield acting
    finally:
        acting.end()
