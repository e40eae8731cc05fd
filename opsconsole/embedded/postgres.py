"""Starts and stops the embedded PostgreSQL. Creates the database, never its tables.

PostgreSQL refuses to run as root. As root we therefore run it as an existing unprivileged account, or,
where that account could not reach the data, in a user namespace in which root is seen as that account.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from opsconsole.embedded import binaries, processes
from opsconsole.embedded.places import Places, places_for
from opsconsole.environment import Refused, secret_file

NAME = "opsconsole"
LIKE = "OPSCONSOLE_CLUSTER_LIKE"  # for tests: a data directory whose stopped cluster is copied instead of making one
_PORT = 5432  # only names the socket file; no TCP port is opened
_SERVER_OPTIONS = {
    "listen_addresses": "",
    "port": str(_PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "autovacuum_naptime": "15s",
}
# For tests only: a machine that loses power may lose the cluster.
_FAST_OPTIONS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """As whom the server runs, and by which way it becomes that."""

    uid: int
    gid: int
    way: str  # "same", "drop" or "namespace"

    def owner(self) -> tuple[int, int]:
        """Who owns the server's files on disk."""
        return (self.uid, self.gid) if self.way == "drop" else (os.geteuid(), os.getegid())

    def enter(self) -> None:
        """In the child, before exec."""
        if self.way == "drop":
            os.setgroups([])
            os.setgid(self.gid)
            os.setuid(self.uid)
        elif self.way == "namespace":
            processes.enter_user_namespace(self.uid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """One cluster: how to start it. Made by `prepare`."""

    places: Places
    install: Path
    account: Account
    fast: bool

    def url(self) -> str:
        """The address clients use. The password is random and lives in a 0600 file."""
        host = quote(str(self.places.postgres_sockets), safe="")
        password = self.places.password.read_text().strip()
        return f"postgresql://{NAME}:{password}@/{NAME}?host={host}&port={_PORT}"

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server, after an orphan of an earlier start is gone. From the main thread."""
        self._end_orphan()
        options = dict(_SERVER_OPTIONS, unix_socket_directories=str(self.places.postgres_sockets))
        if self.fast:
            options |= _FAST_OPTIONS
        command = [str(self.install / "bin" / "postgres"), "-D", str(self.places.cluster)]
        for key, value in options.items():
            command += ["-c", f"{key}={value}"]
        log = (self.places.logs / "postgres.log").open("ab")
        with log:
            return subprocess.Popen(
                command,
                cwd=self.places.sockets,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=self._in_child(os.getpid()),
            )

    def ready(self) -> bool:
        """Whether the postmaster says in its pid file that it accepts connections."""
        try:
            lines = (self.places.cluster / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def initialise(self) -> None:
        """Make the cluster if it is not there: seconds, once. Raises Refused."""
        _own(self.places.cluster, self.account)
        _own(self.places.postgres_sockets, self.account)
        like = _like()
        known = like.password.read_text() if like else secrets.token_urlsafe(24)
        password = secret_file(self.places.password, known)
        if (self.places.cluster / "PG_VERSION").exists() and (self.places.cluster / ".complete").exists():
            return
        _empty(self.places.cluster)
        if like and password == known:
            self._copy(like.cluster)
        else:
            self._initdb()
            self._create_database()
        done = self.places.cluster / ".complete"
        done.touch(mode=0o600)
        os.chown(done, *self.account.owner())

    def _copy(self, cluster: Path) -> None:
        subprocess.run(["cp", "-a", f"{cluster}/.", str(self.places.cluster)], check=True)
        _own(self.places.cluster, self.account)

    def _initdb(self) -> None:
        # The password goes through a pipe: no second file, and readable by the account it becomes.
        reader, writer = os.pipe()
        if os.geteuid() == 0:
            os.fchown(reader, *self.account.owner())
        os.write(writer, self.places.password.read_bytes() + b"\n")
        os.close(writer)
        command = [str(self.install / "bin" / "initdb"), "-D", str(self.places.cluster), "-U", NAME]
        command += ["--auth=scram-sha-256", f"--pwfile=/dev/fd/{reader}", "--encoding=UTF8"]
        command += ["--locale=C.UTF-8", "--locale-provider=builtin", "--no-sync", "--no-instructions"]
        try:
            self._run(command, pass_fds=(reader,))
        finally:
            os.close(reader)

    def _create_database(self) -> None:
        command = [str(self.install / "bin" / "postgres"), "--single", "-D", str(self.places.cluster)]
        self._run([*command, "postgres"], stdin=f"CREATE DATABASE {NAME}\n".encode())

    def _run(self, command: list[str], *, stdin: bytes = b"", pass_fds: tuple[int, ...] = ()) -> None:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            cwd=self.places.sockets,
            env=_environment(),
            pass_fds=pass_fds,
            preexec_fn=self._in_child(os.getpid()),
            check=False,
        )
        if done.returncode != 0:
            said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
            raise Refused(f"PostgreSQL's {Path(command[0]).name} failed: {said[-1] if said else 'no output'}")

    def _in_child(self, parent: int) -> Callable[[], None]:
        def enter() -> None:
            self.account.enter()
            processes.die_with_parent(parent, signal.SIGINT)

        return enter

    def _end_orphan(self) -> None:
        pid_file = self.places.cluster / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return
        if not processes.end(pid, "postgres", (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)):
            raise Refused(
                f"Another PostgreSQL (process {pid}) holds {self.places.cluster} and does not stop."
            )
        # Killed, it left its locks behind; another program may have its number by now.
        socket = self.places.postgres_sockets / f".s.PGSQL.{_PORT}"
        for left in (pid_file, socket, socket.with_name(f"{socket.name}.lock")):
            left.unlink(missing_ok=True)


def prepare(places: Places, *, fast: bool) -> Postgres:
    """Choose the account and the binaries for this data directory. Raises Refused."""
    install = binaries.postgres_install()
    account = choose_account(places)
    if account.way == "drop" and not passable(install / "bin"):
        install = binaries.copy_install(install, places.installed)
    return Postgres(places=places, install=install, account=account, fast=fast)


def choose_account(places: Places) -> Account:
    """As whom to run: ourselves; as root an unprivileged account that can reach the data."""
    if os.geteuid() != 0:
        return Account(uid=os.geteuid(), gid=os.getegid(), way="same")
    nobody = _unprivileged()
    if passable(places.data) and passable(places.sockets):
        return Account(uid=nobody.pw_uid, gid=nobody.pw_gid, way="drop")
    if namespaces_work():
        return Account(uid=nobody.pw_uid, gid=nobody.pw_gid, way="namespace")
    raise Refused(
        f"PostgreSQL does not run as root, and the account {nobody.pw_name} cannot reach {places.data}: "
        "set DATA_DIR to a directory that others may pass through, or start as an ordinary user."
    )


def passable(directory: Path) -> bool:
    """Whether any account may pass through to this directory."""
    resolved = directory.resolve()
    return all(place.stat().st_mode & 0o001 for place in (resolved, *resolved.parents))


def _unprivileged() -> pwd.struct_passwd:
    for name in ("nobody", "daemon"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise Refused(
        "PostgreSQL does not run as root and there is no account `nobody`: start as an ordinary user."
    )


def namespaces_work() -> bool:
    """Whether root may be seen as another account in a user namespace; some containers forbid it."""
    uid = _unprivileged().pw_uid
    try:
        probe = subprocess.run(
            ["/bin/true"], preexec_fn=lambda: processes.enter_user_namespace(uid), check=False
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return probe.returncode == 0


def _like() -> Places | None:
    named = os.environ.get(LIKE)
    return places_for(Path(named)) if named else None


def _own(directory: Path, account: Account) -> None:
    """Make the directory the server's own; a tree of another start's account is handed over."""
    directory.mkdir(mode=0o700, exist_ok=True)
    owner = account.owner()
    if directory.stat().st_uid == owner[0]:
        return
    for path in (directory, *directory.rglob("*")):
        os.chown(path, *owner, follow_symlinks=False)


def _empty(directory: Path) -> None:
    """A cluster whose making was interrupted holds nothing: nobody has ever connected to it."""
    for path in directory.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _environment() -> dict[str, str]:
    # PGDATA, PGPORT and the like of the caller's shell must not reach our server.
    kept = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH")
    return {key: os.environ[key] for key in kept if key in os.environ} | {"LC_ALL": "C", "TZ": "UTC"}
