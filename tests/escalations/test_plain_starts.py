"""The act of starting: plainly it is one statement, and what it leaves is what the long way leaves."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from escalations import live, plain_starts
from escalations.audit import chain
from escalations.expected import IllegalMove, NotAllowed
from escalations.models import JournalEntry
from escalations.roles import System
from escalations.starts import start_run
from runs.engine import intake, lanes
from runs.models import Run
from tests.factories import at_once, journal
from tests.runs.at_the_gate import met_a_stop

pytestmark = pytest.mark.django_db(transaction=True)

STAND_IN = str(plain_starts._STAND_IN)


@pytest.fixture(autouse=True)
def _on_record(operator: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first start of all notes the definition and the team, at length, and has counted the queue."""
    monkeypatch.setattr(intake, "SECONDS", 3600.0)
    start(operator, key="the first")


def start(actor: Any, key: str, text: str = "abc") -> Run:
    return start_run(actor=actor, workflow="plain", raw_input={"text": text}, start_key=key).run


def told(entry: JournalEntry, run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
    """An entry without what is its own: its place in the chain, its moment, its run's number and key."""
    its_own = ("id", "seq", "at", "prev_hash", "hash", "body")
    row = JournalEntry.objects.filter(pk=entry.pk).values().get()
    body = json.loads(entry.body)
    body["details"].pop("start_key")
    assert body["details"].pop("run") == run.pk
    columns = {name: value for name, value in row.items() if name not in its_own}
    for one in (columns, body):
        assert (one.pop("run_id"), one.pop("target")) == (run.pk, f"run {run.pk}")
    return columns, body


def test_a_plain_start_leaves_the_entry_of_the_long_way(
    operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = start(operator, "plain é “quoted” \\ {100 %s} key")
    monkeypatch.setattr(plain_starts, "start", lambda *_: None)
    long = start(operator, "long")
    one, other = journal(act="start run")[1:]
    assert told(one, plain) == told(other, long)
    assert json.loads(one.body)["details"]["start_key"] == "plain é “quoted” \\ {100 %s} key"
    assert chain.verify() is None


def test_it_is_one_statement(operator: User, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def row(sql: str, values: Any) -> Any:
        said.append(sql)
        return lanes_row(sql, values)

    lanes_row = lanes.row
    monkeypatch.setattr(lanes, "row", row)
    with CaptureQueriesContext(connection) as asked:
        run = start(operator, "one")
    assert (said, len(asked)) == ([plain_starts._START], 0)
    assert Run.objects.get(pk=run.pk).team == run.team


def test_screens_hear_of_its_entry(operator: User, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[live.Message] = []
    monkeypatch.setattr(live, "tell", heard.append)
    start(operator, "heard")
    assert heard == live.after(1)


@pytest.mark.parametrize("text", [f"x{STAND_IN}y", f"{STAND_IN}{STAND_IN}"])
def test_a_key_that_holds_the_number_which_stands_in_for_the_runs_is_kept_as_it_is(
    operator: User, text: str
) -> None:
    run = start(operator, text)
    entry = journal(act="start run")[-1]
    assert json.loads(entry.body)["details"]["start_key"] == text
    assert (entry.run_id, json.loads(entry.body)["details"]["run"]) == (run.pk, run.pk)
    assert chain.verify() is None


def test_a_role_that_was_taken_away_counts_at_once(operator: User) -> None:
    operator.groups.clear()
    with pytest.raises(NotAllowed):
        start(operator, "too late")
    assert Run.objects.count() == 1
    assert journal()[-1].outcome == "refused"


@pytest.mark.parametrize("field", ["is_active", "pk"])
def test_who_is_gone_starts_nothing(operator: User, field: str) -> None:
    User.objects.filter(pk=operator.pk).update(is_active=False) if field == "is_active" else setattr(
        operator, "pk", 999_999
    )
    found = plain_starts.start(operator, "plain", {"text": "abc"}, "gone")
    assert found is None
    assert (Run.objects.count(), len(journal())) == (1, 1)


def test_the_command_line_starts_at_length() -> None:
    run = start(System(name="cron"), "by the system")
    assert (run.started_by, journal()[-1].actor_name, journal()[-1].actor_id) == ("cron", "cron", None)


def test_what_the_journal_refuses_is_not_started(operator: User) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE escalations_journalentry ADD CONSTRAINT refused CHECK (seq < 2) NOT VALID"
        )
        try:
            with pytest.raises(DatabaseError):
                start(operator, "refused")
        finally:
            cursor.execute("ALTER TABLE escalations_journalentry DROP CONSTRAINT refused")
    assert Run.objects.count() == 1


def test_many_at_once_are_numbered_without_a_gap(operator: User) -> None:
    runs = at_once(*[lambda key=f"key {n}": start(operator, key) for n in range(8)])
    entries = journal(act="start run")
    assert [entry.seq for entry in entries] == list(range(1, 10))
    assert {entry.run_id for entry in entries[1:]} == {run.pk for run in runs}
    assert chain.verify() is None


def test_one_that_waited_at_the_gate_meets_the_stop(operator: User) -> None:
    def act() -> object:
        try:
            return start(operator, "waits")
        except IllegalMove as why:
            return str(why)

    assert "is stopped by" in str(met_a_stop(act))
    assert Run.objects.count() == 1


def test_inside_somebodys_transaction_it_is_refused_as_ever(operator: User) -> None:
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        start(operator, "nested")
    assert Run.objects.count() == 1
