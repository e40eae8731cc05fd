"""Runs a measured script in several processes at once: the floor and the peers. Knows none of them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opsconsole.environment import REPOSITORY

_READY_SECONDS = 60.0


class Failed(Exception):
    """A script did not do what it is there for; the message has its last words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """`seconds` from the start signal to the last process done, and every step's milliseconds."""

    seconds: float
    step_ms: list[float]


def contest(command: Sequence[str], *, counts: Sequence[int], env: Mapping[str, str]) -> Took:
    """Start `command COUNT` for each count, let all go at once when they are ready. Raises Failed."""
    everybody = [_started([*command[:-1], str(runs), command[-1]], env) for runs in counts]
    try:
        for one in everybody:
            _line(one)  # "ready"
        began = time.monotonic_ns()
        for one in everybody:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        told: list[dict[str, Any]] = [json.loads(_line(one)) for one in everybody]
        ended = max(one["ended_ns"] for one in told)
        return Took(seconds=(ended - began) / 1e9, step_ms=[ms for one in told for ms in one["step_ms"]])
    finally:
        for one in everybody:
            _end(one)


def _started(command: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, **env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _line(one: subprocess.Popen[str]) -> str:
    """The next line that says something; what the libraries print in between is left out."""
    assert one.stdout is not None
    for line in one.stdout:
        if line.strip() == "ready" or line.startswith("{"):
            return line
    raise Failed(f"{one.args!r} ended with {one.wait(5)} before it said anything; see the driver's log")


def _end(one: subprocess.Popen[str]) -> None:
    with contextlib.suppress(OSError):
        if one.stdin is not None:
            one.stdin.close()
    try:
        one.wait(5)
    except subprocess.TimeoutExpired:
        one.kill()
        one.wait()
    if one.stdout is not None:
        one.stdout.close()
