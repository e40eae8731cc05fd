"""A plain start is one statement, and what comes of it is what the long way gives. What is not plain goes that way."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import connection, transaction
from django.forms import model_to_dict
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from runs import registry
from runs.engine import holds, intake, starts, versions
from runs.engine.starts import Started
from runs.models import Body, Definition, Event, Run, Team
from tests.factories import at_once
from tests.runs.at_the_gate import met_a_stop
from tests.runs.conftest import start

pytestmark = pytest.mark.django_db(transaction=True)

ITS_OWN = ("id", "start_key", "created_at", "due_at", "deadline_at")
WITH_CAUSE = {"trigger": "webhook orders", "place": 2.5, "words": "é"}


def started(key: str = "", text: str = "abc") -> Started:
    with transaction.atomic():
        return starts.start(
            "plain", {"text": text}, start_key=key or uuid.uuid4().hex, by="Ines", because=WITH_CAUSE
        )


def long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starts, "_plain", lambda *_: None)


def columns(run: Run) -> dict[str, Any]:
    return dict(Run.objects.filter(pk=run.pk).values().get())


def kept(run: Run) -> dict[str, Any]:
    """Everything that is kept of it but times, row ids and its key."""
    row = columns(run)
    return {
        "run": {name: value for name, value in row.items() if name not in ITS_OWN},
        "seconds": round((row["deadline_at"] - row["due_at"]).total_seconds(), 3),
        "input": Body.objects.values("digest", "content", "size").get(pk=row["input_id"]),
        "events": list(Event.objects.filter(run=run).values("seq", "kind", "step_id", "data")),
    }


def test_a_plain_start_leaves_the_rows_of_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    start("plain")  # the first of all notes the definition and the team
    plain = started().run
    long_way(monkeypatch)
    assert kept(started().run) == kept(plain)


def test_a_plain_start_is_one_statement_and_gives_the_run_as_it_is_on_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake, "SECONDS", 3600.0)  # who starts has counted the queue lately
    start("plain")
    with (
        transaction.atomic(),
        CaptureQueriesContext(
            connection,
        ) as asked,
    ):
        run = starts.start("plain", {"text": "abc"}, start_key="k", by="Ines").run
        assert run.team.name == registry.newest("plain").team  # type: ignore[union-attr]
        assert run.input.size == len(run.input.content)
    assert len([one for one in asked if "SAVEPOINT" not in one["sql"]]) == 1
    assert {**model_to_dict(run), "created_at": run.created_at} == {
        **model_to_dict(Run.objects.get(pk=run.pk)),
        "created_at": columns(run)["created_at"],
    }
    run.save()
    assert Run.objects.count() == 2


def test_its_moments_are_one_moment_after_the_gate() -> None:
    start("plain")
    run = started().run
    assert run.created_at == run.due_at == Event.objects.get(run=run).at


def test_a_start_that_waited_at_the_gate_meets_the_stop() -> None:
    start("plain")

    def act() -> object:
        try:
            return started()
        except starts.Held as why:
            return why.control.scope_kind

    assert met_a_stop(act) == "everything"
    assert Run.objects.count() == 1


def test_a_start_under_a_pause_is_held() -> None:
    start("plain")
    with transaction.atomic():
        holds.engage("pause", "workflow", "plain", by="Ines")
    run = started().run
    assert (run.hold, [one.kind for one in run.events.order_by("seq")]) == ("pause", ["started", "held"])


def test_one_key_at_the_same_moment_starts_one_run() -> None:
    start("plain")
    found = at_once(*[lambda: started("the same") for _ in range(6)])
    assert sorted(one.created for one in found) == [False] * 5 + [True]
    assert len({one.run.pk for one in found}) == 1


def test_a_used_key_with_another_input_stores_nothing() -> None:
    first = started("the same").run
    again = started("the same", text="another one")
    assert (again.run.pk, again.created) == (first.pk, False)
    assert not Body.objects.filter(content__contains="another one").exists()


def test_the_last_place_of_a_queue_is_given_and_no_more(settings: Settings) -> None:
    settings.RUNS_INTAKE_LIMIT = 2
    start("plain")
    started()
    with pytest.raises(starts.IntakeFull, match="2 runs are queued and the limit is 2"):
        started()


def test_what_is_not_on_record_yet_is_noted_by_the_first_start() -> None:
    run = started().run
    assert Team.objects.get().name == run.team.name
    assert Definition.objects.get(replaced_at=None).digest == run.definition


def test_a_version_with_other_content_is_not_started_plainly(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.RUNS_FREEZE_VERSIONS = True
    start("plain")
    Definition.objects.update(digest="0" * 64)
    with pytest.raises(starts.Changed, match="is not what it was"):
        started()
    monkeypatch.setattr(versions, "plain", lambda workflow: None)
    with pytest.raises(starts.Changed):
        started()


def test_a_start_reads_no_more_where_many_runs_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a session that planned its statements while there were few."""
    monkeypatch.setattr(intake, "SECONDS", 3600.0)
    start("plain")
    for _ in range(8):
        started()
    with connection.cursor() as cursor:
        cursor.execute(_MANY)
    with transaction.atomic(), connection.cursor() as cursor:
        before = rows_read(cursor)
        starts.start("plain", {"text": "abc"}, start_key="one more", by="Ines")
        assert rows_read(cursor) - before < 20


_MANY = """
    INSERT INTO runs_run (workflow, version, team_id, goal, state, hold, start_key, started_by, simulated, recorded,
        input_id, ending, created_at, lease_owner, fence, event_seq, retries, tokens_in, tokens_out, cost_micros,
        definition, finished_at, output_id, deadline_at)
    SELECT workflow, version, team_id, goal, 'done', '', 'many ' || number, started_by, simulated, recorded, input_id,
        ending, created_at, '', 0, 1, 0, 0, 0, 0, definition, now(), input_id, now()
    FROM (SELECT * FROM runs_run LIMIT 1) one, generate_series(1, 3000) AS number
"""


def rows_read(cursor: Any) -> int:
    """Of runs, in this transaction."""
    cursor.execute(
        "SELECT coalesce(idx_tup_fetch, 0) + seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'runs_run'"
    )
    return int(cursor.fetchone()[0])


def test_a_burst_is_counted_once_while_there_is_plenty_of_room(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr(intake, "SECONDS", 3600.0)
    settings.RUNS_INTAKE_LIMIT = 100
    assert [intake.limit_to_count() for _ in range(13)] == [None] * 12 + [100]
    settings.RUNS_INTAKE_LIMIT = 50
    assert [intake.limit_to_count() for _ in range(7)] == [None] * 6 + [50]


def test_a_count_stands_for_a_second_and_no_longer(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.RUNS_INTAKE_LIMIT = 80
    monkeypatch.setattr(intake, "SECONDS", 3600.0)
    start("plain")
    monkeypatch.setattr(intake, "SECONDS", 0.0)
    intake.forget()
    with CaptureQueriesContext(connection) as asked:
        started()
        started()
    assert len([one for one in asked if "count(*)" in one["sql"]]) == 2


def test_eight_processes_with_a_fresh_count_each_do_not_pass_the_limit(settings: Settings) -> None:
    settings.RUNS_INTAKE_LIMIT = 40
    rooms = [intake._Room() for _ in range(intake.SHARES)]
    for room in rooms:
        room.taken(40)
        room.counted(40, 7)
    given = sum(room.taken(40) is True for room in rooms for _ in range(40))
    assert 0 < given <= 40 - 7
