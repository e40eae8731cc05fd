"""Starts that cannot work are refused before anything runs; what the settings lack is warned of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from pytest_django import Settings

from runs.checks.of_starts import problems
from runs.starts_by import Folder, Schedule, Start, Webhook
from tests.starts.conftest import NAME, SECRET, Register, workflow

NO_INPUT: Any = "nothing"  # authors may not type-check


@pytest.mark.parametrize(
    ("starts", "code", "says"),
    [
        ([Webhook(name="a"), Folder(name="a")], "runs.E030", "2 starts are named 'a'"),
        ([Webhook(name="Orders/x")], "runs.E031", "small letters"),
        ([Webhook(name="a" * 61)], "runs.E031", "small letters"),
        ([Schedule(name="a", cron="0 25 * * *", input={})], "runs.E032", "'25' is no hour"),
        (
            [Schedule(name="a", cron="0 5 * * *", timezone="Mars", input={})],
            "runs.E032",
            "no time zone 'Mars'",
        ),
        ([Schedule(name="a", cron="0 5 31 4,6 *", input={})], "runs.E033", "never comes"),
        ([Schedule(name="a", cron="0 5 * * *", input={"amount": "x"})], "runs.E034", "amount: "),
        ([Schedule(name="a", cron="0 5 * * *", input=NO_INPUT)], "runs.E035", "input is str"),
        ([Webhook(name="a", input=NO_INPUT)], "runs.E035", "or leave it out"),
        ([Folder(name="a", pattern="in/*.json")], "runs.E036", "without a folder"),
        ([Folder(name="a", most_bytes=0)], "runs.E036", "above 0"),
    ],
)
def test_a_start_that_cannot_work_is_refused(starts: list[Start], code: str, says: str) -> None:
    found = {code: f"{text} {fix}" for code, text, fix in problems(workflow(*starts))}
    assert list(found) == [code]
    assert says in found[code]


def test_starts_that_can_work_have_no_problems() -> None:
    good = (
        Schedule(name="leap-year", cron="0 5 29 2 *", input=lambda due: {}),
        Schedule(name="nightly", cron="0 2 * * mon-fri", timezone="Europe/Berlin", input={"amount": 3}),
        Webhook(name="orders"),
        Folder(name="dropped", pattern="*.xml *.txt"),
    )
    assert list(problems(workflow(*good))) == []


def _found() -> dict[str, str]:
    """What is found, but for the definitions of other tests: some are wrong on purpose."""
    return {str(one.id): one.msg for one in run_checks(tags=["workflows"]) if not _elsewhere(one.msg)}


def _elsewhere(message: str) -> bool:
    return "/tests/" in message and "/tests/starts/" not in message


def test_a_webhook_without_a_secret_is_a_warning_and_no_error(
    registered: Register, settings: Settings
) -> None:
    settings.WATCHED_FOLDERS = {}
    settings.WEBHOOK_SECRETS = {}
    registered(Webhook(name="orders"))
    assert "/hooks/starting/orders has no secret" in _found()["runs.W030"]
    settings.WEBHOOK_SECRETS = {f"{NAME}/orders": (SECRET,)}
    assert _found() == {}


def test_settings_for_a_start_that_there_is_not_are_a_warning(
    registered: Register, settings: Settings
) -> None:
    settings.WEBHOOK_SECRETS = {}
    settings.WATCHED_FOLDERS = {f"{NAME}/orders": Path("/somewhere")}
    registered(Folder(name="order"))
    assert _found()["runs.W031"] == "WATCHED_FOLDERS names starting/orders, and there is no such folder."


def test_what_ships_has_no_problems_as_it_ships() -> None:
    assert _found() == {}
