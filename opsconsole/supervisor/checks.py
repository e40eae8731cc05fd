"""What is looked at before anything is started; each finding is one sentence (Refused). Changes nothing."""

import errno
import fcntl
import os
import shutil
import socket
from pathlib import Path

from opsconsole import environment
from opsconsole.environment import Refused

LEAST_FREE_MB = 200


def enough_disk(data_dir: Path) -> None:
    """PostgreSQL's write-ahead log and a copy of the cluster must fit. Megabytes; raises Refused."""
    least = environment.number("OPSCONSOLE_LEAST_FREE_MB", LEAST_FREE_MB, least=0, most=10**9)
    free = shutil.disk_usage(data_dir).free // 2**20
    if free < least:
        raise Refused(f"Only {free} MB are free for {data_dir}; the console needs at least {least} MB there.")


def listen(host: str, port: int) -> socket.socket:
    """Take the port now and keep it: nobody can have it between this check and the front's start."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(256)
    except OSError as why:
        listener.close()
        raise Refused(_port_sentence(host, port, why)) from why
    return listener


def _port_sentence(host: str, port: int, why: OSError) -> str:
    if why.errno == errno.EADDRINUSE:
        return f"Port {port} is in use by another program; choose another with PORT=…"
    if why.errno == errno.EACCES:
        return f"Port {port} is not open to this account; choose one above 1023 with PORT=…"
    return f"Cannot listen on {host}:{port} ({why.strerror}); check OPSCONSOLE_HOST and PORT."


def only_one(data_dir: Path, address: str) -> int:
    """The lock that makes this the only console on the data. Raises Refused when another holds it."""
    handle = os.open(data_dir / "console.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as why:
        other = os.read(handle, 200).decode(errors="replace").strip() or "starting"
        os.close(handle)
        raise Refused(f"A console already runs on {data_dir} ({other}).") from why
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{address}, process {os.getpid()}".encode(), 0)
    return handle
