"""What `manage.py check` warns of: runs start all the same, and their author would be surprised."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.core.checks import Warning, run_checks

from opsconsole.environment import REPOSITORY
from runs import registry
from runs.checks import doubts, problems
from runs.definitions import ErrorPolicy, Fallback
from runs.testing.replies import PROVIDER
from tests.kit import flows

OTHER = f"{PROVIDER}/one"  # a provider that this process knows, and not the simulated one


def _codes(workflow: Any) -> list[tuple[str, str]]:
    assert problems(workflow) == []
    return [(code, text) for code, text, _ in doubts(workflow)]


def test_a_simulated_agent_without_a_rule_is_a_warning_and_a_real_or_a_ruled_one_is_none() -> None:
    assert _codes(flows.paying()) == []
    assert _codes(flows.paying(work=flows.agent("kit_mute", model=OTHER))) == []
    ((code, text),) = _codes(flows.paying(work=flows.agent("kit_mute")))
    assert code == "runs.W002"
    assert text.startswith("agent 'kit_mute' of node 'propose' is simulated and has no rule")


def test_a_fallback_to_a_simulated_model_needs_a_rule_too() -> None:
    real = flows.agent("kit_mute", model=OTHER)
    falls_back = ErrorPolicy(recoverable=Fallback(models=("simulated/spare",)))
    assert [code for code, _ in _codes(flows.paying(work=real, errors=falls_back))] == ["runs.W002"]


def test_a_sample_that_breaks_its_contract_is_a_warning() -> None:
    odd = replace(flows.paying(), samples=lambda: [{"text": "x"}, {"text": "x", "amount": "lots"}])
    ((code, text),) = _codes(odd)
    assert code == "runs.W003"
    assert text.startswith("sample 2 breaks its contract: amount: ")


def test_a_sample_that_json_cannot_hold_is_a_warning() -> None:
    ((code, text),) = _codes(replace(flows.paying(), samples=lambda: [{"text": "x", "amount": float("nan")}]))
    assert (code, text.startswith("sample 1 is nothing that JSON can hold: ")) == ("runs.W003", True)


def test_samples_that_cannot_be_had_are_a_warning() -> None:
    def fails() -> Any:
        raise OSError("no such file")

    ((code, text),) = _codes(replace(flows.paying(), samples=fails))
    assert (code, "no such file" in text) == ("runs.W003", True)


def test_the_check_tells_of_registered_workflows_and_what_ships_gives_no_cause() -> None:
    def told() -> list[str]:
        found = [one for one in run_checks(tags=["workflows"]) if one.id in ("runs.W002", "runs.W003")]
        assert all(isinstance(one, Warning) for one in found)
        return [one.msg for one in found]

    assert told() == []
    odd = registry.register(replace(flows.paying(), samples=lambda: [{}]))
    try:
        (said,) = told()
    finally:
        registry.forget(odd)
    assert said.startswith("kit_paying v1: sample 1 breaks its contract: text: ")


def test_trials_outside_the_repository_show_no_warning_of_ours(tmp_path: Path) -> None:
    place = tmp_path / "flows"
    place.mkdir()
    (place / "test_one.py").write_text("def test_one():\n    assert True\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "opsconsole.trials", str(place)],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "arning" not in done.stdout + done.stderr
