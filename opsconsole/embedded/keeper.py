"""The process that keeps the two servers of one data directory running while anybody needs them.

Whoever needs the servers holds a connection to the keeper's socket (see `lease`); it is told the two
addresses when they are ready. When the last connection closes, for whatever reason, the servers are
stopped. So commands, tests and the console share one pair of servers without counting anything that a
`kill -9` could leave wrong. Decides nothing about the product; imports no Django.
"""

import contextlib
import fcntl
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from opsconsole.embedded import postgres, processes, valkey
from opsconsole.embedded.places import Places, places_for, prepare
from opsconsole.environment import Refused

_START_SECONDS = 60.0
_START_TRIES = 10
_RETRY_SECONDS = 0.5
_FIRST_CLIENT_SECONDS = 15.0
_STOP_SECONDS = 4.0
_TICK_SECONDS = 0.2
_LOCK_SECONDS = 20.0


class Keeper:
    """Owns the two servers; every method runs in the main thread (PDEATHSIG asks for it)."""

    def __init__(self, places: Places, *, fast: bool) -> None:
        self._places = places
        self._fast = fast
        self._selector = selectors.DefaultSelector()
        self._clients: set[socket.socket] = set()
        self._leaving: list[socket.socket] = []
        self._had_client = False
        self._asked_to_stop = False
        self._postgres: postgres.Postgres | None = None
        self._valkey: valkey.Valkey | None = None
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def run(self) -> int:
        """Serve until nobody needs the servers. Returns the exit code."""
        listener = self._listen()
        for sig in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sig, self._ask_to_stop)
        code = 0
        try:
            self._start()
            self._serve(listener)
        except Refused as why:
            self._refuse(listener, str(why))
            code = 1
        finally:
            # New clients must not find us any more: they start the next keeper, which waits for the lock.
            self._places.keeper_socket.unlink(missing_ok=True)
            self._stop()
            for conn in (*self._clients, *self._leaving):
                conn.close()
        return code

    def _ask_to_stop(self, *_: object) -> None:
        self._asked_to_stop = True

    def _listen(self) -> socket.socket:
        self._places.keeper_socket.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self._places.keeper_socket))
        self._places.keeper_socket.chmod(0o600)
        listener.listen(64)
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)
        return listener

    def _start(self) -> None:
        self._valkey = valkey.prepare(self._places)
        self._processes["valkey"] = self._valkey.start()  # comes up while the cluster is made
        self._postgres = postgres.prepare(self._places, fast=self._fast)
        self._postgres.initialise()
        self._processes["postgres"] = self._postgres.start()
        self._wait_ready()

    def _wait_ready(self) -> None:
        assert self._postgres is not None
        assert self._valkey is not None
        servers: tuple[tuple[str, postgres.Postgres | valkey.Valkey], ...]
        servers = (("postgres", self._postgres), ("valkey", self._valkey))
        for name, server in servers:
            self._wait_for(name, server)

    def _wait_for(self, name: str, server: postgres.Postgres | valkey.Valkey) -> None:
        """Wait until it answers. What a killed one left behind may take a moment to go: some new tries."""
        deadline = time.monotonic() + _START_SECONDS
        tries = _START_TRIES
        while not server.ready():
            if self._processes[name].poll() is not None:
                tries -= 1
                if not tries:
                    raise Refused(f"The embedded {name} does not start: {self._last_words(name)}")
                time.sleep(_RETRY_SECONDS)
                self._processes[name] = server.start()
            if time.monotonic() > deadline:
                raise Refused(f"The embedded {name} did not start within {_START_SECONDS:.0f} s.")
            time.sleep(0.01)

    def _last_words(self, name: str) -> str:
        log = self._places.logs / f"{name}.log"
        said = log.read_text(errors="replace").strip().splitlines()[-20:] if log.exists() else []
        causes = [line for line in said if "FATAL" in line or "PANIC" in line]
        return (causes or said or [f"see {log}"])[-1]

    def _addresses(self) -> bytes:
        assert self._postgres is not None
        assert self._valkey is not None
        told = {"database_url": self._postgres.url(), "redis_url": self._valkey.url()}
        return json.dumps(told).encode() + b"\n"

    def _serve(self, listener: socket.socket) -> None:
        alone_since = time.monotonic()
        while not self._asked_to_stop:
            for key, _ in self._selector.select(_TICK_SECONDS):
                if key.fileobj is listener:
                    self._welcome(listener)
                else:
                    self._hear(key.fileobj)  # type: ignore[arg-type]  # only sockets are registered
            self._look_after()
            if self._clients:
                continue
            if self._had_client or time.monotonic() - alone_since > _FIRST_CLIENT_SECONDS:
                return

    def _welcome(self, listener: socket.socket) -> None:
        conn, _ = listener.accept()
        try:
            conn.sendall(self._addresses())
        except OSError:
            conn.close()
            return
        conn.setblocking(False)
        self._clients.add(conn)
        self._had_client = True
        self._selector.register(conn, selectors.EVENT_READ)

    def _hear(self, conn: socket.socket) -> None:
        """A client says nothing, until it leaves; the last one's connection stays open until all is down."""
        with contextlib.suppress(BlockingIOError):
            try:
                if conn.recv(64):
                    return
            except ConnectionError:
                pass
            self._selector.unregister(conn)
            self._clients.discard(conn)
            if self._clients:
                conn.close()
            else:
                self._leaving.append(conn)

    def _look_after(self) -> None:
        """A server that died is started again; what its orphans were is reaped."""
        for name, server in (("valkey", self._valkey), ("postgres", self._postgres)):
            if self._processes[name].poll() is not None:
                print(f"{name} ended with {self._processes[name].returncode}: starting it again", flush=True)
                assert server is not None
                self._processes[name] = server.start()
                time.sleep(0.2)
        processes.reap_strangers({process.pid for process in self._processes.values()})

    def _refuse(self, listener: socket.socket, sentence: str) -> None:
        print(sentence, flush=True)
        told = json.dumps({"error": sentence}).encode() + b"\n"
        with contextlib.suppress(OSError):
            while True:
                conn, _ = listener.accept()
                conn.sendall(told)
                self._leaving.append(conn)

    def _stop(self) -> None:
        for name, sig in (("postgres", signal.SIGINT), ("valkey", signal.SIGTERM)):
            if name in self._processes and self._processes[name].poll() is None:
                self._processes[name].send_signal(sig)
        deadline = time.monotonic() + _STOP_SECONDS
        for process in self._processes.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGQUIT)


def take_lock(places: Places) -> int | None:
    """The lock of this data directory, or None when a living keeper already listens there."""
    handle = os.open(places.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:
            # Held, and its socket is there: it serves. Held without a socket: it starts or stops; wait.
            if places.keeper_socket.exists() or time.monotonic() > deadline:
                os.close(handle)
                return None
            time.sleep(0.02)


def main(arguments: list[str]) -> int:
    """`python -m opsconsole.embedded.keeper DATA_DIR [--fast]`"""
    places = places_for(Path(arguments[0]))
    prepare(places)
    processes.adopt_orphans()
    if take_lock(places) is None:
        return 0
    return Keeper(places, fast="--fast" in arguments).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
