"""Watched folders: real files. Nothing is started twice, nothing is lost, nothing is taken half-written."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, transaction
from pytest_django import Settings

from opsconsole import environment
from opsconsole.management.commands import prepare
from runs import bodies
from runs.dropped import SETTLE_SECONDS
from runs.engine import holds
from runs.engine.triggers import folders
from runs.shown.triggers import triggers_of
from runs.starts_by import Folder
from tests.factories import at_once
from tests.starts.conftest import NAME, Register, database_away, first_event, names, runs, trigger
from tests.starts.dropping import DROPPED, drop, look, why

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_complete_file_starts_a_run_and_moves_to_done(registered: Register, folder: Path) -> None:
    registered(DROPPED)
    drop(folder, text="from a file")
    assert look() == 1
    (run,) = runs()
    assert bodies.load(run.input)["text"] == "from a file"
    assert (run.started_by, run.start_key.startswith("folder:dropped:")) == ("folder dropped", True)
    assert first_event(run)["file"] == "order.json"
    assert (names(folder), names(folder / "done")) == ([], ["order.json"])
    assert look() == 0
    assert trigger().last_run == run


def test_a_file_is_left_alone_until_nothing_has_changed_it_for_two_seconds(
    registered: Register, folder: Path
) -> None:
    registered(DROPPED)
    path = folder / "order.json"
    with path.open("w") as writer:
        writer.write('{"text": "half')
        writer.flush()
        os.utime(path, (0, 0))  # times that are set, as copying with -p does, make nobody believe it is old
        assert folders.look(path.stat().st_ctime + SETTLE_SECONDS - 0.01) == 0
        writer.write(' and whole"}')
    changed = path.stat().st_ctime
    assert folders.look(changed + SETTLE_SECONDS - 0.01) == 0
    assert names(folder) == ["order.json"]
    assert triggers_of(NAME)[0].last_error == ""  # waiting is no trouble
    assert folders.look(changed + SETTLE_SECONDS + 0.01) == 1  # moments are floats
    assert bodies.load(runs()[0].input)["text"] == "half and whole"


def test_only_names_like_the_pattern_are_taken_and_hidden_ones_never(
    registered: Register, folder: Path
) -> None:
    registered(Folder(name="dropped", pattern="*.json order-*"))
    for file in ("a.JSON", "order-1", "b.txt", ".c.json", "d.json.part"):
        drop(folder, file)
    assert look() == 2
    assert names(folder) == [".c.json", "b.txt", "d.json.part"]


def test_a_crash_between_start_and_move_starts_no_second_run(
    registered: Register, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(DROPPED)
    drop(folder)
    monkeypatch.setenv("FAILPOINT", "after_start_before_move:raise:1")
    assert look() == 0
    assert (len(runs()), names(folder)) == (1, ["order.json"])
    monkeypatch.delenv("FAILPOINT")
    assert look() == 0
    assert (len(runs()), names(folder), names(folder / "done")) == (1, [], ["order.json"])


def test_a_process_killed_between_start_and_move_starts_no_second_run(
    registered: Register, folder: Path
) -> None:
    registered(DROPPED)
    drop(folder)
    killed = _in_another_process(folder, "after_start_before_move:kill")
    assert killed == -9
    assert (len(runs()), names(folder)) == (1, ["order.json"])
    look()
    assert (len(runs()), names(folder / "done")) == (1, ["order.json"])


def _in_another_process(folder: Path, failpoint: str) -> int:
    """Looks once at the folder, in a process of its own on this test's database; how it ended."""
    from django.db import connection

    code = (
        "import django, time; django.setup()\n"
        "from django.conf import settings; from pathlib import Path\n"
        f"settings.DATABASES['default']['NAME'] = {connection.settings_dict['NAME']!r}\n"
        f"settings.WATCHED_FOLDERS = {{'{NAME}/dropped': Path({str(folder)!r})}}\n"
        "from runs import registry; from runs.engine.triggers import folders; from runs.starts_by import Folder\n"
        "from tests.starts.conftest import workflow\n"
        "registry.register(workflow(Folder(name='dropped')))\n"
        "folders.look(time.time() + 60)\n"
    )
    env = {**os.environ, "FAILPOINT": failpoint}
    return subprocess.run([sys.executable, "-c", code], cwd=environment.REPOSITORY, env=env).returncode


def test_eight_processes_that_watch_the_same_folder_start_each_file_once(
    registered: Register, folder: Path
) -> None:
    registered(DROPPED)
    for number in range(20):
        drop(folder, f"{number}.json", text=f"order {number}")
    found = at_once(*[look] * 8)
    assert [one for one in found if isinstance(one, Exception)] == []
    for _ in range(100):  # what one was about to move while another looked, and what a look had no time for
        if not names(folder):
            break
        found.append(look())
    assert len(runs()) == 20
    moved = names(folder / "done")  # whoever moves a file while another is about to numbers it
    assert sorted(int(name.partition(".")[0]) for name in moved) == list(range(20))
    assert all((folder / "done" / name).read_text() for name in moved)
    assert names(folder / "refused") == []
    assert sum(found) == 20


def test_the_same_content_under_the_same_name_is_the_same_start(registered: Register, folder: Path) -> None:
    registered(DROPPED)
    for _ in range(2):
        drop(folder, text="again")
        look()
    drop(folder, text="another")
    look()
    assert [bodies.load(run.input)["text"] for run in runs()] == ["again", "another"]
    assert names(folder / "done") == ["order.2.json", "order.3.json", "order.json"]  # none written over


def test_the_same_content_under_another_name_is_another_start(registered: Register, folder: Path) -> None:
    registered(DROPPED)
    drop(folder, "a.json")
    drop(folder, "b.json")
    assert look() == 2


def test_a_stop_leaves_the_files_where_they_are(registered: Register, folder: Path) -> None:
    registered(DROPPED)
    drop(folder)
    with transaction.atomic():
        control, _ = holds.engage("stop", "workflow", NAME, by="Marta")
    assert look() == 0
    assert "is stopped by Marta" in trigger().last_error
    assert (names(folder), names(folder / "refused")) == (["order.json"], [])
    with transaction.atomic():
        holds.release(control.pk, by="Marta", reason="over")
    assert look() == 1


def test_a_full_intake_takes_as_many_as_fit_and_the_oldest_first(
    registered: Register, folder: Path, settings: Settings
) -> None:
    registered(DROPPED)
    for file in ("z.json", "a.json", "m.json"):
        drop(folder, file)
        time.sleep(0.02)  # so that the file system's clock tells them apart
    settings.RUNS_INTAKE_LIMIT = 2
    assert look() == 2
    assert names(folder) == ["m.json"]
    assert "the limit is 2" in trigger().last_error
    settings.RUNS_INTAKE_LIMIT = 10
    assert look() == 1


def test_without_a_database_the_files_stay(registered: Register, folder: Path) -> None:
    registered(DROPPED)
    drop(folder)
    with database_away(), pytest.raises(OperationalError):
        look()
    assert names(folder) == ["order.json"]
    assert look() == 1


def test_a_database_that_goes_away_in_the_middle_leaves_the_file(registered: Register, folder: Path) -> None:
    away = contextlib.ExitStack()

    def given(path: Path) -> dict[str, Any]:
        if path.read_text() == "first":
            away.enter_context(database_away())
        return {"text": path.read_text()}

    registered(Folder(name="dropped", pattern="*.txt", input=given))
    (folder / "order.txt").write_text("first")
    with away, pytest.raises(OperationalError):
        look()
    assert (names(folder), runs()) == (["order.txt"], [])


def test_a_watched_folder_among_our_own_data_is_made_and_no_other(tmp_path: Path, settings: Settings) -> None:
    settings.DATA_DIR = tmp_path / "data"
    prepare._make_if_ours(tmp_path / "data" / "invoices" / "dropped")
    prepare._make_if_ours(tmp_path / "elsewhere")
    assert (tmp_path / "data" / "invoices" / "dropped").is_dir()
    assert not (tmp_path / "elsewhere").exists()


def test_a_function_makes_the_input_and_what_it_refuses_is_refused(
    registered: Register, folder: Path
) -> None:
    def given(path: Path) -> dict[str, Any]:
        return {"text": path.name, "amount": int(path.read_text())}

    registered(Folder(name="dropped", pattern="*.txt", input=given))
    (folder / "good.txt").write_text("7")
    (folder / "bad.txt").write_text("seven")
    assert look() == 1
    assert bodies.load(runs()[0].input)["amount"] == 7
    assert why(folder, "bad.txt").startswith("No input can be made of this file: ValueError: invalid literal")


def test_a_file_that_changes_while_it_is_looked_at_stays(registered: Register, folder: Path) -> None:
    def given(path: Path) -> dict[str, Any]:
        if path.read_text() == "first":
            path.write_text("second")
        return {"text": path.read_text()}

    registered(Folder(name="dropped", pattern="*.txt", input=given))
    (folder / "order.txt").write_text("first")
    assert look() == 0
    assert names(folder) == ["order.txt"]
    assert look() == 1
    assert [bodies.load(run.input)["text"] for run in runs()] == ["second"]


def test_a_newer_file_that_took_the_name_is_not_moved_away_unread(registered: Register, folder: Path) -> None:
    newer = folder / ".newer"

    def goal(order: Any) -> str:  # between the reading and the move
        if newer.exists():
            newer.rename(folder / "order.json")
        return str(order.text)

    registered(DROPPED, goal=goal)
    drop(folder, text="older")
    drop(folder, ".newer", text="newer")
    assert look() == 1
    assert names(folder) == ["order.json"]
    assert look() == 1
    assert [bodies.load(run.input)["text"] for run in runs()] == ["older", "newer"]


def test_a_workflow_that_fails_at_one_file_goes_on_with_the_others(
    registered: Register, folder: Path
) -> None:
    def goal(order: Any) -> str:
        return f"{100 // order.amount}"

    registered(DROPPED, goal=goal)
    drop(folder, "a.json", amount=0)
    drop(folder, "b.json", amount=5)
    assert look() == 1
    assert names(folder) == ["a.json"]
    assert trigger().last_error.startswith("a.json: ZeroDivisionError")


def test_a_start_without_a_folder_in_the_settings_is_not_set_up(
    registered: Register, settings: Settings
) -> None:
    settings.WATCHED_FOLDERS = {}
    registered(DROPPED)
    assert look() == 0
    (seen,) = triggers_of(NAME)
    assert (seen.ready, seen.last_error.startswith("Not set up: ")) == (False, True)
