"""Pausing, stopping, releasing, resuming: what a person's act does, and that it needs next to nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from pytest_django import Settings

from escalations import controls, decisions
from escalations.expected import IllegalMove, Invalid, NotThere
from runs import live
from runs.engine import holds
from runs.engine.advance import advance
from runs.models import Control, Run
from tests import factories, patience
from tests.factories import advanced, approval, journal, shown, started
from tests.runs import flows

pytestmark = pytest.mark.django_db(transaction=True)


def stop(actor: User, scope_kind: str = "everything", scope: str = "", **more: str) -> Control:
    return controls.engage(actor=actor, kind="stop", scope_kind=scope_kind, scope=scope, **more)


def test_a_stop_needs_no_reason_and_nothing_begins_after_it(operator: User) -> None:
    run = started()
    control = stop(operator)
    assert advance(run.pk, factories.runtime()).why == "held"
    assert (control.engaged_by, control.reason) == ("Marta Oliveira", "")
    assert Run.objects.get(pk=run.pk).hold == "stop"  # marked at once, not only by the sweep
    (entry,) = journal(act="engage stop")
    assert (entry.outcome, entry.target) == ("done", "stop everything")


def test_no_word_of_a_reason_can_keep_a_stop_from_being_engaged(operator: User) -> None:
    control = stop(operator, reason="x\x00" * 5000)
    assert control.engaged
    assert len(control.reason) == 2000


def test_engaging_what_is_engaged_changes_nothing_and_is_on_record(operator: User, colleague: User) -> None:
    first = stop(operator, reason="It burns.")
    second = stop(colleague, reason="It burns!")
    assert second == first
    assert second.reason == "It burns."
    assert Control.objects.count() == 1
    assert '"already_engaged":true' in journal(act="engage stop")[1].body


def test_the_narrow_scope_holds_only_what_it_names(operator: User) -> None:
    held, other, same_workflow = started("plain"), started("writing"), started("plain")
    control = stop(operator, "run", f" #{held.pk} ")
    assert control.scope == str(held.pk)
    entry = journal(act="engage stop")[0]
    assert (entry.run_id, entry.workflow, entry.team) == (held.pk, "plain", "Testers")
    stop(operator, "workflow", "writing")
    assert [Run.objects.get(pk=run.pk).hold for run in (held, other, same_workflow)] == ["stop", "stop", ""]
    assert advanced(same_workflow).state == "done"


@pytest.mark.parametrize(
    ("kind", "scope_kind", "scope", "path"),
    [
        ("melt", "everything", "", "kind"),
        ("stop", "galaxy", "", "scope_kind"),
        ("stop", "run", "999999", "scope"),
        ("stop", "run", "1; DROP TABLE", "scope"),
        ("stop", "run", "9" * 40, "scope"),
        ("stop", "run", "²", "scope"),
        ("stop", "workflow", "no such workflow", "scope"),
        ("stop", "workflow", "", "scope"),
    ],
)
def test_a_scope_that_names_nothing_is_refused_before_it_gives_false_comfort(
    operator: User, kind: str, scope_kind: str, scope: str, path: str
) -> None:
    with pytest.raises(Invalid) as refused:
        controls.engage(actor=operator, kind=kind, scope_kind=scope_kind, scope=scope)
    assert refused.value.errors[0][0] == path
    assert not Control.objects.exists()
    assert journal()[-1].outcome == "invalid"


def test_a_workflow_that_is_gone_can_still_be_stopped_while_it_has_runs(operator: User) -> None:
    run = started()
    Run.objects.filter(pk=run.pk).update(workflow="retired")
    assert stop(operator, "workflow", "retired").scope == "retired"


def test_releasing_needs_a_reason(operator: User) -> None:
    control = stop(operator)
    with pytest.raises(Invalid):
        controls.release(actor=operator, control_id=control.pk, reason=" ")
    assert holds.engaged().count() == 1


def test_a_released_stop_leaves_its_runs_where_they_are_until_they_are_resumed(operator: User) -> None:
    run = started()
    control = stop(operator)
    controls.release(actor=operator, control_id=control.pk, reason="It is mended.")
    assert advance(run.pk, factories.runtime()).why == "held"
    controls.resume(actor=operator, run_id=run.pk)
    assert advanced(run).state == "done"
    assert [entry.act for entry in journal()][-3:] == ["engage stop", "release stop", "resume"]


def test_a_release_lets_no_run_slip_away_that_nobody_had_time_to_mark(operator: User) -> None:
    run = started()
    with transaction.atomic():  # and then the process died, before it could mark anything
        control, _ = holds.engage("stop", "everything", by="Marta Oliveira")
    assert Run.objects.get(pk=run.pk).hold == ""
    controls.release(actor=operator, control_id=control.pk, reason="It is mended.")
    assert advance(run.pk, factories.runtime()).why == "held"


def test_a_released_pause_lets_its_runs_go_on(operator: User) -> None:
    run = started()
    control = controls.engage(actor=operator, kind="pause", scope_kind="everything")
    assert Run.objects.get(pk=run.pk).hold == "pause"
    controls.release(actor=operator, control_id=control.pk, reason="It is mended.")
    assert Run.objects.get(pk=run.pk).hold == ""
    assert advanced(run).state == "done"


def test_a_release_names_who_released_it_before(operator: User, colleague: User) -> None:
    control = stop(operator)
    controls.release(actor=operator, control_id=control.pk, reason="It is mended.")
    with pytest.raises(IllegalMove, match="was released by Marta Oliveira at"):
        controls.release(actor=colleague, control_id=control.pk, reason="Me too.")


def test_of_two_who_release_at_once_one_is_told_who_did(operator: User, colleague: User) -> None:
    control = stop(operator)
    results = factories.at_once(
        lambda: controls.release(actor=operator, control_id=control.pk, reason="a"),
        lambda: controls.release(actor=colleague, control_id=control.pk, reason="b"),
    )
    assert sorted(isinstance(one, IllegalMove) for one in results) == [False, True]
    assert len(journal(act="release stop", outcome="done")) == 1


def test_a_run_that_another_control_covers_is_not_resumed(operator: User) -> None:
    run = started()
    control = stop(operator)
    controls.engage(actor=operator, kind="stop", scope_kind="workflow", scope="plain")
    controls.release(actor=operator, control_id=control.pk, reason="It is mended.")
    with pytest.raises(IllegalMove, match="stop of workflow plain"):
        controls.resume(actor=operator, run_id=run.pk)
    assert controls.resume_all(actor=operator, control_id=control.pk) == 0


def test_a_run_that_is_not_held_is_not_resumed(operator: User) -> None:
    run = started()
    with pytest.raises(IllegalMove, match="not held by a stop"):
        controls.resume(actor=operator, run_id=run.pk)
    with pytest.raises(NotThere):
        controls.resume(actor=operator, run_id=run.pk + 1)
    with pytest.raises(NotThere):
        controls.release(actor=operator, control_id=1, reason="x")


def test_all_runs_of_a_released_stop_are_resumed_in_small_transactions(operator: User) -> None:
    runs = [started() for _ in range(controls.RESUMED_AT_ONCE + 3)]
    control = stop(operator)
    with pytest.raises(IllegalMove, match="still engaged"):
        controls.resume_all(actor=operator, control_id=control.pk)
    controls.release(actor=operator, control_id=control.pk, reason="It is mended.")
    assert controls.resume_all(actor=operator, control_id=control.pk, reason="All well.") == len(runs)
    assert len(journal(act="resume", outcome="done")) == 2
    assert not Run.objects.exclude(hold="").exists()


def test_a_decision_made_while_stopped_is_kept_and_obeyed_after_the_resumption(operator: User) -> None:
    escalation = approval(500)
    control = stop(operator)
    decisions.approve(actor=operator, **shown(escalation))
    assert advanced(escalation.run).hold == "stop"
    assert flows.CASHBOX.paid == []
    controls.release(actor=operator, control_id=control.pk, reason="It is mended.")
    controls.resume(actor=operator, run_id=escalation.run_id)
    assert advanced(escalation.run).state == "done"
    assert [amount for _, amount in flows.CASHBOX.paid] == [500]


@pytest.fixture
def _no_valkey(settings: Settings) -> Iterator[None]:
    """An address where nobody listens, for everything this process sends from now on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"redis://127.0.0.1:{taken.getsockname()[1]}/0"
        settings.REDIS_URL = address
        settings.CHANNEL_LAYERS = {
            "default": {
                "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
                "CONFIG": {"hosts": [{"address": address}]},
            }
        }
        live._senders.clear()  # the threads that send hints make their connections anew
        yield
    live._senders.clear()


@pytest.mark.usefixtures("_no_valkey")
def test_a_stop_works_while_valkey_is_down_and_does_not_wait_for_it(
    operator: User, caplog: pytest.LogCaptureFixture
) -> None:
    run = started()
    stop(operator)
    assert advance(run.pk, factories.runtime()).why == "held"
    assert len(journal(act="engage stop", outcome="done")) == 1
    patience.until(lambda: "a hint could not be sent" in caplog.text, "Valkey was down")
    failed = [one for one in caplog.records if "a hint could not be sent" in one.getMessage()]
    assert threading.get_ident() not in {one.thread for one in failed}, "who acts does not send them"
