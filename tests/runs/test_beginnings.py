"""What comes first in a definition is worked out once a process; then a run begins in the statement that reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from django.db import connection

from runs import registry
from runs.engine import beginnings, lanes, straight
from runs.models import Run, Step
from tests.runs import teams
from tests.runs.conftest import start

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beginnings, "_known", beginnings.Beginnings(edition=-1, first={}, text="{}"))


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    sent: list[str] = []
    row = lanes.row

    def noted(sql: str, values: Sequence[Any], **others: Any) -> Any:
        sent.append(sql)
        return row(sql, values, **others)

    monkeypatch.setattr(lanes, "row", noted)
    return sent


def test_the_first_run_of_a_definition_is_looked_at_twice_and_every_later_one_once(
    statements: list[str],
) -> None:
    runs = [start("plain", text="abc") for _ in range(3)]
    statements.clear()
    begun = [straight.begin(run.pk, "w") for run in runs]
    assert [one and one[0].step.node for one in begun] == ["first"] * 3
    assert statements == [straight._BEGIN] * 4


def test_a_team_is_read_once_and_left_to_the_long_way(statements: list[str]) -> None:
    run = start(teams.CHORES_FIRST.name, does=["sweep"])
    statements.clear()
    assert straight.begin(run.pk, "w") is None
    assert statements == [straight._BEGIN]
    assert Run.objects.get(pk=run.pk).fence == 0


def test_a_version_that_is_taken_away_is_known_no_more() -> None:
    workflow = registry.newest("plain")
    assert workflow is not None
    first, second, third = (start("plain", text="abc") for _ in range(3))
    assert straight.begin(first.pk, "w")
    put_back = registry.forget(workflow)
    try:
        assert straight.begin(second.pk, "w") is None
        assert not Step.objects.filter(run=second).exists()
    finally:
        put_back()
    assert straight.begin(third.pk, "w")


def test_a_run_of_an_older_content_of_its_version_is_not_begun_by_what_is_known_of_the_newer() -> None:
    known, older = start("plain", text="abc"), start("plain", text="abc")
    assert straight.begin(known.pk, "w")
    Run.objects.filter(pk=older.pk).update(definition="0" * 64)
    assert straight.begin(older.pk, "w") is None
    assert not Step.objects.filter(run=older).exists()


def test_only_the_latest_definitions_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beginnings, "KEPT", 1)
    plain, other = start("plain", text="abc"), start(teams.WRITING_ROUND.name, text="2 drafts", drafts=0)
    beginnings.learn(plain)
    assert beginnings.learn(other).of(plain) is None
    assert beginnings.known().of(other) == (teams.WRITING_ROUND, teams.WRITING_ROUND.node("draft"))


def test_without_a_first_node_the_function_does_nothing() -> None:
    run = start("plain", text="abc")
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM runs_begin(%s, 0, 'w', '15 s', NULL, NULL)", [run.pk])
        assert cursor.fetchall() == []
    assert Run.objects.get(pk=run.pk).state == "ready"
