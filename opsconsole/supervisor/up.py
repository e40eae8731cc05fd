"""`manage.py up`: check, start, say so, look after, stop in order. Runs in one thread (PDEATHSIG asks for it)."""

import http.client
import json
import os
import signal
import sys
import time

from opsconsole import environment
from opsconsole.embedded import lease, places, processes
from opsconsole.environment import Refused
from opsconsole.supervisor import checks, layout, preload, silence
from opsconsole.supervisor.children import Child, Spec, bound_log

_READY_SECONDS = 60.0
_WORKERS_STOP_SECONDS = 2.0
_REST_STOP_SECONDS = 0.7
_LEAVE_SECONDS = 5.0  # for workers to hand over what did not finish
_TURN_SECONDS = 0.1
_ROUND_SECONDS = 5.0  # logs, the keeper
_WATCHED = ("agents", "ordinary")
_SIGN_INS = "sign-ins.txt"


class Stopped(Exception):
    """Somebody asked the console to stop."""


class Console:
    """The console on one machine, from the checks to the last process stopped."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._stop_asked = 0
        self._drains = False
        self._host = os.environ.get("OPSCONSOLE_HOST", "").strip() or "127.0.0.1"
        self._port = environment.number("PORT", 8000, least=1, most=65535)
        self._threads = environment.number("OPSCONSOLE_RUNS_AGENT_THREADS", 16, least=1, most=256)
        self._places = places.places_for(environment.data_dir())
        self._lease: lease.Lease | None = None
        self._children: list[Child] = []
        self._next_round = self._next_listening = 0.0
        self._silent_seconds = environment.number("OPSCONSOLE_RUNS_SILENT_SECONDS", 20, least=3, most=3600)
        self._listener: silence.Listener | None = None

    @property
    def address(self) -> str:
        host = "localhost" if self._host in ("127.0.0.1", "0.0.0.0", "::", "::1") else self._host  # noqa: S104
        return f"http://{host}:{self._port}/"

    def run(self) -> None:
        """Run until asked to stop. Raises Refused when it cannot start."""
        environment.servers_given()
        places.prepare(self._places)
        lock = checks.only_one(self._places.data, self.address)
        listener = checks.listen(self._host, self._port)
        checks.enough_disk(self._places.data)
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(sig, self._ask_to_stop)
        processes.adopt_orphans()
        try:
            self._start(listener.fileno())
            self._tell_ready()
            self._look_after_until_asked()
        except Stopped:
            pass
        finally:
            listener.close()
            self._stop()
            os.ftruncate(lock, 0)  # nobody shall take the number of a process that is gone for the console's
            os.close(lock)

    def _say(self, sentence: str) -> None:
        print(f"[{time.monotonic() - self._begun:5.1f} s] {sentence}", flush=True)

    def _ask_to_stop(self, signum: int, _: object) -> None:
        """SIGTERM, as deploys send it, lets what is under way finish; Ctrl-C, or a second signal, does not wait."""
        self._drains = signum == signal.SIGTERM and not self._stop_asked
        self._stop_asked += 1

    def _turn(self, seconds: float = _TURN_SECONDS) -> None:
        """Wait a little; a signal ends the wait by the exception."""
        time.sleep(seconds)
        if self._stop_asked:
            raise Stopped

    def _start(self, listener: int) -> None:
        fresh = not (self._places.data / _SIGN_INS).exists()
        first = not self._places.cluster.exists()
        if not environment.servers_given():
            self._say(
                "Starting PostgreSQL and Valkey" + (" (the first start makes a database)" if first else "")
            )
            self._lease = lease.hold(self._places.data)
        env = dict(os.environ, DATA_DIR=str(self._places.data), PORT=str(self._port), PYTHONUNBUFFERED="1")
        self._say("Loading the code")
        preload.load()
        self._say("Preparing the tables, the static files and the demo")
        self._prepare(env)
        self._say("Starting the web lanes, the workers and beat")
        specs = layout.console(
            listener=listener,
            sockets=self._places.sockets,
            data_dir=self._places.data,
            agent_threads=self._threads,
        )
        self._children = [Child(spec, env, self._places.logs) for spec in specs]
        for child in self._children:
            child.start()
        self._wait_ready()
        self._show_sign_ins(fresh=fresh)

    def _prepare(self, env: dict[str, str]) -> None:
        log = self._places.logs / "prepare.log"
        log.unlink(missing_ok=True)
        spec = Spec(name="prepare", module="django", arguments=("prepare",))
        child = Child(spec, env, self._places.logs)
        child.start()
        try:
            while not child.gone():
                self._turn(0.02)
        finally:
            child.kill()
        if child.code != 0:
            said = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise Refused(f"Preparing failed: {said[0] if said else 'no output'} (all of it: {log})")

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        told = time.monotonic()
        while (missing := self._missing()) and time.monotonic() < deadline:
            if time.monotonic() - told > 3:
                self._say(f"Waiting for: {', '.join(missing)}")
                told = time.monotonic()
            self._look_after()
            self._turn()
        if missing:
            self._say(f"Not ready yet: {', '.join(missing)}. It goes on trying; see {self._places.logs}.")

    def _missing(self) -> list[str]:
        """The parts of /readyz that are not ok; ["web"] while there is no answer."""
        host = "127.0.0.1" if self._host == "0.0.0.0" else self._host  # noqa: S104
        conn = http.client.HTTPConnection(host, self._port, timeout=5)
        try:
            conn.request("GET", "/readyz", headers={"Host": _allowed_host()})
            response = conn.getresponse()
            body = response.read()
            if response.status == 200:
                return []
            return [name for name, part in json.loads(body)["parts"].items() if not part["ok"]]
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            return ["web"]
        finally:
            conn.close()

    def _tell_ready(self) -> None:
        self._say(f"The console is at {self.address}  (Ctrl-C stops it)")

    def _show_sign_ins(self, *, fresh: bool) -> None:
        file = self._places.data / _SIGN_INS
        if not file.exists():
            return
        if fresh:
            print(f"\n{file.read_text().strip()}\n\n(shown once; kept in {file})\n", flush=True)
        else:
            self._say(f"Demo sign-ins: {file}")

    def _look_after_until_asked(self) -> None:
        while True:
            self._look_after()
            self._turn()

    def _look_after(self) -> None:
        for child in self._children:
            if sentence := child.look_after():
                self._say(sentence)
        if self._lease is not None and self._lease.keeper is not None:
            self._lease.keeper.poll()  # reaped here if it died: a strangers' reaper stops at the first of ours
        processes.reap_strangers(self._our_pids())
        if time.monotonic() >= self._next_listening:
            self._next_listening = time.monotonic() + min(_ROUND_SECONDS, self._silent_seconds / 5)
            self._restart_the_silent()
        if time.monotonic() < self._next_round:
            return
        self._next_round = time.monotonic() + _ROUND_SECONDS
        for log in self._places.logs.glob("*.log"):
            bound_log(log)
        self._renew_lease()

    def _our_pids(self) -> set[int]:
        pids = {child.pid for child in self._children}
        if self._lease is not None and self._lease.keeper is not None:
            pids.add(self._lease.keeper.pid)
        return {pid for pid in pids if pid is not None}

    def _restart_the_silent(self) -> None:
        """A worker that lives and says nothing performs nothing either, whatever keeps it."""
        if self._listener is None:
            self._listener = silence.Listener(os.environ["DATABASE_URL"], limit=self._silent_seconds)
        workers = {child.pid: child for child in self._children if child.spec.name in _WATCHED}
        watched = [
            silence.Watched(kind=child.spec.name, pid=pid, age=child.age)
            for pid, child in workers.items()
            if pid is not None
        ]
        for pid, seconds in self._listener.silent(watched).items():
            child = workers[pid]
            self._say(f"{child.spec.name} has been silent for {seconds:.0f} s: starting it again")
            child.kill()

    def _renew_lease(self) -> None:
        """The keeper looks after the servers; if it is gone itself, have another one started."""
        if self._lease is None or self._lease.alive():
            return
        self._say("PostgreSQL and Valkey lost their keeper: starting them again")
        self._lease.close()
        try:
            self._lease = lease.hold(self._places.data)
        except Refused as why:  # the next round tries again
            self._say(str(why))

    def _stop(self) -> None:
        """The door first, then who works, then who shows it, then the servers; 5 s in all.

        When there is time, who works comes first: while calls under way finish, people can still see and stop them.
        """
        if self._children:
            self._say("Stopping")
        by_name = {child.spec.name: child for child in self._children}
        if self._drains and self._children:
            seconds = environment.number("OPSCONSOLE_DRAIN_SECONDS", 14, least=0, most=3600)
            self._say(f"Calls under way may finish for {seconds} s; Ctrl-C does not wait")
            working = [by_name[name] for name in ("beat", "agents", "ordinary") if name in by_name]
            self._end(working, seconds + _LEAVE_SECONDS)
        workers = [by_name[name] for name in ("front", "beat", "agents", "ordinary") if name in by_name]
        lanes = [by_name[name] for name in ("pages", "control") if name in by_name]
        self._end(workers, _WORKERS_STOP_SECONDS)
        self._end(lanes, _REST_STOP_SECONDS)
        if self._lease is not None:
            self._lease.close()
        if self._children:
            self._say("Stopped")

    def _end(self, children: list[Child], seconds: float) -> None:
        asked = self._stop_asked
        for child in children:
            child.ask_to_stop()
        deadline = time.monotonic() + seconds
        while not all(child.gone() for child in children) and time.monotonic() < deadline:
            if self._stop_asked > asked:  # a second Ctrl-C
                break
            time.sleep(0.02)
        for child in children:
            child.kill()


def _allowed_host() -> str:
    first = environment.words("ALLOWED_HOSTS", ["localhost"])[0].lstrip(".")
    return "localhost" if first == "*" else first


def main() -> int:
    """Returns the exit code; says in one sentence why it cannot start."""
    try:
        Console().run()
    except Refused as why:
        print(why, file=sys.stderr, flush=True)
        return 1
    return 0
