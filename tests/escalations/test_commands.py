"""`manage.py start` and `manage.py seed_demo`: what they print, and that repeating them changes nothing."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from pytest_django import Settings

from escalations import controls
from opsconsole.management.commands import seed_demo
from runs import live
from runs.models import Run
from tests.factories import journal, person

pytestmark = pytest.mark.django_db(transaction=True)


class Told:
    """What a command said, and whether it failed."""

    def __init__(self, workflow: str, file: Path | str, *more: str) -> None:
        out, err = io.StringIO(), io.StringIO()
        self.failed = ""
        try:
            call_command("start", workflow, "--input", str(file), *more, stdout=out, stderr=err)
        except CommandError as error:
            self.failed = str(error)
        self.out, self.err = out.getvalue(), err.getvalue()


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_one_input_starts_one_run_and_again_none(tmp_path: Path) -> None:
    file = written(tmp_path, "order.json", json.dumps({"text": "a"}))
    first, second = Told("plain", file), Told("plain", file)
    run = Run.objects.get()
    assert (first.out, second.out) == (f"run {run.pk}\n", f"run {run.pk} (already started)\n")
    assert run.started_by.startswith("command line (")
    assert [entry.act for entry in journal()] == ["start run", "start run"]
    assert journal()[0].actor_name == run.started_by


def test_a_file_of_lines_starts_one_run_a_line_and_reports_the_bad_ones_by_number(tmp_path: Path) -> None:
    lines = [
        '{"text":"a"}',
        "",
        '{"text":"b"}',
        "{not json",
        '["list"]',
        '{"amount":"lots"}',
        '{"text":"a\u2028b"}',
    ]
    told = Told("plain", written(tmp_path, "orders.jsonl", "\n".join(lines)))
    first, second, third = Run.objects.order_by("pk")
    assert told.out == f"line 1: run {first.pk}\nline 3: run {second.pk}\nline 7: run {third.pk}\n"
    errors = told.err.splitlines()
    assert errors[0].startswith("line 4: not JSON")
    assert errors[1] == "line 5: not a JSON object."
    assert errors[2].startswith("line 6: amount: ")
    assert told.failed == "3 of 6 not started."


def test_the_hints_have_left_when_the_command_ends(tmp_path: Path) -> None:
    Told("plain", written(tmp_path, "order.json", "{}"))
    assert live.flush(0)


def test_equal_lines_are_two_runs_and_the_same_file_again_is_none(tmp_path: Path) -> None:
    file = written(tmp_path, "orders.jsonl", '{"text":"a"}\n{"text":"a"}\n')
    assert "already" not in Told("plain", file).out
    assert Told("plain", file).out.count("already started") == 2
    assert Run.objects.count() == 2


def test_a_key_of_ones_own_counts_instead_of_the_content(tmp_path: Path) -> None:
    one, other = (written(tmp_path, f"{text}.json", json.dumps({"text": text})) for text in "ab")
    Told("plain", one, "--key", "monday")
    assert "already started" in Told("plain", other, "--key", "monday").out
    lines = written(tmp_path, "orders.jsonl", '{"text":"a"}\n{"text":"b"}\n')
    Told("plain", lines, "--key", "tuesday")
    assert sorted(Run.objects.values_list("start_key", flat=True)) == ["monday", "tuesday:1", "tuesday:2"]


def test_input_from_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"text":"a"}\n{"text":"b"}\n'))
    assert Told("plain", "-").out.count("run ") == 2


def test_what_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes(b"\xff\xfe\xff")
    assert Told("plain", tmp_path / "missing.json").failed.endswith("No such file or directory.")
    assert Told("plain", tmp_path / "latin.json").failed.endswith("is not UTF-8 text.")
    assert Told("plain", written(tmp_path, "empty.jsonl", "\n")).failed.endswith("holds no input.")
    unknown = Told("no such workflow", written(tmp_path, "a.json", "{}"))
    assert "There is no workflow 'no such workflow'" in unknown.err
    assert unknown.failed == "1 of 1 not started."


def test_a_full_intake_says_when_to_come_back_and_stops_trying(tmp_path: Path, settings: Settings) -> None:
    settings.RUNS_INTAKE_LIMIT = 2
    file = written(tmp_path, "orders.jsonl", "".join(f'{{"text":"{n}"}}\n' for n in range(5)))
    told = Told("plain", file)
    assert told.out.count("run ") == 2
    assert len(told.err.splitlines()) == 1
    assert "Try again in" in told.err
    assert told.failed == "3 of 5 not started."
    settings.RUNS_INTAKE_LIMIT = 500
    assert Told("plain", file).out.count("already started") == 2
    assert Run.objects.count() == 5


def test_nothing_starts_under_a_stop(tmp_path: Path, operator: User) -> None:
    controls.engage(actor=operator, kind="stop", scope_kind="everything")
    told = Told("plain", written(tmp_path, "a.json", "{}"))
    assert "stopped by Marta Oliveira" in told.err
    assert not Run.objects.exists()
    assert journal()[-1].outcome == "conflict"


@pytest.fixture
def data_dir(tmp_path: Path, settings: Settings) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path


def seed() -> str:
    out = io.StringIO()
    call_command("seed_demo", stdout=out)
    return out.getvalue()


def sign_ins(folder: Path) -> dict[str, str]:
    lines = (folder / "sign-ins.txt").read_text().splitlines()
    return {line.split()[0]: line.split()[1] for line in lines}


def test_the_demo_has_three_people_who_can_sign_in_and_runs_to_look_at(data_dir: Path) -> None:
    seed()
    passwords = sign_ins(data_dir)
    assert set(passwords) == {"operator", "admin", "auditor"}
    assert len(set(passwords.values())) == 3
    marta = authenticate(username="operator", password=passwords["operator"])
    assert isinstance(marta, User)
    assert marta.get_full_name() == "Marta Oliveira"
    assert [group.name for group in marta.groups.all()] == ["operator"]
    assert Run.objects.filter(workflow="invoice_intake").count() == len(seed_demo.INVOICES) >= 12


def test_the_sign_ins_are_readable_by_nobody_else_and_not_printed(data_dir: Path) -> None:
    said = seed()
    assert stat.S_IMODE((data_dir / "sign-ins.txt").stat().st_mode) == 0o600
    assert not any(password in said for password in sign_ins(data_dir).values())
    assert [path.name for path in data_dir.iterdir() if "sign-ins" in path.name] == ["sign-ins.txt"]


def test_a_second_start_changes_nothing_not_even_what_people_have_changed(data_dir: Path) -> None:
    seed()
    before = (data_dir / "sign-ins.txt").read_text()
    admin = User.objects.get(username="admin")
    admin.set_password("my own now")
    admin.save()
    User.objects.get(username="auditor").delete()
    entries = len(journal())
    assert seed() == ""
    assert authenticate(username="admin", password="my own now") == admin
    assert not User.objects.filter(username="auditor").exists()
    assert (data_dir / "sign-ins.txt").read_text() == before
    assert len(journal()) == entries


def test_somebody_who_has_the_name_already_keeps_the_account(data_dir: Path) -> None:
    mine = person("admin", password="mine")
    seed()
    assert authenticate(username="admin", password="mine") == mine
    assert not mine.groups.exists()
    assert set(sign_ins(data_dir)) == {"operator", "auditor"}
