"""The console as a new person meets it: a clean clone, `make run`, Ctrl-C, and what can go wrong."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from opsconsole import environment
from opsconsole.embedded.processes import wait_until
from tests import patience
from tests.faults import figures

COLD_SECONDS, WARM_SECONDS, STOP_SECONDS = 60.0, 10.0, 5.0
ORDINARY = 33  # www-data on Debian; any account that is not root will do


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@dataclass
class Start:
    """One `make run`, and how to look at it from outside."""

    clone: Path
    data: Path
    port: int = field(default_factory=free_port)
    extra: dict[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    has_data: bool = True  # false for a second start on another's data
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        ours = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "DJANGO_SETTINGS_MODULE", "VIRTUAL_ENV")
        begins = ("OPSCONSOLE_", "MAKE", "MFLAGS", "COV_")  # of the `make test` that we may be part of
        kept = {key: os.environ[key] for key in os.environ if key not in ours and not key.startswith(begins)}
        env = kept | {"PORT": str(self.port), "DATA_DIR": str(self.data), "OPSCONSOLE_MARK": self.mark}
        self.begun = time.monotonic()
        self.output = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed by end)
        self.process = subprocess.Popen(
            [*self.prefix, "make", "run"],
            cwd=self.clone,
            env=env | self.extra,
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def said(self) -> str:
        self.output.seek(0)
        return self.output.read()

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=patience.SECONDS)
        try:
            conn.request("GET", path)
            response = conn.getresponse()
            return response.status, json.loads(response.read())
        finally:
            conn.close()

    def text(self, path: str) -> str:
        """The body of a page that must be there."""
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=patience.SECONDS)
        try:
            conn.request("GET", path)
            response = conn.getresponse()
            assert response.status == 200, (path, response.status)
            return response.read().decode()
        finally:
            conn.close()

    def ready(self) -> bool:
        try:
            return self.get("/readyz")[0] == 200
        except (OSError, http.client.HTTPException, ValueError):
            return False

    def wait_ready(self, seconds: float) -> float:
        """Seconds from the start to the address being told."""

        def told() -> bool:
            return "The console is at" in self.said() or self.process.poll() is not None

        assert wait_until(told, seconds, 0.05), self.said()
        took = time.monotonic() - self.begun
        assert self.ready(), self.said()
        return took

    def interrupt(self) -> float:
        """Ctrl-C as a terminal sends it: to the whole group. Seconds until make has ended."""
        begun = time.monotonic()
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(patience.SECONDS)
        return time.monotonic() - begun

    def supervisor(self) -> int:
        return int((self.data / "console.lock").read_text().rsplit(" ", 1)[1])

    def children(self) -> dict[str, int]:
        """The supervised processes by name."""
        found = {}
        for pid in self.alive():
            with contextlib.suppress(OSError):  # gone meanwhile
                name = Path(f"/proc/{pid}/comm").read_text().strip()
                if name.startswith("ops-"):
                    found[name.removeprefix("ops-")] = pid
        return found

    def alive(self) -> list[int]:
        """Every process of this start that lives: by the mark in its environment, or its data directory."""
        # PostgreSQL is given an environment of its own, without the mark.
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                ours = self.mark.encode() in (folder / "environ").read_bytes()
                ours = ours or (self.has_data and os.fsencode(self.data) in (folder / "cmdline").read_bytes())
                zombie = (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
            except OSError:
                continue
            if ours and not zombie:
                found.append(int(folder.name))
        return found

    def end(self) -> None:
        """For the clean-up: nothing may be left, whatever the test did."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        wait_until(lambda: not self.alive(), 20)
        for pid in self.alive():
            os.kill(pid, signal.SIGKILL)
        self.output.close()


@pytest.fixture(scope="module")
def clone() -> Iterator[Path]:
    """What was committed, in a folder that another account can pass through."""
    parent = Path(tempfile.mkdtemp(prefix="console-"))
    parent.chmod(0o711)
    subprocess.run(["git", "clone", "-q", str(environment.REPOSITORY), str(parent / "clone")], check=True)
    yield parent / "clone"
    shutil.rmtree(parent, ignore_errors=True)


@pytest.fixture(scope="module")
def first(clone: Path) -> Iterator[Start]:
    """The very first start: it installs, too."""
    start = Start(clone, clone / ".data")
    start.took = start.wait_ready(figures.room(COLD_SECONDS))  # type: ignore[attr-defined]
    yield start
    start.end()


def _tell(what: str, target: float, took: float) -> None:
    figures.tell(what, target=f"{target:g} s", measured=f"{took:.1f} s", n=1)


def test_the_first_start_takes_a_minute_at_most(first: Start) -> None:
    took = first.took  # type: ignore[attr-defined]
    _tell("the first start, with everything installed", COLD_SECONDS, took)
    assert took <= figures.room(COLD_SECONDS), first.said()


def test_progress_the_address_and_the_sign_ins_are_printed(first: Start) -> None:
    said = first.said()
    for part in (
        "Installing the packages",
        "Starting PostgreSQL and Valkey",
        f"http://localhost:{first.port}/",
    ):
        assert part in said
    kept = first.data / "sign-ins.txt"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.read_text().strip() in said
    for role in ("operator", "admin", "auditor"):
        assert role in said


def test_every_part_is_ready(first: Start) -> None:
    status, body = first.get("/readyz")
    assert status == 200
    assert all(part["ok"] for part in body["parts"].values())
    assert first.get("/healthz") == (200, {"status": "ok"})


def test_static_files_are_served_from_the_very_first_start(first: Start) -> None:
    page = first.text("/sign-in")
    found = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
    assert found
    for path in found:
        assert first.text(path), path


def test_a_second_start_on_the_same_data_says_so(first: Start, clone: Path) -> None:
    second = Start(clone, first.data, has_data=False)
    try:
        assert second.process.wait(patience.SECONDS) != 0
        assert f"A console already runs on {first.data}" in second.said()
        assert f"process {first.supervisor()}" in second.said()
    finally:
        second.end()
    assert first.ready()


def test_a_port_in_use_is_one_sentence(first: Start, clone: Path) -> None:
    other = Start(clone, clone.parent / "other-data", port=first.port)
    try:
        assert other.process.wait(patience.SECONDS) != 0
        assert f"Port {first.port} is in use by another program; choose another with PORT=" in other.said()
        assert "Traceback" not in other.said()
    finally:
        other.end()


def test_a_full_disk_is_one_sentence(clone: Path, first: Start) -> None:
    other = Start(clone, clone.parent / "other-data", extra={"OPSCONSOLE_LEAST_FREE_MB": "999999999"})
    try:
        assert other.process.wait(patience.SECONDS) != 0
        assert "MB are free for" in other.said()
        assert "Traceback" not in other.said()
    finally:
        other.end()


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ({"PORT": "abc"}, "PORT must be a whole number"),
        ({"DATABASE_URL": "postgresql://u:p@h/n"}, "DATABASE_URL is set and REDIS_URL is not"),
        ({"DATA_DIR": "/proc/nowhere"}, "choose another DATA_DIR"),
    ],
)
def test_a_bad_setting_is_one_sentence(
    clone: Path, first: Start, extra: dict[str, str], sentence: str
) -> None:
    other = Start(clone, clone.parent / "other-data", extra=extra)
    try:
        assert other.process.wait(patience.SECONDS) != 0
        assert sentence in other.said()
        assert "Traceback" not in other.said()
    finally:
        other.end()


def test_a_command_shares_the_servers_of_the_running_console(first: Start, clone: Path) -> None:
    before = sorted(first.alive())
    code = "from runs.models import Worker; print('agents', Worker.objects.filter(kind='agents').count())"
    done = subprocess.run(
        [clone / ".venv/bin/python", "manage.py", "shell", "-v", "0", "-c", code],
        cwd=clone,
        env={"PATH": os.environ["PATH"], "DATA_DIR": str(first.data)},
        capture_output=True,
        text=True,
        timeout=2 * patience.SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert "agents 1" in done.stdout
    assert sorted(first.alive()) == before


@pytest.mark.parametrize("name", ["agents", "ordinary", "beat", "pages", "control", "front"])
def test_a_killed_process_is_started_again(first: Start, name: str) -> None:
    killed = first.children()[name]
    os.kill(killed, signal.SIGKILL)
    assert wait_until(lambda: first.children().get(name, killed) != killed, patience.SECONDS)
    assert wait_until(first.ready, patience.SECONDS), first.get("/readyz")
    assert f"{name} ended (killed by SIGKILL): starting it again" in first.said()


def _pid_in(file: Path) -> int:
    return int(file.read_text().split("\n", 1)[0])


def test_the_console_recovers_when_both_servers_are_killed(first: Start) -> None:
    for file in (first.data / "postgres/postmaster.pid", first.data / "valkey/valkey.pid"):
        os.kill(_pid_in(file), signal.SIGKILL)
    assert wait_until(lambda: not first.ready(), patience.SECONDS, 0.01)
    # Beat's row proves the whole way: beat, Valkey, a worker, PostgreSQL.
    assert wait_until(first.ready, 2 * patience.SECONDS, 0.2), first.get("/readyz")


def test_the_second_start_is_fast_prints_no_secret_and_stops_in_order(clone: Path, first: Start) -> None:
    data = clone.parent / "second-data"
    cold = Start(clone, data)
    try:
        cold.wait_ready(figures.room(COLD_SECONDS))
        _tell("Ctrl-C", STOP_SECONDS, took := cold.interrupt())
        assert took <= figures.room(STOP_SECONDS)
        assert wait_until(lambda: not cold.alive(), patience.SECONDS), cold.said()
    finally:
        cold.end()
    warm = Start(clone, data)
    try:
        took = warm.wait_ready(figures.room(COLD_SECONDS))
        _tell("a later start", WARM_SECONDS, took)
        assert took <= figures.room(WARM_SECONDS), warm.said()
        assert (data / "sign-ins.txt").read_text().strip() not in warm.said()
        os.kill(warm.supervisor(), signal.SIGKILL)
        assert wait_until(lambda: not warm.alive(), figures.room(STOP_SECONDS)), warm.alive()
    finally:
        warm.end()


def test_the_console_recovers_when_the_keeper_is_killed_too(first: Start) -> None:
    (keeper,) = [
        pid for pid in first.alive() if b"embedded.keeper" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    before = first.children()
    for pid in (
        keeper,
        *map(_pid_in, (first.data / "postgres/postmaster.pid", first.data / "valkey/valkey.pid")),
    ):
        os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not first.ready(), patience.SECONDS, 0.01)
    assert wait_until(first.ready, 2 * patience.SECONDS, 0.2), first.said()
    assert first.children() == before, first.said()


# An ordinary user cannot run a Python below root's home: the system's own is for everybody.
_SYSTEM_PYTHON = "/usr/bin/python3"


def _system_python_will_do() -> bool:
    check = "import sys, ensurepip; sys.exit(sys.version_info < (3, 11))"
    return Path(_SYSTEM_PYTHON).exists() and not subprocess.run([_SYSTEM_PYTHON, "-c", check]).returncode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an ordinary user")
@pytest.mark.skipif(not shutil.which("setpriv"), reason="there is no setpriv")
@pytest.mark.skipif(not _system_python_will_do(), reason="the system has no Python 3.11 with ensurepip")
def test_an_ordinary_user_installs_and_runs_it(clone: Path) -> None:
    home = clone.parent / "ordinary"
    subprocess.run(["git", "clone", "-q", str(clone), str(home)], check=True)
    subprocess.run(["chown", "-R", f"{ORDINARY}:{ORDINARY}", str(home)], check=True)
    as_other = ("setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups")
    start = Start(home, home / ".data", prefix=as_other, extra={"HOME": str(home), "PY": _SYSTEM_PYTHON})
    try:
        start.wait_ready(figures.room(COLD_SECONDS))
        assert {Path(f"/proc/{pid}").stat().st_uid for pid in start.alive()} == {ORDINARY}
        assert start.interrupt() <= figures.room(STOP_SECONDS)
        assert wait_until(lambda: not start.alive(), patience.SECONDS), start.said()
    finally:
        start.end()
