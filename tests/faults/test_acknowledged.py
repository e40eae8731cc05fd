"""What people were told is found missing, each of their acts and what became of it, and nothing while it is there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection, transaction
from pytest_django import Settings

from escalations import claims, controls, starts
from escalations.models import Escalation
from runs.engine.advance import advance
from runs.models import Control, Run
from tests import factories
from tests.faults import acknowledged, acts, history, workflows
from tests.faults.fleet import SinkProcess

LOST = {
    "a start": ("UPDATE runs_event SET kind = 'other' WHERE kind = 'started'", "its start was acknowledged"),
    "an answer": ("UPDATE runs_question SET verb = 'reject'", "the answer 'approve' was acknowledged"),
    "what an answer lets go on": (
        "UPDATE runs_run SET state = 'waiting'",
        "its run waits as if it were not",
    ),
    "a stop": (
        "DELETE FROM runs_control WHERE kind = 'stop'",
        "its engagement (stop) was acknowledged and is lost",
    ),
    "a stop's scope": (
        "UPDATE runs_control SET scope = '0' WHERE kind = 'stop'",
        "its engagement (stop) was acknowledged and is lost",
    ),
    "a stop that is over though nobody released it": (
        "UPDATE runs_control SET released_by = '' WHERE kind = 'stop'",
        "nobody released it",
    ),
    "a release": (
        "UPDATE runs_control SET released_at = NULL WHERE kind = 'stop'",
        "its release was acknowledged and is lost",
    ),
    "what a released pause lets go on": (
        "UPDATE runs_run SET state = 'ready', hold = 'pause',"
        " held_by_id = (SELECT id FROM runs_control WHERE kind = 'pause')",
        "1 runs are paused by it still",
    ),
    "a resumption": (
        "UPDATE runs_event SET kind = 'other' WHERE kind = 'resumed' AND seq ="
        " (SELECT max(seq) FROM runs_event WHERE kind = 'resumed')",
        "was resumed 1 times as acknowledged, and 0 are on record",
    ),
    "that somebody took an escalation": (
        "DELETE FROM escalations_journalentry WHERE act = 'take'",
        "that marta took it was acknowledged and is lost",
    ),
}


@pytest.fixture
def run(
    transactional_db: None, sink: SinkProcess, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Run]:
    """A run that was paused, let go on, stopped, let go on, taken and agreed to: each acknowledged."""
    settings.SIMULATED_SECONDS = 0.0
    for name, value in sink.env.items():
        monkeypatch.setenv(name, value)
    history.watch()
    yield _acted_on()
    history.unwatch()


def _acted_on() -> Run:
    marta = factories.person("marta", "operator", full_name="Marta Oliveira")
    order = {"effects": 1}
    begun = starts.start_run(
        actor=marta, workflow=workflows.SEND_ASKED.name, raw_input=order, start_key="k"
    ).run
    acknowledged.started(begun)
    for kind in ("pause", "stop"):
        control = controls.engage(actor=marta, kind=kind, scope_kind="run", scope=str(begun.pk))
        acknowledged.engaged(control.pk, kind, "run", str(begun.pk))
        controls.release(actor=marta, control_id=control.pk, reason="seen")
        acknowledged.released(control.pk)
    controls.resume(actor=marta, run_id=begun.pk)
    acknowledged.resumed(begun.pk)
    advance(begun.pk, factories.runtime())
    escalation = Escalation.objects.get(run=begun)
    claims.take(actor=marta, escalation_id=escalation.pk)
    acknowledged.taken(escalation.pk, "marta")
    acts.answer(begun, "approve", by=marta)
    advance(begun.pk, factories.runtime())
    return Run.objects.get(pk=begun.pk)


def test_nothing_is_missing_of_what_was_acknowledged(run: Run) -> None:
    assert run.state == "done"
    assert Control.objects.count() == 2
    assert list(history.faults()) == []


@pytest.mark.parametrize("what", LOST)
def test_what_was_acknowledged_and_is_lost_is_found(what: str, run: Run) -> None:
    sql, sentence = LOST[what]
    with transaction.atomic(), connection.cursor() as cursor:
        # Past the triggers that keep the journal as it is, and past the references to what is deleted.
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(sql)
    assert [fault for fault in history.faults() if sentence in fault]


def test_what_an_act_of_the_engines_own_doors_was_told_counts_too(run: Run) -> None:
    control = acts.engage("stop", "run", str(run.pk))
    acts.release(control)
    assert list(history.faults()) == []
    Control.objects.filter(pk=control.pk).delete()
    assert [fault for fault in history.faults() if "its engagement (stop)" in fault]
