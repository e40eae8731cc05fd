"""What the environment may say about folders and secrets, and the one sentence for everything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsconsole.environment import Refused
from opsconsole.triggers import watched_folders, webhook_secrets
from tests.starts.conftest import OTHER_SECRET, SECRET


def test_folders_and_secrets_are_read_by_workflow_and_name() -> None:
    env = {
        "WATCHED_FOLDERS": "a/in=/data/in , b/in=/data/with space",
        "WEBHOOK_SECRETS": f"a/orders={SECRET} {OTHER_SECRET},\n b/orders={SECRET}",
    }
    assert watched_folders({}, env) == {"a/in": Path("/data/in"), "b/in": Path("/data/with space")}
    assert webhook_secrets(env) == {"a/orders": (SECRET, OTHER_SECRET), "b/orders": (SECRET,)}


def test_the_default_is_for_a_setting_that_is_not_there_and_not_for_an_empty_one() -> None:
    default = {"a/in": Path("/x")}
    assert watched_folders(default, {}) == default
    assert watched_folders(default, {"WATCHED_FOLDERS": ""}) == {}
    assert webhook_secrets({}) == {}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("a/in", "WATCHED_FOLDERS is not a list of the form WORKFLOW/NAME=/PATH"),
        ("in=/data", "WATCHED_FOLDERS is not a list of the form"),
        ("a/in=data", "the path of a/in must begin with /"),
        ("a/in=/x,a/in=/y", "names a/in twice"),
        ("a/in=/x,b/in=/x", "two starts watch /x"),
    ],
)
def test_a_bad_list_of_folders_is_one_sentence(given: str, says: str) -> None:
    with pytest.raises(Refused, match=says):
        watched_folders({}, {"WATCHED_FOLDERS": given})


@pytest.mark.parametrize(
    "secret",
    [
        "hunter2",
        "whsec_hunter2",
        "whsec_" + "aHVudGVyMg==",
        SECRET.removeprefix("whsec_"),
        f"{SECRET} hunter2",
    ],
)
def test_a_weak_or_broken_secret_is_refused_without_repeating_it(secret: str) -> None:
    with pytest.raises(Refused, match="base64 of 24 bytes or more") as refused:
        webhook_secrets({"WEBHOOK_SECRETS": f"a/orders={secret}"})
    assert not any(part in str(refused.value) for part in secret.split())
