"""Processor seconds of processes, from /proc: a figure that other people's load changes little. Linux only."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PARENT, _USER, _SYSTEM, _USER_OF_DEAD, _SYSTEM_OF_DEAD = (
    1,
    11,
    12,
    13,
    14,
)  # after the name in /proc/PID/stat


def seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes so far; one that is gone counts nothing."""
    return sum(_ticks(pid, _USER, _SYSTEM) for pid in pids) / _TICKS


def postgres_seconds(data_dir: Path) -> float:
    """The same for a PostgreSQL: its postmaster, its living children, and those that it has reaped."""
    pid_file = data_dir / "postgres" / "postmaster.pid"
    postmaster = int(pid_file.read_text().split("\n", 1)[0])
    own = _ticks(postmaster, _USER, _SYSTEM, _USER_OF_DEAD, _SYSTEM_OF_DEAD)
    return (own + sum(_ticks(pid, _USER, _SYSTEM) for pid in _children(postmaster))) / _TICKS


def _children(parent: int) -> list[int]:
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if _stat(pid)[_PARENT : _PARENT + 1] == [str(parent)]]


def _ticks(pid: int, *fields: int) -> int:
    stat = _stat(pid)
    return sum(int(stat[field]) for field in fields) if stat else 0


def _stat(pid: int) -> list[str]:
    """The fields after the name, which may hold anything."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []
