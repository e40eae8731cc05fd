"""What README.md shows works as it is written there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction

from runs import bodies, registry
from runs.checks import problems
from runs.engine import starts
from runs.engine.advance import advance
from runs.engine.worker.runtime import Runtime
from runs.models import Run

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def _python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.django_db(transaction=True)
def test_the_workflow_in_30_lines_runs_to_the_end(settings: Any) -> None:
    settings.SIMULATED_SECONDS = 0.0
    (block,) = _python_blocks()
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})  # noqa: S102
    letters = registry.newest("letters")
    assert letters is not None
    try:
        assert list(problems(letters)) == []
        with transaction.atomic():
            run = starts.start("letters", {"text": " Dear reader "}, start_key="k", by="test").run
        advance(run.pk, Runtime("readme", "agents"))
        done = Run.objects.get(pk=run.pk)
        assert done.state == "done"
        assert done.output is not None
        assert bodies.load(done.output)["words"] >= 2
    finally:
        registry.forget(letters)


@pytest.mark.django_db(transaction=True)
def test_the_start_commands_work_as_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = re.search(r"echo '(\{.*\})'", README)
    many = re.search(r"--input (\S+\.jsonl)", README)
    assert written
    assert many
    one = tmp_path / "invoice.json"
    one.write_text(written[1])
    call_command("start", "invoice_intake", input=str(one))
    call_command("start", "invoice_intake", input=str(one))
    assert "already started" in capsys.readouterr().out
    call_command("start", "invoice_intake", input=str(ROOT / many[1]))
    rest = [json.loads(line) for line in (ROOT / many[1]).read_text().splitlines()]
    assert Run.objects.count() == len(rest) + 1


def test_every_file_and_target_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"`((?:docs|opsconsole|compose)[\w/.]*\.(?:md|py|yaml))`", README))
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
    targets = set(re.findall(r"`make ([a-z]+)`", README)) | set(
        re.findall(r"^    make ([a-z]+)", README, re.M)
    )
    makefile = (ROOT / "Makefile").read_text()
    assert [target for target in sorted(targets) if f"\n{target}:" not in makefile] == []
