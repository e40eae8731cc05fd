"""Starts, freezes, kills and ends real worker processes, and waits for what they do. Asserts nothing about runs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opsconsole.embedded import processes
from opsconsole.environment import REPOSITORY
from runs.models import Worker

LEASE_SECONDS = 2
LONG_LEASE = 30  # seconds: for tests in which nobody may lose one, however busy the machine
PATIENCE_SECONDS = 120.0  # for what takes about a second on a quiet machine: nothing is judged by it
NEVER = 86_400  # seconds: a worker that does not poll


def until(true: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Poll until it is true; fails the test when the time is up."""
    assert processes.wait_until(true, seconds), f"not within {seconds:g} s: {what}"


class Nursery:
    """The one process all workers of a session are forked from."""

    def __init__(self, env: Mapping[str, str]) -> None:
        parent = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery"],
            env=dict(env),
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: processes.die_with_parent(parent, signal.SIGKILL),
        )
        self._told()

    def start(self, **order: Any) -> int:
        return int(self._ask({"start": order}))

    def code(self, pid: int) -> int | None:
        """How that child ended; None while it lives, negative for a signal."""
        answer = self._ask({"code": pid})
        return None if answer is None else int(answer)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE_SECONDS)
        self._process.stdout.close()

    def _ask(self, order: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._told()

    def _told(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the nursery ended; what it said is above"
        return json.loads(line)


@dataclass(slots=True, kw_only=True)
class Process:
    """One worker (or beat) and its log."""

    name: str
    pid: int
    log: Path
    nursery: Nursery
    queue: str = ""  # a queue of its own, if it has one
    agent: bool = False
    code: int | None = None

    def hurt(self) -> bool:
        """Whether it has reached its failpoint."""
        return self.log.exists() and "failpoint " in self.log.read_text()

    @property
    def worker(self) -> str:
        """Its name on the attempts it makes, or nobody's until it is up; empty for what is no worker of agents."""
        if not self.agent:
            return ""
        begins = f"agents-{self.name}-{self.pid}."
        known = Worker.objects.filter(name__startswith=begins).order_by("-pk").values_list("name", flat=True)
        return known.first() or begins

    def ended(self) -> bool:
        if self.code is None:
            self.code = self.nursery.code(self.pid)
        return self.code is not None

    def wait_killed(self) -> None:
        """Until its failpoint has killed it. Fails when it ended in any other way."""
        until(self.ended, f"{self.name} reaches its failpoint; see {self.log}")
        assert self.code == -signal.SIGKILL, self.log.read_text()

    def wait_frozen(self) -> None:
        until(self.frozen, f"{self.name} is frozen; see {self.log}")

    def frozen(self) -> bool:
        """Whether every thread of it stands still: a stop reaches them one by one."""
        try:
            tasks = list(Path(f"/proc/{self.pid}/task").iterdir())
            return all((task / "stat").read_text().rpartition(")")[2].split()[0] == "T" for task in tasks)
        except OSError:
            return False

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL to its group, also when it is frozen."""
        if self.ended():
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        until(self.ended, f"{self.name} is gone")


@dataclass(slots=True, kw_only=True)
class Fleet:
    """The processes of one test."""

    nursery: Nursery
    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    heals: bool = True  # whether nothing may be left to do at its end

    def agents(
        self,
        name: str,
        *,
        threads: int = 4,
        failpoint: str = "",
        neighbours: bool | float = False,
        **settings: Any,
    ) -> Process:
        """A worker of the agents' queue. `failpoint` as in FAILPOINT; `settings` replace Django's.

        It is as if on a machine of its own, so that others learn of its death by its lease alone; `neighbours` are
        on this one.
        """
        return self._worker(name, "agents", threads, failpoint, settings, "" if neighbours else name)

    def alone(
        self,
        name: str,
        *,
        failpoint: str,
        threads: int = 2,
        neighbours: bool | float = False,
        **settings: Any,
    ) -> Process:
        """A worker with a queue of its own, named as it is: nobody else gets its hints, and it looks for no others."""
        options = ["-Q", name, "--pool=threads", f"--concurrency={threads}", "-n", f"agents@{name}"]
        options += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        given = {"RUNS_SWEEP_SECONDS": NEVER, **settings}
        return self._start(name, ["worker", *options], failpoint, given, "" if neighbours else name, name)

    def acting(self, name: str, *arguments: str, failpoint: str) -> Process:
        """A process in which somebody acts once, see tests/faults/acting.py."""
        log = self.folder / f"{name}.log"
        env = {**self.env, "FAILPOINT": failpoint}
        pid = self.nursery.start(
            name=name,
            log=str(log),
            env=env,
            settings={},
            module="tests.faults.acting",
            arguments=list(arguments),
        )
        process = Process(name=name, pid=pid, log=log, nursery=self.nursery)
        self.processes.append(process)
        return process

    def ordinary(self) -> Process:
        return self._worker("ordinary", "ordinary", 2, "", {})

    def beat(self) -> Process:
        schedule = str(self.folder / "beat-schedule")
        return self._start("beat", ["beat", "-s", schedule, "--pidfile="], "", {})

    def _worker(
        self, name: str, queue: str, threads: int, failpoint: str, settings: dict[str, Any], place: str = ""
    ) -> Process:
        options = ["-Q", queue, "--pool=threads", f"--concurrency={threads}", "-n", f"{queue}@{name}"]
        options += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        return self._start(name, ["worker", *options], failpoint, settings, place)

    def _start(
        self,
        name: str,
        arguments: list[str],
        failpoint: str,
        settings: dict[str, Any],
        place: str = "",
        queue: str = "",
    ) -> Process:
        log = self.folder / f"{name}.log"
        pid = self.nursery.start(
            name=name,
            log=str(log),
            env={**self.env, "FAILPOINT": failpoint},
            settings=settings,
            place=place,
            arguments=["-A", "opsconsole", *arguments, "-l", "WARNING"],
        )
        agent = any(one.startswith("agents@") for one in arguments)
        process = Process(name=name, pid=pid, log=log, nursery=self.nursery, queue=queue, agent=agent)
        self.processes.append(process)
        return process

    def end(self) -> None:
        for process in self.processes:
            process.kill()


class SinkProcess:
    """The effect sink and its log."""

    def __init__(self, folder: Path, delay_ms: tuple[float, float] = (0.0, 0.0), seed: int = 1) -> None:
        self.log = folder / "sink.jsonl"
        self.log.touch(mode=0o600)
        parent = os.getpid()
        least, most = map(str, delay_ms)
        self._process = subprocess.Popen(
            [
                sys.executable,
                "tests/faults/sink.py",
                str(self.log),
                "--delay-ms",
                least,
                most,
                f"--seed={seed}",
            ],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            preexec_fn=lambda: processes.die_with_parent(parent, signal.SIGKILL),
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.pid = self._process.pid

    @property
    def env(self) -> dict[str, str]:
        return {"FAULT_SINK": str(self.port), "FAULT_SINK_LOG": str(self.log)}

    def count(self) -> int:
        """How many requests have arrived; cheap enough to poll."""
        return self.log.read_bytes().count(b"\n")

    def arrivals(self) -> list[dict[str, Any]]:
        """Every request that has arrived, in the order in which it was read."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def keys(self) -> list[str]:
        return [entry["key"] for entry in self.arrivals()]

    def end(self) -> None:
        self._process.kill()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()


def pause(seconds: float) -> None:
    """Let the faults come at uneven moments. Nothing is ever expected to be ready after it."""
    time.sleep(seconds)
