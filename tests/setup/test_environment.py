"""What the environment may say, and the one sentence for everything else."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from opsconsole import environment
from opsconsole.environment import Refused


def settings_with(**given: str) -> subprocess.CompletedProcess[str]:
    """Load the settings in a fresh process with nothing but this in its environment."""
    env = {"PATH": "/usr/bin:/bin", "SECRET_KEY": "x", **given}
    code = "import opsconsole.settings as s, sys; print(s.DATABASES['default'])"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=environment.REPOSITORY, env=env, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"PORT": "abc"}, "PORT must be a whole number from 1 to 65535, not 'abc'."),
        ({"PORT": "70000"}, "PORT must be a whole number from 1 to 65535, not '70000'."),
        ({"OPSCONSOLE_RUNS_LEASE_SECONDS": "0"}, "OPSCONSOLE_RUNS_LEASE_SECONDS must be a whole number"),
        (
            {"OPSCONSOLE_BREAKER_CONSECUTIV": "3"},
            "OPSCONSOLE_BREAKER_CONSECUTIV is set, and there is no such setting. Did you mean "
            "OPSCONSOLE_BREAKER_CONSECUTIVE?",
        ),
        ({"OPSCONSOLE_ZZZ": "3"}, "OPSCONSOLE_ZZZ is set, and there is no such setting. Unset it"),
        (
            {"OPSCONSOLE_RUNS_LEASE_SECONDS": "10", "OPSCONSOLE_RUNS_HEARTBEAT_SECONDS": "6"},
            "OPSCONSOLE_RUNS_HEARTBEAT_SECONDS must be a whole number from 1 to 5, not '6'.",
        ),
        (
            {"OPSCONSOLE_LOG_LEVEL": "loud"},
            "OPSCONSOLE_LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL, not 'loud'.",
        ),
        ({"OPSCONSOLE_PRODUCTION": "perhaps"}, "OPSCONSOLE_PRODUCTION must be 1 or 0, not 'perhaps'."),
        ({"DATABASE_URL": "postgresql://u:p@h/n"}, "DATABASE_URL is set and REDIS_URL is not"),
        ({"REDIS_URL": "redis://h"}, "REDIS_URL is set and DATABASE_URL is not"),
        ({"DATABASE_URL": "mysql://u@h/n", "REDIS_URL": "redis://h"}, "DATABASE_URL is not an address"),
        (
            {"DATABASE_URL": "postgresql://u@h:port/n", "REDIS_URL": "redis://h"},
            "DATABASE_URL is not an address",
        ),
        ({"DATABASE_URL": "postgresql://u@h", "REDIS_URL": "redis://h"}, "DATABASE_URL is not an address"),
        (
            {"DATABASE_URL": "postgresql://u@h/n", "REDIS_URL": "localhost:6379"},
            "REDIS_URL is not an address",
        ),
        ({"SECRET_KEY": "", "OPSCONSOLE_PRODUCTION": "1"}, "SECRET_KEY is not"),
        ({"SECRET_KEY": "", "DATA_DIR": "/proc/nowhere"}, "choose another DATA_DIR"),
    ],
)
def test_a_bad_value_is_one_sentence(given: dict[str, str], sentence: str) -> None:
    done = settings_with(**given)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_password_is_never_repeated_in_a_refusal() -> None:
    done = settings_with(DATABASE_URL="postgres//u:hunter2@h/n", REDIS_URL="redis://h")
    assert done.returncode == 1
    assert "hunter2" not in done.stderr


def test_good_addresses_reach_django() -> None:
    done = settings_with(
        DATABASE_URL="postgresql://me:a%40b@db:5433/ops?sslmode=require", REDIS_URL="redis://h/1"
    )
    assert done.returncode == 0, done.stderr
    for part in ("'ops'", "'me'", "'a@b'", "'db'", "'5433'", "'sslmode': 'require'"):
        assert part in done.stdout


def test_celery_gets_its_own_spelling_of_a_unix_socket() -> None:
    assert environment.celery_address("unix:///a/b.sock?db=3") == "redis+socket:///a/b.sock?virtual_host=3"
    assert environment.celery_address("redis://h:1/2") == "redis://h:1/2"


def test_only_ascii_digits_are_a_number() -> None:
    with pytest.raises(Refused):
        environment.number("PORT", 1, least=1, most=9999, env={"PORT": "٣٣"})


def test_starting_a_run_where_no_console_has_run_is_one_sentence(tmp_path: Path) -> None:
    given = tmp_path / "one.json"
    given.write_text("{}")
    nothing_to_copy = {name: value for name, value in os.environ.items() if name != "OPSCONSOLE_CLUSTER_LIKE"}
    said = subprocess.run(
        [sys.executable, "manage.py", "start", "invoice_intake", "--input", str(given)],
        env={**nothing_to_copy, "DATA_DIR": str(tmp_path / "data"), "DATABASE_URL": "", "REDIS_URL": ""},
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert said.returncode == 1
    assert said.stderr.splitlines()[-1].startswith("CommandError: No console has run on this data yet")
    assert "Traceback" not in said.stderr


def test_every_setting_that_the_code_reads_is_known_and_no_other() -> None:
    read: set[str] = set()
    for folder in ("opsconsole", "runs", "escalations"):
        for file in (environment.REPOSITORY / folder).rglob("*.py"):
            read |= set(re.findall(r'"OPSCONSOLE_([A-Z_]+[A-Z])"', file.read_text()))
    assert read == set(environment.NAMES)
