"""Which processes make up the console on one machine. Starts none of them."""

from pathlib import Path

from opsconsole.supervisor.children import Spec

_MESSAGE_BYTES = 65_536


def console(*, listener: int, sockets: Path, data_dir: Path, agent_threads: int) -> list[Spec]:
    """The front, two lanes, two workers and beat, in the order in which they are started."""
    pages, control = sockets / "pages.sock", sockets / "control.sock"
    return [
        _lane("pages", pages),
        _lane("control", control),
        _worker("agents", agent_threads),
        _worker("ordinary", 4),
        Spec(
            name="beat",
            module="celery",
            arguments=(*_celery("beat"), "-s", str(data_dir / "beat-schedule"), "--pidfile="),
        ),
        Spec(
            name="front",
            module="opsconsole.front",
            arguments=(str(listener), str(pages), str(control)),
            pass_fds=(listener,),
        ),
    ]


def _lane(name: str, socket: Path) -> Spec:
    options = ["-u", str(socket), "--proxy-headers", "-v", "0", "--no-server-name"]
    options += ["--ping-interval", "10", "--ping-timeout", "20"]
    options += ["--websocket-max-message-size", str(_MESSAGE_BYTES)]
    return Spec(
        name=name, module="daphne", arguments=(*options, "opsconsole.asgi:application"), socket=socket
    )


def _worker(queue: str, threads: int) -> Spec:
    options = ["-Q", queue, "--pool=threads", f"--concurrency={threads}", "-n", f"{queue}@%h"]
    options += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    return Spec(name=queue, module="celery", arguments=(*_celery("worker"), *options))


def _celery(command: str) -> tuple[str, ...]:
    return ("-A", "opsconsole", command, "-l", "WARNING")
