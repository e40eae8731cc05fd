"""The section "Starting runs" of README.md shows what works."""

from __future__ import annotations

import re
from pathlib import Path

from opsconsole.triggers import watched_folders, webhook_secrets
from runs.checks.of_starts import problems
from runs.starts_by import Kind, Start
from tests.starts.conftest import SECRET, workflow

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
SECTION = README.partition("## Starting runs\n")[2].partition("\n## ")[0]


def test_the_starts_that_it_shows_can_work() -> None:
    shown = re.search(r"^ +starts=(\(\n.*?\n +\)),", SECTION, re.DOTALL | re.MULTILINE)
    imported = re.search(r"^ +(from runs\.starts_by import .*)$", SECTION, re.MULTILINE)
    assert shown
    assert imported
    names: dict[str, object] = {}
    exec(imported[1], names)  # noqa: S102
    starts: tuple[Start, ...] = eval(shown[1], names)
    assert {start.kind for start in starts} == set(Kind)
    assert list(problems(workflow(*starts))) == []


def test_the_settings_that_it_shows_are_read() -> None:
    folders = re.search(r'WATCHED_FOLDERS="(.*?)"', SECTION)
    secrets = re.search(r'WEBHOOK_SECRETS="(.*?)"', SECTION)
    assert folders
    assert secrets
    assert watched_folders({}, {"WATCHED_FOLDERS": folders[1]}) == {"letters/dropped": Path("/srv/letters")}
    given = secrets[1].replace("whsec_…", SECRET)
    assert webhook_secrets({"WEBHOOK_SECRETS": given}) == {"letters/letters": (SECRET,)}
