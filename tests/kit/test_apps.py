"""Apps of one's own: how a stranger's folder becomes part of the console, and what is said when it cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from opsconsole.environment import REPOSITORY


def settings_with(tmp_path: Path, apps: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Load the settings in a fresh process with these apps."""
    env = {"PATH": "/usr/bin:/bin", "SECRET_KEY": "x", "HOME": str(tmp_path), "OPSCONSOLE_APPS": apps, **more}
    code = "import opsconsole.settings as s; print(s.INSTALLED_APPS)"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=env, capture_output=True, text=True
    )


def folder(tmp_path: Path, name: str) -> Path:
    made = tmp_path / "flows" / name
    made.mkdir(parents=True)
    (made / "__init__.py").touch()
    return made


def test_a_folder_becomes_an_app_whose_module_can_be_imported(tmp_path: Path) -> None:
    app = folder(tmp_path, "myflows")
    for given in (str(app), "~/flows/myflows", f"{app}, ~/flows/myflows"):
        done = settings_with(tmp_path, given)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("'myflows'") == 1


def test_an_app_that_python_finds_is_taken_by_its_name(tmp_path: Path) -> None:
    app = folder(tmp_path, "myflows")
    done = settings_with(tmp_path, "myflows", PYTHONPATH=str(app.parent))
    assert "'myflows'" in done.stdout, done.stderr


def test_one_that_ships_is_not_there_twice(tmp_path: Path) -> None:
    done = settings_with(tmp_path, "opsconsole.shipped.invoice_intake")
    assert done.stdout.count("invoice_intake") == 1, done.stderr


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            "nosuch",
            "OPSCONSOLE_APPS names 'nosuch', and Python finds no such package; give its folder instead.",
        ),
        ("decimal", "OPSCONSOLE_APPS names 'decimal', and Python finds no such package"),  # it is a module
        ("/no/such", "OPSCONSOLE_APPS names /no/such, and there is no such folder."),
        ("~/flows/runs", "'runs' is "),
    ],
)
def test_what_cannot_be_an_app_is_one_sentence(tmp_path: Path, given: str, sentence: str) -> None:
    folder(tmp_path, "runs")
    done = settings_with(tmp_path, given)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_bad_misbehaviour_is_one_sentence_at_the_start(tmp_path: Path) -> None:
    done = settings_with(tmp_path, "", OPSCONSOLE_SIMULATED_MISBEHAVIOUR="writer=sloww")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "OPSCONSOLE_SIMULATED_MISBEHAVIOUR: 'sloww' is no misbehaviour; there are: "
    )
    assert len(done.stderr.strip().splitlines()) == 1
