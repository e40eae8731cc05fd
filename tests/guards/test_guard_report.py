"""`manage.py guard_report`: one line a run, totals to the unit, bad lines by number, no server, no ground truth."""

from __future__ import annotations

import copy
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from opsconsole.management.commands import guard_report
from runs.guards.watch import judged
from runs.recorded.trace import Trace
from tests.guards.injections import TOOLSETS, attack
from tests.guards.made import LOOPS, line, looping

Captured = pytest.CaptureFixture[str]
ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT.parent / "shared" / "data" / "traces_sample.jsonl.gz"


def lines() -> list[dict[str, Any]]:
    runs = [line(looping(kind, 1).steps, run_id=kind) for kind in LOOPS]
    return [*runs, line(attack(3).steps, run_id="attack", toolset="yard")]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "toolsets.json").write_text(json.dumps(TOOLSETS))
    return written(tmp_path / "runs.jsonl", lines())


def written(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def reported(path: Path, capsys: Captured, **options: Any) -> tuple[list[dict[str, Any]], str]:
    capsys.readouterr()
    call_command("guard_report", str(path), json=True, **options)
    out, err = capsys.readouterr()
    return [json.loads(one) for one in out.splitlines()], err


def test_each_run_is_one_line_with_its_findings_and_the_totals_of_the_file(
    file: Path, capsys: Captured
) -> None:
    rows, err = reported(file, capsys)
    assert err == ""
    assert [row["run_id"] for row in rows] == [*LOOPS, "attack"]
    for row, wanted in zip(rows, lines(), strict=True):
        assert set(row) == {"run_id", "findings", "totals"}
        assert row["totals"] == wanted["totals"]
        assert all(set(one) == {"guard", "step", "detail"} for one in row["findings"])
    guards = [{one["guard"] for one in row["findings"]} for row in rows]
    assert all("loop" in found for found in guards[:-1])
    assert "taint" in guards[-1]


def test_what_says_how_well_a_run_went_is_never_read(file: Path, tmp_path: Path, capsys: Captured) -> None:
    rows = lines()
    judged = copy.deepcopy(rows)
    for row in judged:
        row["outcome"] = {"success": True, "labels": ["no_loop", "no_attack"], "detail": {"loop_onset": 1}}
        for step in row["steps"]:
            step["labels"] = {"is_in_loop": True, "decisive_mistake": True}
    bare = [{name: value for name, value in row.items() if name != "outcome"} for row in rows]
    (tmp_path / "x").mkdir()
    for other in (judged, bare):
        path = written(tmp_path / "other.jsonl", other)
        assert reported(path, capsys)[0] == reported(file, capsys)[0]


def test_bad_lines_are_reported_by_their_number_and_skipped(
    file: Path, tmp_path: Path, capsys: Captured
) -> None:
    rows: list[Any] = lines()[:2]
    rows[1:1] = ["{", json.dumps({"schema": "trace/9"}), ""]
    found, err = reported(written(tmp_path / "bad.jsonl", rows), capsys)
    assert [row["run_id"] for row in found] == ["exact", "exact_error"]
    assert [said.partition(":")[0] for said in err.splitlines()] == ["line 2", "line 3"]


def test_a_run_that_breaks_a_guard_does_not_keep_the_others_from_being_judged(
    file: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaking(trace: Trace, *more: Any) -> Any:
        if trace.run_id == "cycle2":
            raise RecursionError("too deep")
        return judged(trace, *more)

    monkeypatch.setattr(guard_report, "judged", breaking)
    capsys.readouterr()
    with pytest.raises(CommandError, match=f"1 of {len(LOOPS) + 1} runs could not be judged"):
        call_command("guard_report", str(file), json=True)
    out, err = capsys.readouterr()
    assert [json.loads(one)["run_id"] for one in out.splitlines()] == [
        *(kind for kind in LOOPS if kind != "cycle2"),
        "attack",
    ]
    assert "cycle2 cannot be judged: " in err


def test_packed_files_are_read_as_they_are(file: Path, tmp_path: Path, capsys: Captured) -> None:
    packed = tmp_path / "packed.jsonl.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert reported(packed, capsys) == reported(file, capsys)


def test_limits_can_be_set(file: Path, capsys: Captured) -> None:
    rows, _ = reported(file, capsys, limits=["turns=1", "repeats=4"])
    assert all("turns" in {one["guard"] for one in row["findings"]} for row in rows)
    with pytest.raises(CommandError, match="give KIND=VALUE"):
        call_command("guard_report", str(file), limits=["wings=2"])


def test_other_toolsets_can_be_given(file: Path, tmp_path: Path, capsys: Captured) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"yard": [TOOLSETS["yard"][0]]}))
    rows, _ = reported(file, capsys, toolsets=other)
    assert "unknown_tool" in {one["guard"] for one in rows[-1]["findings"]}
    with pytest.raises(CommandError, match="Cannot read"):
        call_command("guard_report", str(file), toolsets=tmp_path / "none.json")


def test_a_file_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="holds no recorded run"):
        call_command("guard_report", str(written(tmp_path / "empty.jsonl", [])), json=True)
    with pytest.raises(CommandError, match="Cannot read"):
        call_command("guard_report", str(tmp_path / "nowhere.jsonl"))


def test_people_get_sentences(file: Path, capsys: Captured) -> None:
    call_command("guard_report", str(file))
    out = capsys.readouterr().out
    assert "exact: 1 findings in" in out
    assert out.splitlines()[-1].startswith(f"{len(LOOPS) + 1} runs: ")


def test_the_sample_of_recorded_runs_is_judged_as_its_labels_say(capsys: Captured) -> None:
    """Loops by their third occurrence and not before they begin; look-alikes and clean runs left alone."""
    if not SAMPLE.exists():
        pytest.skip(f"no {SAMPLE.name} beside the checkout ({SAMPLE.parent})")
    with gzip.open(SAMPLE, "rt", encoding="utf-8") as file:
        runs = [json.loads(one) for one in file]
    rows, err = reported(SAMPLE, capsys)
    assert err == ""
    for run, row in zip(runs, rows, strict=True):
        assert row["totals"] == {name: run["totals"][name] for name in row["totals"]}
        first = {one["guard"]: one["step"] for one in reversed(row["findings"])}
        labels, detail = set(run["outcome"]["labels"]), run["outcome"]["detail"]
        if {"derived", "loop"} <= labels:
            calls = 2 * detail["loop_period_calls"]  # a thought and a call, or a thought and a nudge
            assert detail["loop_onset"] <= first["loop"] < detail["loop_onset"] + 3 * calls, run["run_id"]
        if {"derived", "no_loop"} <= labels:
            assert "loop" not in first, run["run_id"]
        if "no_attack" in labels or "injection_succeeded" in labels:
            assert ("taint" in first) == ("injection_succeeded" in labels), run["run_id"]


def test_it_needs_no_server(file: Path, tmp_path: Path) -> None:
    """In a process of its own, on an empty directory: nothing is started there, and nothing is asked for."""
    data = tmp_path / "data"
    environment = {
        name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")
    }
    done = subprocess.run(
        [sys.executable, "manage.py", "guard_report", str(file), "--json", "--set", "turns=9"],
        cwd=ROOT,
        env=environment | {"DATA_DIR": str(data)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert len(done.stdout.splitlines()) == len(LOOPS) + 1
    assert not (data / "postgres").exists()
    assert not (data / "valkey").exists()
