"""docs/workflows.md: every block of code on it is written into a stranger's app and executed as it stands there."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from opsconsole.embedded import lease
from opsconsole.environment import REPOSITORY
from runs.agents.misbehaviour import Misbehaviour
from runs.testing.caught import CAUGHT_BY
from tests import cluster

PAGE = (REPOSITORY / "docs" / "workflows.md").read_text()
MOST_LINES = 30
# Nobody's trials and consoles but our own: what this session has set for itself says nothing to a stranger.
_LEFT_OUT = (
    "DATABASE_URL",
    "REDIS_URL",
    "DATA_DIR",
    "SECRET_KEY",
    "PYTEST_",
    "OPSCONSOLE_",
    "COV_",
    "DJANGO_",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    language: str
    text: str

    @property
    def file(self) -> str:
        """The file a Python block is, by its first line."""
        found = re.match(r"# (myflows/\w+\.py)\n", self.text)
        return found[1] if found else ""


def _blocks() -> list[Block]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return [Block(language=language, text=text) for language, text in fenced]


BLOCKS = _blocks()
FILES = {block.file: block for block in BLOCKS if block.file}
SHELL = [block for block in BLOCKS if block.language == "sh"]
TESTS = [name for name in FILES if name.startswith("myflows/test_")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """Somebody with a home, a folder of flows in it, and this repository."""

    home: Path
    env: dict[str, str]

    def does(self, script: str) -> subprocess.CompletedProcess[str]:
        exported = "\n".join(re.findall(r"^export .*$", "\n".join(b.text for b in SHELL), re.MULTILINE))
        return subprocess.run(
            ["bash", "-e", "-c", f"{exported}\n{script}"],
            cwd=REPOSITORY,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=300,
        )


@pytest.fixture(scope="module")
def stranger() -> Iterator[Stranger]:
    """The page followed from top to bottom, so far as it writes files. Servers run while the module's tests do."""
    home = Path(tempfile.mkdtemp(prefix="opsconsole-stranger-"))
    home.chmod(0o711)
    data = home / "data"
    env = {name: value for name, value in os.environ.items() if not name.startswith(_LEFT_OUT)}
    env |= {name: os.environ[name] for name in (cluster.LIKE,) if name in os.environ}
    env |= {"HOME": str(home), "DATA_DIR": str(data)}
    held = lease.acquire(data, fast=True)
    try:
        someone = Stranger(home=home, env=env)
        made = someone.does(SHELL[0].text)
        assert made.returncode == 0, made.stderr
        for name, block in FILES.items():
            (home / "flows" / name).write_text(block.text)
        ready = someone.does(".venv/bin/python manage.py migrate -v 0")
        assert ready.returncode == 0, ready.stderr
        yield someone
    finally:
        held.close()
        shutil.rmtree(home, ignore_errors=True)


def test_every_block_is_a_file_a_command_or_what_a_command_prints() -> None:
    assert {block.language for block in BLOCKS} == {"python", "sh", "text"}
    assert [block.text[:40] for block in BLOCKS if block.language == "python" and not block.file] == []
    assert len(FILES) == sum(1 for block in BLOCKS if block.language == "python")
    for before, block in itertools.pairwise(BLOCKS):
        assert block.language != "text" or before.language == "sh"


@pytest.mark.parametrize("name", ["letters", "drafts", "surveys"])
def test_each_pattern_takes_thirty_lines(name: str) -> None:
    lines = [line for line in FILES[f"myflows/{name}.py"].text.splitlines()[1:] if line.strip()]
    assert len(lines) <= MOST_LINES


@pytest.mark.skipif(not (REPOSITORY / ".venv/bin/python").exists(), reason="the page's commands use .venv")
@pytest.mark.parametrize("number", range(len(SHELL)))
def test_every_command_works_and_prints_what_the_page_says(stranger: Stranger, number: int) -> None:
    block = SHELL[number]
    done = stranger.does(block.text)
    assert done.returncode == 0, done.stdout + done.stderr
    after = BLOCKS[BLOCKS.index(block) + 1] if BLOCKS.index(block) + 1 < len(BLOCKS) else None
    if after is not None and after.language == "text":
        for line in after.text.splitlines():
            assert line in done.stdout, done.stdout + done.stderr


def test_every_test_on_the_page_passes(stranger: Stranger) -> None:
    done = stranger.does(f"{sys.executable} -m pytest -q -p opsconsole.trials ~/flows/myflows")
    assert done.returncode == 0, done.stdout + done.stderr
    tests = sum(len(re.findall(r"^def test_", FILES[name].text, re.MULTILINE)) for name in TESTS)
    assert f"{tests} passed" in done.stdout
    assert "warning" not in done.stdout


def test_the_definitions_on_the_page_have_no_problem_and_appear_in_the_console(stranger: Stranger) -> None:
    code = "from runs import registry; print([one.name for one in registry.all_newest()])"
    done = stranger.does(f'.venv/bin/python manage.py shell -v 0 -c "{code}"')
    assert done.returncode == 0, done.stderr
    for name in ("letters", "drafts", "surveys", "payments"):
        assert f"'{name}'" in done.stdout


def test_the_page_lists_what_trials_say_was_in_the_way() -> None:
    table = PAGE.partition("| `caught_by` | what stood in the way |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([a-z: ]+)`", table.partition("|---|---|")[2])) >= CAUGHT_BY


def test_the_page_lists_every_misbehaviour_in_its_own_words() -> None:
    for kind in Misbehaviour:
        assert f"| `{kind}` | {kind.sentence} |" in PAGE
