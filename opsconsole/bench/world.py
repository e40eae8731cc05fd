"""Everything one benchmark runs on: servers, tables, workers, lanes, and the process that drives. Measures nothing.

    python -m opsconsole.bench.world ORDER

The servers are the embedded ones with their production settings (fsync and synchronous_commit stay on). Processes are
forked as the console's own are. When this process ends, however it does, they end too.
"""

from __future__ import annotations

import importlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from opsconsole.bench.catalogue import Bench, named
from opsconsole.bench.order import Order, parse
from opsconsole.embedded import lease, places, postgres, processes
from opsconsole.environment import REPOSITORY
from opsconsole.supervisor import checks, children, layout, preload
from opsconsole.supervisor.children import Child, Spec

_TURN_SECONDS = 0.05
_STOP_SECONDS = 3.0
_FOREIGN = ("OPSCONSOLE_", "MODEL_", "OPENAI_", "ANTHROPIC_")
_FOREIGN_NAMES = (
    "DATABASE_URL",
    "REDIS_URL",
    "SECRET_KEY",
    "DATA_DIR",
    "PORT",
    "ALLOWED_HOSTS",
    "STATIC_ROOT",
)


class World:
    """The processes of one benchmark, from the servers to the last one ended."""

    def __init__(self, bench: Bench, order: Order) -> None:
        self._bench = bench
        self._order = order
        self._places = places.places_for(order.folder)
        self._children: list[Child] = []
        self._deaf: subprocess.Popen[str] | None = None

    def live(self) -> int:
        """Returns how the driving process ended."""
        _forget_the_callers_settings()
        os.environ.update(self._settings())
        places.prepare(self._places)
        processes.adopt_orphans()
        servers = lease.hold(self._order.folder)
        try:
            if self._bench.deaf:
                self._start_deaf_server()
            preload.load()
            if self._performed("prepare", _prepare):
                return 1
            self._start()
            return self._performed("driver", self._drive)
        finally:
            self._end()
            servers.close()

    def _settings(self) -> dict[str, str]:
        return {
            "DATA_DIR": str(self._order.folder),
            "SECRET_KEY": secrets.token_urlsafe(50),
            "OPSCONSOLE_APPS": "opsconsole.bench.flows",
            "OPSCONSOLE_LOG_LEVEL": "WARNING",
            "OPSCONSOLE_SIMULATED_MS": "0",
            "OPSCONSOLE_RUNS_INTAKE_LIMIT": "1000000",
            "OPSCONSOLE_RUNS_AGENT_THREADS": str(self._bench.threads),
            "BENCH_STAMPS": str(self._order.stamps),
            **self._bench.env,
        }

    def _start_deaf_server(self) -> None:
        parent = os.getpid()
        self._deaf = subprocess.Popen(
            [sys.executable, "-m", "opsconsole.bench.deaf", str(self._order.stamps)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: processes.die_with_parent(parent, signal.SIGKILL),
        )
        assert self._deaf.stdout is not None
        port = int(self._deaf.stdout.readline())
        os.environ["BENCH_DEAF"] = str(port)
        os.environ["MODEL_PROVIDERS"] = f"deaf=openai:http://127.0.0.1:{port}/v1"
        os.environ["MODEL_PRICES"] = "deaf/=0/0"

    def _start(self) -> None:
        listener = checks.listen("127.0.0.1", 0)
        with listener:  # the children have it by then
            self._order = replace(self._order, port=listener.getsockname()[1])
            os.environ["PORT"] = str(self._order.port)
            for spec in self._specs(listener.fileno()):
                child = Child(spec, os.environ, self._places.logs)
                self._children.append(child)
                child.start()

    def _specs(self, listener: int) -> list[Spec]:
        specs = layout.console(
            listener=listener,
            sockets=self._places.sockets,
            data_dir=self._places.data,
            agent_threads=self._bench.threads,
        )
        found = {spec.name: spec for spec in specs}
        wanted = [_worker(found["agents"], number) for number in range(1, self._bench.agents + 1)]
        if self._bench.web:
            wanted += [found[name] for name in ("pages", "control", "front")]
        if self._bench.ordinary:
            wanted += [found[name] for name in ("ordinary", "beat")]
        return wanted

    def _drive(self) -> None:
        from opsconsole.bench import drive

        drive.wait_for_workers(self._bench.agents)
        importlib.import_module(f"opsconsole.bench.{self._bench.module}").measure(self._order)

    def _performed(self, name: str, run: Callable[[], None]) -> int:
        """Run it in a process of its own; returns its exit code, 1 when another one of ours died meanwhile."""
        log = self._places.logs / f"{name}.log"
        pid = children.fork(name, log, dict(os.environ), (), run)
        try:
            while True:
                found, status = os.waitpid(pid, os.WNOHANG)
                if found:
                    return os.waitstatus_to_exitcode(status)
                dead = [child.spec.name for child in self._children if child.gone()]
                if dead:
                    print(f"{dead[0]} died; see its log (--keep)", file=sys.stderr)
                    return 1
                time.sleep(_TURN_SECONDS)
        finally:
            _kill_group(pid)

    def _all_gone(self) -> bool:
        return not [child for child in self._children if not child.gone()]  # asks every one: that reaps it

    def _end(self) -> None:
        for sig in (signal.SIGINT, signal.SIGTERM):  # it ends already
            signal.signal(sig, signal.SIG_IGN)
        for child in self._children:
            child.ask_to_stop()
        processes.wait_until(self._all_gone, _STOP_SECONDS)
        for child in self._children:
            child.kill()
        if self._deaf is not None:
            self._deaf.kill()
            self._deaf.wait()


def _forget_the_callers_settings() -> None:
    for name in list(os.environ):
        if name != postgres.LIKE and (name.startswith(_FOREIGN) or name in _FOREIGN_NAMES):
            del os.environ[name]


def _worker(spec: Spec, number: int) -> Spec:
    """The console's own worker, under another name: two of them are one name apart."""
    arguments = tuple(f"agents@bench{number}" if one == "agents@%h" else one for one in spec.arguments)
    return replace(spec, name=f"agents{number}", arguments=arguments)


def _prepare() -> None:
    from django.core.management import call_command

    call_command("check", tags=["workflows"])
    call_command("migrate", interactive=False, verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)


def _kill_group(pid: int) -> None:
    """What a driving process started goes with it."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _asked_to_end(*_: object) -> None:
    sys.exit(143)


def main(arguments: list[str]) -> int:
    order = parse(arguments[0])
    bench = named(order.bench)
    if bench is None:
        raise LookupError(f"there is no benchmark {order.bench!r}")
    signal.signal(signal.SIGTERM, _asked_to_end)
    Path(order.folder).mkdir(parents=True, exist_ok=True)
    return World(bench, order).live()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
