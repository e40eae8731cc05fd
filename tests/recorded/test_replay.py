"""`manage.py replay`: what it prints, what it skips, and that giving a file twice changes nothing."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor

from escalations.models import Escalation, JournalEntry
from opsconsole import replaying
from runs.engine import holds
from runs.engine.claim import claim
from runs.models import Call, Run, Step, Worker
from tests.recorded.conftest import taken_in
from tests.recorded.traces import conversation, message, thought, trace, written

pytestmark = pytest.mark.django_db(transaction=True)
SAMPLE = Path(__file__).resolve().parents[3] / "shared" / "data" / "traces_sample.jsonl.gz"
ADDED = ("steps", "model_calls", "tool_calls", "tool_errors", "tokens_in", "tokens_out")
Captured = pytest.CaptureFixture[str]


def replayed(path: Path, capsys: Captured, **options: Any) -> tuple[dict[str, int], str]:
    """The totals that were printed, and what was said beside them."""
    capsys.readouterr()
    call_command("replay", str(path), json=True, **options)
    out, err = capsys.readouterr()
    found: dict[str, int] = json.loads(out)
    return found, err


def sums(*lines: dict[str, Any]) -> dict[str, int]:
    return {name: sum(line["totals"][name] for line in lines) for name in ADDED}


def test_a_file_is_played_to_the_end_and_adds_up(tmp_path: Path, capsys: Captured) -> None:
    given = [conversation(f"run-{n}") for n in range(5)]
    found, _ = replayed(written(tmp_path, *given), capsys)
    assert list(found) == [
        "runs",
        *ADDED,
        "completed",
        "waiting",
        "failed",
        "lost",
    ]
    assert found == {"runs": 5, **sums(*given), "completed": 5, "waiting": 0, "failed": 0, "lost": 0}
    assert not Escalation.objects.exists()


def test_giving_it_again_makes_no_duplicates_and_prints_the_same(tmp_path: Path, capsys: Captured) -> None:
    path = written(tmp_path, conversation("a"), conversation("b"))
    first, _ = replayed(path, capsys)
    rows = (Run.objects.count(), Step.objects.count(), Call.objects.count(), JournalEntry.objects.count())
    again, said = replayed(path, capsys)
    assert again == first
    assert "0 of 2 runs taken in now" in said
    assert rows == (
        Run.objects.count(),
        Step.objects.count(),
        Call.objects.count(),
        JournalEntry.objects.count(),
    )


def test_taking_in_is_an_entry_of_the_journal_for_each_run(tmp_path: Path, capsys: Captured) -> None:
    replayed(written(tmp_path, conversation("a"), conversation("b")), capsys)
    entries = JournalEntry.objects.filter(act="start run")
    assert sorted(json.loads(entry.body)["details"]["start_key"] for entry in entries) == ["a", "b"]


def test_bad_lines_are_said_by_number_and_skipped(tmp_path: Path, capsys: Captured) -> None:
    broken = conversation("broken")
    broken["steps"][3]["kind"] = "banana"
    path = written(tmp_path, conversation("a"), "{", json.dumps(broken), "", conversation("b"))
    found, said = replayed(path, capsys)
    assert (found["runs"], found["completed"]) == (2, 2)
    assert "line 2: not JSON" in said
    assert "line 3: steps.3.kind" in said
    assert not Run.objects.filter(start_key="broken").exists()


def test_a_run_id_that_stands_twice_in_a_file_is_one_run(tmp_path: Path, capsys: Captured) -> None:
    other = conversation("a", goal="Something else.")
    found, said = replayed(written(tmp_path, conversation("a"), conversation("a"), other), capsys)
    assert found["runs"] == 1
    assert "line 2: run_id a stands on line 1 already." in said
    assert "line 3: run_id a stands on line 1 already, with other content." in said


def test_a_run_id_that_is_on_record_with_other_content_is_said_and_left_alone(
    tmp_path: Path, capsys: Captured
) -> None:
    taken_in(conversation("a"))
    found, said = replayed(written(tmp_path, conversation("a", goal="Else."), conversation("b")), capsys)
    assert found["runs"] == 1
    assert "line 1: run_id a is on record with other content" in said


def test_a_truncated_file_is_played_as_far_as_it_goes(tmp_path: Path, capsys: Captured) -> None:
    path = written(tmp_path, conversation("a"))
    whole = gzip.compress("\n".join(json.dumps(conversation(f"{n}" * 20)) for n in range(9)).encode(), 0)
    path.write_bytes(whole[: len(whole) * 2 // 3])
    found, said = replayed(path, capsys)
    assert 3 <= found["runs"] < 9
    assert found["lost"] == 0
    assert "damaged" in said


@pytest.mark.parametrize("content", [b"", b"{}\n[]\n", b"\x00\x01\x02"])
def test_a_file_without_a_recorded_run_is_an_error(content: bytes, tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_bytes(content)
    with pytest.raises(CommandError, match="holds no recorded run"):
        call_command("replay", str(path), json=True)


def test_limit_takes_the_first_runs_only(tmp_path: Path, capsys: Captured) -> None:
    path = written(tmp_path, "{", *(conversation(f"run-{n}") for n in range(5)))
    found, _ = replayed(path, capsys, limit=2)
    assert found["runs"] == 2
    assert set(Run.objects.values_list("start_key", flat=True)) == {"run-0", "run-1"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--limit", "0"], "above 0"),
        (["--limit", "x"], "above 0"),
        (["--speed", "-1"], "faster"),
        (["--speed", "nan"], "faster"),
        (["--toolsets", "/nowhere/toolsets.json"], "Cannot read"),
    ],
)
def test_bad_options_are_refused_in_a_sentence(options: list[str], says: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=says):
        call_command("replay", str(written(tmp_path, conversation())), *options)
    assert not Run.objects.exists()


def test_without_toolsets_every_tool_counts_as_undeclared_and_that_is_said(
    tmp_path: Path, capsys: Captured
) -> None:
    path = written(tmp_path, conversation())
    (tmp_path / "toolsets.json").unlink()
    found, said = replayed(path, capsys)
    assert found["completed"] == 1
    assert "declares nothing" in said
    assert set(Call.objects.filter(kind="tool").values_list("effect", flat=True)) == {"irreversible"}


def test_the_queue_is_never_filled_beyond_its_limit(tmp_path: Path, capsys: Captured, settings: Any) -> None:
    settings.RUNS_INTAKE_LIMIT = 2
    given = [conversation(f"run-{n}") for n in range(8)]
    found, _ = replayed(written(tmp_path, *given), capsys)
    assert (found["runs"], found["completed"]) == (8, 8)


def test_a_queue_that_others_fill_is_said_and_nothing_is_half_done(
    tmp_path: Path, capsys: Captured, settings: Any
) -> None:
    settings.RUNS_INTAKE_LIMIT = 1
    with transaction.atomic():
        holds.engage("pause", "everything", "", by="Ines")
    taken_in(conversation("waits"))
    with pytest.raises(CommandError, match="1 not taken in"):
        call_command("replay", str(written(tmp_path, conversation("a"))), json=True)
    assert "limit is 1" in capsys.readouterr().err
    assert Run.objects.count() == 1


def test_a_stop_refuses_new_runs_and_leaves_the_old_ones_held(tmp_path: Path, capsys: Captured) -> None:
    taken_in(conversation("a"))
    with transaction.atomic():
        holds.engage("stop", "workflow", "recorded:shop", by="Ines")
    path = written(tmp_path, conversation("a"), conversation("b"), conversation("c", workflow="else"))
    with pytest.raises(CommandError, match="1 not taken in"):
        call_command("replay", str(path), json=True)
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["runs"], found["waiting"], found["completed"], found["lost"]) == (2, 1, 1, 0)
    assert "line 2: Nothing was started" in err
    assert JournalEntry.objects.filter(act="start run", outcome="conflict").exists()


def test_a_summary_is_printed_for_people(tmp_path: Path, capsys: Captured) -> None:
    call_command("replay", str(written(tmp_path, conversation())))
    out = capsys.readouterr().out
    assert "1 runs: 1 completed" in out
    assert "6 recorded items: 2 model calls, 3 tool calls (1 failed), 1 messages" in out


def test_the_player_leaves_and_says_so(tmp_path: Path, capsys: Captured) -> None:
    replayed(written(tmp_path, conversation()), capsys)
    gone = Worker.objects.get(name__startswith="replay-")
    assert gone.gone_at is not None


def test_an_interrupt_leaves_in_order_and_the_same_command_finishes(tmp_path: Path, capsys: Captured) -> None:
    given = [
        trace(message("go"), *(thought(f"{n}", latency_s=0.2) for n in range(12)), run_id=f"run-{place}")
        for place in range(3)
    ]
    path = written(tmp_path, *given)

    def interrupt() -> None:
        until = time.monotonic() + 30
        while not Call.objects.filter(state="done").exists() and time.monotonic() < until:
            time.sleep(0.02)
        connection.close()
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(SystemExit) as left:
        call_command("replay", str(path), json=True, speed=1.0)
    thread.join()
    assert left.value.code == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert "Interrupted" in err
    left_behind = Run.objects.exclude(state="done")
    assert left_behind.exists()
    assert not left_behind.exclude(state__in=["ready", "sleeping"]).exists()
    assert all(run.due_at is not None for run in left_behind)
    found, _ = replayed(path, capsys, speed=0.0)
    assert found == {"runs": 3, **sums(*given), "completed": 3, "waiting": 0, "failed": 0, "lost": 0}


def test_a_replay_that_was_killed_is_finished_by_the_same_command(
    tmp_path: Path, capsys: Captured, settings: Any
) -> None:
    """Its runs are leased to somebody who is gone; the lease runs out."""
    settings.RUNS_LEASE_SECONDS = 2
    path = written(tmp_path, conversation("a"), conversation("b"))
    claim(taken_in(conversation("a")).pk, worker="killed")
    found, _ = replayed(path, capsys)
    assert (found["completed"], found["lost"]) == (2, 0)


def test_a_replay_that_gets_nowhere_ends_and_says_what_is_lost(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaying, "STALLED_SECONDS", 0.5)
    monkeypatch.setattr(replaying, "advance", lambda *_: None)
    with pytest.raises(CommandError, match="1 runs lost"):
        call_command("replay", str(written(tmp_path, conversation())), json=True)
    out, err = capsys.readouterr()
    assert json.loads(out)["lost"] == 1
    assert "Nothing has moved" in err


def test_the_sample_adds_up_exactly_twice(capsys: Captured) -> None:
    if not SAMPLE.exists():
        pytest.skip(f"no {SAMPLE.name} beside the checkout ({SAMPLE.parent})")
    with gzip.open(SAMPLE, "rt", encoding="utf-8") as file:
        given = [json.loads(line) for line in file]
    for _ in range(2):
        found, _ = replayed(SAMPLE, capsys)
        assert found == {"runs": 70, **sums(*given), "completed": 70, "waiting": 0, "failed": 0, "lost": 0}
    assert Step.objects.count() == found["steps"]
    # On a busy machine a permit may come too late for its gate, or a call is cut because its lease ended: it is asked
    # for again under the same key, and has one outcome.
    ended = Call.objects.exclude(state="refused", error__contains="aborted unsent").exclude(state="cut")
    once = ended.values("step", "key").distinct().count()
    assert once == found["model_calls"] + found["tool_calls"]
    assert Call.objects.values("step", "key").distinct().count() == once
    assert not Escalation.objects.exists()


def test_the_command_works_as_the_readme_shows_it(tmp_path: Path, capsys: Captured) -> None:
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    shown = re.search(r"manage\.py replay (\S+) (--json)", readme)
    assert shown
    plain = written(tmp_path, conversation())
    packed = tmp_path / shown[1]
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    call_command("replay", str(packed), shown[2])
    assert json.loads(capsys.readouterr().out)["completed"] == 1


def test_a_database_of_ones_own_that_is_not_up_to_date_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.DATA_DIR = tmp_path
    monkeypatch.setattr(MigrationExecutor, "migration_plan", lambda *_: ["something"])
    with pytest.raises(CommandError, match=r"run `python manage\.py migrate` first"):
        call_command("replay", str(written(tmp_path, conversation())))
    assert not Run.objects.exists()
