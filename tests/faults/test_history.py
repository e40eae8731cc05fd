"""The checker of the record sees each fault that is planted, and none in a record that is right."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection
from pytest_django import Settings

from runs.engine.advance import advance
from runs.engine.runtime import Runtime
from runs.models import Run
from tests.faults import history, workflows
from tests.faults.conftest import start
from tests.faults.fleet import SinkProcess

PLANTED = {
    "an event is missing": ("DELETE FROM runs_event WHERE seq = 3", "events are"),
    "an output was written again": (
        "UPDATE runs_step SET output_id = (SELECT min(digest) FROM runs_body"
        " WHERE digest <> runs_step.output_id) WHERE seq = 1",
        "written 2 times",
    ),
    "a step was settled twice": (
        "INSERT INTO runs_event (run_id, seq, kind, step_id, data) SELECT run_id, 900, kind, step_id, data"
        " FROM runs_event WHERE kind = 'step done' AND seq < 8",
        "2 events of its outcome",
    ),
    "a step is done without an event": (
        "UPDATE runs_event SET kind = 'other' WHERE kind = 'step done'",
        "disagree",
    ),
    "a fence went back": ("UPDATE runs_run SET fence = fence - 1", "its fence went from"),
    "a call was permitted under an older fence": (
        "UPDATE runs_call SET fence = 99 WHERE id = (SELECT min(id) FROM runs_call)",
        "under fences",
    ),
    "an effect is done twice": (
        "CREATE TEMP TABLE again ON COMMIT DROP AS SELECT * FROM runs_call WHERE kind = 'tool';"
        " UPDATE again SET id = id + 1000, send = 2; INSERT INTO runs_call SELECT * FROM again",
        "2 calls with the key",
    ),
    "something began under a control": (
        "INSERT INTO runs_control (kind, scope_kind, scope, reason, engaged_at, engaged_by, released_at,"
        " released_by, release_reason) SELECT 'stop', 'workflow', 'fault_send', '', permitted_at - interval '1 ms',"
        " '', permitted_at + interval '1 ms', '', '' FROM runs_call WHERE kind = 'tool'",
        "permitted_at",
    ),
    "a claim while the run was held": (
        "UPDATE runs_event SET kind = 'held' WHERE seq = 2",
        "claimed while the run was held",
    ),
    "a call of a step that is over": (
        "UPDATE runs_call SET permitted_at = permitted_at + interval '1 hour' WHERE kind = 'tool'",
        "permitted after its step was over",
    ),
    "an attempt of a step that is over": (
        "UPDATE runs_attempt SET started_at = started_at + interval '1 hour'",
        "begun after its step was over",
    ),
    "a final run with an attempt under way": (
        "UPDATE runs_attempt SET state = 'cut'",
        "has attempts that are not over",
    ),
    "two attempts of a step at once": (
        "INSERT INTO runs_attempt (step_id, number, agent, state, fence, worker, note, error_class, error,"
        " error_where, started_at) SELECT id, number, '', 'running', 1, '', '', '', '', '', started_at"
        " FROM runs_step, (VALUES (8), (9)) AS twice (number)",
        "2 attempts at once",
    ),
    "a final run with a task that is not settled": (
        "UPDATE runs_step SET state = 'running' WHERE seq = 1",
        "steps that are not settled",
    ),
    "a final run keeps its lease": ("UPDATE runs_run SET lease_owner = 'somebody'", "leased by"),
}


@pytest.fixture
def run(
    transactional_db: None, sink: SinkProcess, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Run]:
    """A run with an effect that went right, advanced in this process and watched."""
    settings.SIMULATED_SECONDS = 0.0
    for name, value in sink.env.items():
        monkeypatch.setenv(name, value)
    history.watch()
    started = start(workflows.SEND.name)
    advance(started.pk, Runtime("test-worker", "agents"))
    yield Run.objects.get(pk=started.pk)
    history.unwatch()


def test_nothing_is_wrong_with_a_record_that_is_right(run: Run) -> None:
    assert run.state == "done"
    assert list(history.faults()) == []


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_fault_is_found(planted: str, run: Run) -> None:
    sql, sentence = PLANTED[planted]
    with connection.cursor() as cursor:
        cursor.execute(sql)
    assert [fault for fault in history.faults() if sentence in fault]
