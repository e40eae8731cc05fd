"""Benchmarks with tiny counts, in worlds of their own: what they print, and that nothing of them stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from opsconsole.embedded.processes import wait_until
from opsconsole.environment import REPOSITORY


def _bench(*arguments: str) -> subprocess.Popen[str]:
    # The servers of these tests are set in our environment: a benchmark must not use them.
    return subprocess.Popen(
        [sys.executable, "manage.py", "bench", *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _told(*arguments: str) -> list[dict[str, Any]]:
    bench = _bench(*arguments, "--json", "--rounds", "1")
    said, complained = bench.communicate(timeout=600)
    assert bench.returncode == 0, complained
    return [json.loads(line) for line in said.splitlines()]


@pytest.fixture(autouse=True)
def _nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Every world is made under a directory of this test, which is empty again afterwards, and no process knows it."""
    folder = Path(tempfile.mkdtemp(prefix="ob-"))  # short: sockets are in it
    folder.chmod(0o711)
    monkeypatch.setenv("TMPDIR", str(folder))
    yield
    assert wait_until(lambda: not _processes_of(folder), 60.0), _processes_of(folder)
    assert not list(folder.iterdir())
    folder.rmdir()


def _processes_of(folder: Path) -> list[str]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes() + Path(f"/proc/{name}/environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in words and int(name) != os.getpid():
            found.append(name)
    return found


def test_steps_are_counted_beside_the_floor_with_production_settings() -> None:
    (told,) = _told("steps", "--n", "4")
    assert (told["bench"], told["n"], told["unit"]) == ("steps", 40, "steps/s")
    assert told["value"] > 0
    assert told["floor"] > 0
    assert told["ratio"] == pytest.approx(told["value"] / told["floor"], rel=0.01)
    with_starts, alone = told["detail"]["with_starts"], told["detail"]["one_run_alone"]
    assert (
        0
        < with_starts["ratio"]
        == pytest.approx(with_starts["steps_a_second"][0] / with_starts["floor"][0], rel=0.01)
    )
    assert 0 < alone["step_p50_ms"][0] < alone["run_p50_ms"][0]
    assert (told["detail"]["fsync"], told["detail"]["synchronous_commit"]) == ("on", "on")


def test_decisions_are_timed_until_the_code_starts() -> None:
    told = _told("resume", "--n", "2")
    assert [one["bench"] for one in told] == ["resume", "resume-again", "resume-approval"]
    assert told[0]["detail"]["until"] == "the next step's code starts"
    assert all(0 < one["p50_ms"] <= one["p95_ms"] <= one["max_ms"] for one in told)


@pytest.mark.soak
def test_a_start_costs_processor_time_here_and_in_postgresql() -> None:
    (told,) = _told("start", "--n", "20")
    assert told["bench"] == "start"
    assert told["value"] == pytest.approx(
        told["detail"]["python_cpu_ms"][0] + told["detail"]["postgres_cpu_ms"][0], rel=0.01
    )


def test_tasks_of_a_fan_out_cost_processor_time() -> None:
    flat, nested = _told("fanout", "--n", "3")
    assert [one["bench"] for one in (flat, nested)] == ["fanout-3", "fanout-3x3"]
    assert (flat["n"], nested["n"], nested["unit"]) == (3, 12, "ms/task")
    assert flat["value"] > 0
    assert nested["p50_ms"] > 0


def test_stops_are_timed_until_the_other_side_is_gone() -> None:
    told = _told("stop", "--n", "2")
    assert [one["bench"] for one in told] == ["stop-call", "stop-child", "stop-everything", "stop"]
    assert (told[-1]["value"], told[-1]["detail"]["headline"]) == (told[0]["value"], "stop-call")
    assert all(one["value"] > 0 for one in told)


def test_events_reach_every_socket_of_people_who_signed_in() -> None:
    told, whole = _told("push", "--n", "3")
    assert (whole["bench"], whole["value"]) == ("push", told["value"])
    assert (told["bench"], told["n"]) == ("push-3", 3)
    assert told["max_ms"] > 0


def test_copied_runs_wait_like_the_one_they_were_copied_from() -> None:
    told, whole = _told("waiting", "--n", "60")
    assert (whole["bench"], whole["value"]) == ("waiting", told["value"])
    assert told["n"] == 60
    assert told["value"] > 0


def test_pages_are_fetched_over_copied_runs() -> None:
    *told, whole = _told("pages", "--n", "800")
    large = [told.pop(0) for _ in range(5)]
    assert [one["bench"] for one in large] == [
        f"pages-{name}" for name in ("steps", "steps-moving", "events", "nested", "nested-moving")
    ]
    assert large[0]["detail"]["steps"] > 800
    assert all(one["detail"]["bytes"] > 1_000 and one["detail"]["queries"] <= 12 for one in large)
    assert (whole["bench"], whole["value"]) == ("pages", max(one["value"] for one in told[len(told) // 2 :]))
    names = ("inbox", "runs", "run", "interventions", "escalation", "workflows", "controls")
    few, many = told[: len(names)], told[len(names) :]
    assert [one["bench"] for one in few] == [f"pages-{name}-400" for name in names]
    assert [one["bench"] for one in many] == [f"pages-{name}-800" for name in names]
    assert many[0]["detail"]["runs"] == 800
    assert all(one["detail"]["queries"] > 0 for one in told)


def test_an_unknown_name_is_one_sentence() -> None:
    bench = _bench("nothing")
    _, complained = bench.communicate(timeout=60)
    assert bench.returncode == 2
    assert complained.startswith("There is no benchmark 'nothing'. Known: steps, ")


def test_a_killed_command_leaves_no_process() -> None:
    bench = _bench("solo", "--n", "1000")
    folder = Path(os.environ["TMPDIR"])
    assert wait_until(lambda: any(folder.glob("*/logs/driver.log")), 120.0)
    bench.send_signal(signal.SIGKILL)
    bench.communicate(timeout=60)
    assert wait_until(lambda: not _processes_of(folder), 60.0), _processes_of(folder)
    for left in sorted(folder.rglob("*"), key=lambda path: len(path.parts), reverse=True):
        left.rmdir() if left.is_dir() and not left.is_symlink() else left.unlink()
