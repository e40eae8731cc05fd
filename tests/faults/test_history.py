"""The checker of the record sees each fault that is planted, and none in a record that is right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import override_settings
from pytest_django import Settings

from escalations import claims, controls, decisions, starts, topups
from escalations.models import Escalation, JournalEntry
from escalations.roles import Act
from runs.engine.advance import advance
from runs.limits.kinds import LimitKind, Window
from runs.models import Control, Run
from tests import factories
from tests.budgets import parked
from tests.deploys import flows as deploys
from tests.factories import shown
from tests.faults import healed, history, workflows
from tests.faults.acts import answer, start
from tests.faults.broker import Broker
from tests.faults.fleet import Fleet, SinkProcess
from tests.verify import flows as verifying

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
    "a start that was acknowledged is lost": (
        "UPDATE runs_run SET start_key = 'somebody else''s'",
        "its start was acknowledged and is lost",
    ),
    "nobody says how an effect ended, and its step is over": (
        "UPDATE runs_call SET state = 'permitted' WHERE kind = 'tool'",
        "nobody says how the effect",
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
    advance(started.pk, factories.runtime())
    yield Run.objects.get(pk=started.pk)
    history.unwatch()


def test_nothing_is_wrong_with_a_record_that_is_right(run: Run) -> None:
    assert run.state == "done"
    assert list(history.faults()) == []


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_fault_is_found(planted: str, run: Run) -> None:
    _plant(*PLANTED[planted])


def _plant(sql: str, sentence: str) -> None:
    # Past the triggers that keep the journal as it is, and no further than this one statement.
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SET LOCAL session_replication_role = " + ("replica" if "journal" in sql else "origin")
        )
        cursor.execute(sql)
    assert [fault for fault in history.faults() if sentence in fault]


_AGAIN = (
    "INSERT INTO escalations_journalentry (seq, at, act, outcome, actor_name, target, run_id, escalation_id, workflow,"
    " team, reason, body, prev_hash, hash) SELECT seq + 1000, at, act, outcome, actor_name, target, run_id,"
    " escalation_id, workflow, team, reason, body, prev_hash, hash FROM escalations_journalentry WHERE act = "
)
BY_PEOPLE = {
    "an answer that was acknowledged is lost": (
        "UPDATE runs_question SET verb = 'reject'",
        "the answer 'approve' was acknowledged and is lost",
    ),
    "an answer counts twice": (
        "INSERT INTO runs_event (run_id, seq, kind, step_id, data) SELECT run_id, 900, kind, step_id, data"
        " FROM runs_event WHERE kind = 'answered'",
        "lost or doubled",
    ),
    "an answer has no entry": (
        "DELETE FROM escalations_journalentry WHERE act = 'approve'",
        "1 times on record, with 0 entries",
    ),
    "an answer has two entries": (f"{_AGAIN} 'approve'", "1 times on record, with 2 entries"),
    "an answer has an entry and no decision": (
        "DELETE FROM escalations_decision",
        "0 times on record, with 1 entries",
    ),
    "a stop has no entry": (
        "DELETE FROM escalations_journalentry WHERE act = 'engage stop'",
        "the engagement of control",
    ),
    "a release has two entries": (f"{_AGAIN} 'release stop'", "the release of control"),
    "a start has no entry": (
        "DELETE FROM escalations_journalentry WHERE act = 'start run'",
        "the start of run",
    ),
}


@pytest.fixture
def acted_on(run: Run) -> Run:
    """And one that a person started, stopped, let go on and agreed to."""
    marta = factories.person("marta", "operator", full_name="Marta Oliveira")
    order = {"effects": 1}
    begun = starts.start_run(
        actor=marta, workflow=workflows.SEND_ASKED.name, raw_input=order, start_key="k"
    ).run
    control = controls.engage(actor=marta, kind="stop", scope_kind="run", scope=str(begun.pk))
    controls.release(actor=marta, control_id=control.pk, reason="seen")
    controls.resume(actor=marta, run_id=begun.pk)
    advance(begun.pk, factories.runtime())
    answer(begun, "approve", by=marta)
    advance(begun.pk, factories.runtime())
    return Run.objects.get(pk=begun.pk)


def test_nothing_is_wrong_with_what_people_did(acted_on: Run) -> None:
    assert acted_on.state == "done"
    assert list(history.faults()) == []


@pytest.mark.parametrize("planted", BY_PEOPLE)
def test_a_planted_fault_in_what_people_did_is_found(planted: str, acted_on: Run) -> None:
    _plant(*BY_PEOPLE[planted])


def _migrate(marta: User) -> None:
    gone = deploys.without_its_version()
    with deploys.installed(deploys.TWO):
        decisions.migrate(actor=marta, place=deploys.suggested(gone.run), **shown(gone))


def _top_up(marta: User) -> None:
    parked.limited(factories.person("ines", "admin"))
    parked.top_up(marta, parked.parked())


def _agree(marta: User) -> None:
    ines, aisha = factories.person("ines", "admin"), factories.person("aisha", "admin")
    parked.limited(ines)
    with override_settings(LIMITS_ALONE={(LimitKind.MODEL_CALLS, Window.RUN): 2}):
        proposed = parked.top_up(ines, parked.parked(), "2")
    topups.agree(actor=aisha, proposal_id=proposed.proposal.pk, digest=proposed.proposal.digest)


def _give_back(marta: User) -> None:
    claims.release(actor=marta, escalation_id=_taken(marta).pk)


def _taken(marta: User) -> Escalation:
    return claims.take(actor=marta, escalation_id=factories.approval().pk)


def _take_over(marta: User) -> None:
    claims.take(actor=factories.person("ines", "admin"), escalation_id=_taken(marta).pk)


def _resume(marta: User) -> None:
    run = factories.started("plain")
    control = controls.engage(actor=marta, kind="stop", scope_kind="run", scope=str(run.pk))
    controls.release(actor=marta, control_id=control.pk, reason="seen")
    controls.resume(actor=marta, run_id=run.pk)


# Each act and the words of the fault that its missing or doubled entry is.
ACTS: dict[Act, tuple[Callable[[User], object], str]] = {
    Act.APPROVE: (
        lambda marta: decisions.approve(actor=marta, **shown(factories.approval())),
        "the answer to",
    ),
    Act.REJECT: (
        lambda marta: decisions.reject(actor=marta, reason="no", **shown(factories.approval())),
        "the answer to",
    ),
    Act.RESPOND: (
        lambda marta: decisions.respond(actor=marta, text="less", **shown(factories.approval())),
        "the answer to",
    ),
    Act.LOOK: (lambda marta: decisions.look(actor=marta, **shown(factories.doubted())), "the answer to"),
    Act.MIGRATE: (_migrate, "the answer to"),
    Act.CONFIRM: (
        lambda marta: decisions.confirm(
            actor=marta, numbers=[2], reason="seen", **shown(verifying.doubted())
        ),
        "the answer to",
    ),
    Act.DROP: (lambda marta: decisions.drop(actor=marta, **shown(verifying.doubted())), "the answer to"),
    Act.TOP_UP: (_top_up, "the answer to"),
    Act.AGREE_TOP_UP: (_agree, "the answer to"),
    Act.EDIT: (
        lambda marta: decisions.edit(actor=marta, value={"amount": "7"}, **shown(factories.approval())),
        "the edits of",
    ),
    Act.TAKE: (_taken, "by the entries"),
    Act.TAKE_OVER: (_take_over, "by the entries"),
    Act.GIVE_BACK: (_give_back, "by the entries"),
    Act.RESUME: (_resume, "the resumptions of"),
}


@pytest.fixture
def watched(transactional_db: None, settings: Settings) -> Iterator[None]:
    settings.SIMULATED_SECONDS = 0.0
    history.watch()
    yield
    history.unwatch()


def test_every_answer_and_every_change_of_who_holds_it_has_its_fault() -> None:
    assert {*history.ANSWERS, *history.HOLDS} <= set(map(str, ACTS))


@pytest.mark.parametrize("act", ACTS)
def test_an_act_of_a_person_has_exactly_one_entry(act: Act, watched: None) -> None:
    do, sentence = ACTS[act]
    do(factories.person("marta", "operator", full_name="Marta Oliveira"))
    assert JournalEntry.objects.filter(act=act, outcome="done").count() == 1
    assert list(history.faults()) == []
    _plant(f"{_AGAIN} '{act}'", sentence)
    _plant(f"DELETE FROM escalations_journalentry WHERE act = '{act}'", sentence)


def test_an_effect_that_arrived_under_a_stop_is_found_by_the_worlds_clock(
    run: Run, sink: SinkProcess
) -> None:
    assert list(history.faults(sink.arrivals())) == []
    (arrival,) = sink.arrivals()
    at = datetime.fromtimestamp(arrival["arrived_ns"] / 1e9, UTC)
    Control.objects.create(
        kind="stop",
        scope_kind="everything",
        engaged_by="somebody",
        engaged_at=at - timedelta(microseconds=1),
        released_at=at + timedelta(microseconds=1),
    )
    assert [fault for fault in history.faults(sink.arrivals()) if "arrived at" in fault]


def test_a_run_that_nobody_works_at_is_a_backlog(broker: Broker, fleet: Fleet) -> None:
    fleet.heals = False
    start(workflows.PLAIN.name)
    with pytest.raises(AssertionError, match="the backlog is zero"):
        healed.heal(fleet, broker, seconds=0.5)


def test_a_process_that_lives_and_does_nothing_is_found(broker: Broker, fleet: Fleet) -> None:
    fleet.heals = False
    idle = fleet.alone("deaf", failpoint="")
    idle.queue = "nobody listens here"
    with pytest.raises(AssertionError, match="deaf did 3 things more"):
        healed.heal(fleet, broker, seconds=3.0)
