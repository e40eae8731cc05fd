"""Controls: what a pause and a stop do to runs, who confirms, and that clocks stand still."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from pytest_django import Settings

from runs.engine import answers, gate, holds, starts, sweep
from runs.engine.advance import advance
from runs.engine.claim import Nothing, claim
from runs.engine.outcomes import Cut
from runs.engine.perform import perform
from runs.engine.settle import settle
from runs.engine.worker import heart
from runs.engine.worker.runtime import Runtime
from runs.models import Control, Event, Question, Run, Worker
from tests import patience
from tests.runs import flows
from tests.runs.conftest import advanced, only, question_of, start

pytestmark = pytest.mark.django_db(transaction=True)


def engage(kind: str = "stop", scope_kind: str = "everything", scope: str = "") -> Control:
    with transaction.atomic():
        control, _ = holds.engage(kind, scope_kind, scope, by="Ines")
    return control


def marked(control: Control) -> None:
    while holds.mark(control.pk):
        pass


def released(control: Control) -> None:
    marked(control)
    with transaction.atomic():
        holds.release(control.pk, by="Ines", reason="fine again")


def fresh(run: Run) -> Run:
    return Run.objects.get(pk=run.pk)


@pytest.mark.parametrize("kind", ["stop", "pause"])
@pytest.mark.parametrize(("scope_kind", "covers"), [("everything", True), ("workflow", True), ("run", True)])
def test_nothing_that_a_control_covers_is_claimed(kind: str, scope_kind: str, covers: bool) -> None:
    run, other = start("plain"), start("writing")
    scope = {"everything": "", "workflow": "plain", "run": str(run.pk)}[scope_kind]
    engage(kind, scope_kind, scope)
    assert claim(run.pk, worker="w") == Nothing(why="held")
    assert isinstance(claim(other.pk, worker="w"), tuple) == (scope_kind != "everything")


def test_engaging_twice_is_one_control() -> None:
    first = engage()
    with transaction.atomic():
        again, created = holds.engage("stop", "everything", by="Marta")
    assert (again.pk, created) == (first.pk, False)


def test_a_released_pause_lets_its_runs_go_on_by_themselves(runtime: Runtime) -> None:
    run = start("plain")
    control = engage("pause")
    marked(control)
    assert fresh(run).hold == "pause"
    released(control)
    assert sweep.lift_pauses() == 0
    assert fresh(run).hold == ""
    assert advanced(run, runtime).state == "done"


def test_a_released_stop_restarts_nothing_until_a_run_is_resumed(runtime: Runtime) -> None:
    run = start("plain")
    control = engage()
    released(control)
    sweep.lift_pauses()
    assert fresh(run).hold == "stop"
    assert claim(run.pk, worker="w") == Nothing(why="held")
    with transaction.atomic():
        assert holds.resume(run.pk)
    assert advanced(run, runtime).state == "done"


def test_a_stop_released_before_its_runs_were_marked_still_holds_them() -> None:
    run = start("plain")
    control = engage()
    assert fresh(run).hold == ""
    released(control)
    assert fresh(run).hold == "stop"


def test_resuming_is_refused_while_another_control_covers_the_run() -> None:
    run = start("plain")
    control, pause = engage(), engage("pause", "workflow", "plain")
    released(control)
    with transaction.atomic(), pytest.raises(holds.StillHeld) as refused:
        holds.resume(run.pk)
    assert refused.value.control.pk == pause.pk
    assert fresh(run).hold == "stop"


def test_releasing_one_pause_leaves_what_another_covers(runtime: Runtime) -> None:
    run = start("plain")
    wide, narrow = engage("pause"), engage("pause", "run", str(run.pk))
    marked(wide)
    marked(narrow)
    released(wide)
    sweep.lift_pauses()
    held = fresh(run)
    assert (held.hold, held.held_by_id) == ("pause", narrow.pk)


def test_a_stop_takes_over_what_a_pause_held() -> None:
    run = start("plain")
    pause = engage("pause")
    marked(pause)
    since = fresh(run).held_since
    stop = engage()
    marked(stop)
    released(pause)
    sweep.lift_pauses()
    held = fresh(run)
    assert (held.hold, held.held_by_id, held.held_since) == ("stop", stop.pk, since)


def test_clocks_stand_still_while_held_and_the_time_is_given_back(runtime: Runtime) -> None:
    run = advanced(start("paying", amount=500), runtime)
    question = question_of(run)
    control = engage("pause")
    marked(control)
    Run.objects.filter(pk=run.pk).update(held_since=F("held_since") - timedelta(hours=2))
    Question.objects.filter(pk=question.pk).update(
        asked_at=F("asked_at") - timedelta(hours=3), expires_at=F("asked_at")
    )
    assert not answers.expire(question.pk)
    Question.objects.filter(pk=question.pk).update(expires_at=question.expires_at)
    released(control)
    sweep.lift_pauses()
    after = question_of(run)
    shift = (after.expires_at - question.expires_at).total_seconds()
    assert 7200 <= shift < 7260
    assert 7200 <= (fresh(run).deadline_at - run.deadline_at).total_seconds() < 7260


def test_the_time_between_a_stop_and_its_mark_is_given_back_too(runtime: Runtime) -> None:
    """Marking thousands of runs takes a while: a question whose time ran out meanwhile has it again afterwards."""
    run = advanced(start("paying", amount=500), runtime)
    question = question_of(run)
    control = engage("pause")
    Control.objects.filter(pk=control.pk).update(engaged_at=F("engaged_at") - timedelta(hours=2))
    Run.objects.filter(pk=run.pk).update(created_at=F("created_at") - timedelta(hours=3))
    Question.objects.filter(pk=question.pk).update(asked_at=F("asked_at") - timedelta(hours=3))
    marked(control)
    released(control)
    sweep.lift_pauses()
    assert 7200 <= (question_of(run).expires_at - question.expires_at).total_seconds() < 7260
    assert 7200 <= (fresh(run).deadline_at - run.deadline_at).total_seconds() < 7260


def test_a_hold_counts_from_the_first_control_that_covers_the_run_and_from_its_start() -> None:
    old, young = start("plain"), start("plain")
    first, second = engage("stop", "workflow", "plain"), engage("pause")
    Control.objects.filter(pk=first.pk).update(engaged_at=F("engaged_at") - timedelta(hours=2))
    Run.objects.filter(pk=old.pk).update(created_at=F("created_at") - timedelta(hours=3))
    marked(second)
    marked(first)
    assert fresh(old).held_since == Control.objects.get(pk=first.pk).engaged_at
    assert fresh(young).held_since == fresh(young).created_at


def test_a_question_that_was_asked_during_a_hold_gets_back_what_it_stood_still(runtime: Runtime) -> None:
    run = advanced(start("paying", amount=500), runtime)
    question = question_of(run)
    control = engage("pause")
    marked(control)
    Run.objects.filter(pk=run.pk).update(held_since=F("held_since") - timedelta(hours=2))
    released(control)
    sweep.lift_pauses()
    assert (question_of(run).expires_at - question.expires_at).total_seconds() < 60
    assert (fresh(run).deadline_at - run.deadline_at).total_seconds() >= 7200


def test_a_stop_refuses_new_starts_and_says_who(runtime: Runtime) -> None:
    engage()
    with transaction.atomic(), pytest.raises(starts.Held, match="stopped by Ines"):
        starts.start("plain", {}, start_key="k", by="test")
    assert not Run.objects.exists()


def test_a_pause_accepts_new_starts_and_holds_them() -> None:
    engage("pause")
    assert fresh(start("plain")).hold == "pause"


def test_an_outcome_that_was_under_way_is_recorded_but_nothing_follows_it(runtime: Runtime) -> None:
    run = start("plain")
    claimed = only(claim(run.pk, worker=runtime.name))
    engage()
    with runtime.fly(run.pk, "plain", claimed.fence) as flight:
        outcome = perform(claimed, flight)
    assert settle(claimed, outcome) == Nothing(why="held")
    stopped = fresh(run)
    assert (stopped.state, stopped.hold) == ("ready", "stop")
    assert list(stopped.steps.values_list("node", "state")) == [("first", "done")]


def test_no_model_call_is_permitted_under_a_stop(runtime: Runtime) -> None:
    run = start("writing")
    claimed = only(claim(run.pk, worker=runtime.name))
    engage("stop", "run", str(run.pk))
    with runtime.fly(run.pk, "writing", claimed.fence) as flight:
        outcome = perform(claimed, flight)
    assert isinstance(outcome, Cut)
    assert "Ines" in outcome.why
    assert run.calls.count() == 0


def test_a_cut_run_goes_on_in_the_same_attempt_when_resumed(runtime: Runtime) -> None:
    run = start("writing")
    claimed = only(claim(run.pk, worker=runtime.name))
    control = engage()
    with runtime.fly(run.pk, "writing", claimed.fence) as flight:
        settle(claimed, perform(claimed, flight))
    released(control)
    with transaction.atomic():
        holds.resume(run.pk)
    run = advanced(run, runtime)
    assert run.state == "done"
    assert run.steps.get().attempts.get().number == 1
    assert Event.objects.filter(run=run, kind="cut").count() == 1


@pytest.fixture
def beating() -> Iterator[Runtime]:
    runtime = Runtime("beating-worker", "agents")
    runtime.start()
    yield runtime
    runtime.stop()


def test_a_stop_cuts_a_model_call_in_flight_and_the_worker_confirms(beating: Runtime, settings: Any) -> None:
    settings.SIMULATED_SECONDS = 600.0
    run = start("writing")
    looking = threading.Thread(target=_advance_and_close, args=(run.pk, beating))
    looking.start()
    patience.until(lambda: run.calls.filter(state="permitted").exists())
    control = engage()
    beating.nudge()
    patience.joined(looking)
    assert run.calls.get().state == "cut"
    patience.until(lambda: holds.confirmation(control).state == "stopped")
    receipt = control.receipts.get()
    assert (receipt.worker.name, receipt.cut) == ("beating-worker", 1)


def _advance_and_close(run_id: int, runtime: Runtime) -> None:
    try:
        advance(run_id, runtime)
    finally:
        connection.close()


def test_a_silent_worker_is_unconfirmed_never_stopped() -> None:
    silent = Worker.objects.create(name="silent", kind="agents")
    control = engage()
    assert holds.confirmation(control).state == "stopping"
    Worker.objects.filter(pk=silent.pk).update(seen_at=control.engaged_at - timedelta(seconds=30))
    assert holds.confirmation(control).state == "unconfirmed"


def test_a_worker_that_is_dead_for_certain_is_not_waited_for() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    heart.register("killed", "agents", os.getpid())
    heart.register("elsewhere", "agents", os.getpid())
    Worker.objects.filter(name="killed").update(pid=ended.pid)
    Worker.objects.filter(name="elsewhere").update(pid=ended.pid, place="another boot")
    heart.register("successor", "agents", os.getpid())
    control = engage()
    assert {one.worker.name for one in holds.confirmation(control).workers} == {"elsewhere", "successor"}


def test_a_worker_started_after_the_stop_is_not_waited_for() -> None:
    control = engage()
    Worker.objects.create(name="late", kind="agents")
    assert holds.confirmation(control).state == "stopped"


def test_the_gate_holds_a_claim_back_while_a_stop_is_being_written() -> None:
    run = start("plain")
    claimed: list[Any] = []
    entered = threading.Event()

    def try_to_claim() -> None:
        entered.set()
        claimed.append(claim(run.pk, worker="racing"))
        connection.close()

    with transaction.atomic():
        holds.engage("stop", "everything", by="Ines")
        racer = threading.Thread(target=try_to_claim)
        racer.start()
        entered.wait()
        racer.join(timeout=0.2)
        assert racer.is_alive()
    patience.joined(racer)
    assert claimed == [Nothing(why="held")]


def test_a_frozen_holder_of_the_gate_cannot_starve_a_stop(settings: Settings) -> None:
    settings.RUNS_GATE_HOLD_MS = 250
    holding, done = threading.Event(), threading.Event()

    def freeze_with_the_gate() -> None:
        try:
            with gate.held_by_session():
                holding.set()
                done.wait(patience.SECONDS)
        finally:
            connection.close()

    frozen = threading.Thread(target=freeze_with_the_gate)
    frozen.start()
    holding.wait()
    engage()
    assert frozen.is_alive(), "the stop came only after the holder had let go"
    done.set()
    frozen.join()


def test_a_holder_of_the_gate_that_is_only_slow_is_waited_for(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread may stand still between its last look at the gate and its request: that leaves before the stop."""
    settings.RUNS_GATE_HOLD_MS = 1500
    holding, looked, passages = threading.Event(), threading.Event(), []
    close = gate._closed_then
    waited: list[str] = []

    def closes(statements: str, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        if waited:
            looked.set()  # it has waited for long enough, and has looked who is frozen
        waited.append(statements)
        return close(statements, values)

    monkeypatch.setattr(gate, "_closed_then", closes)

    def stand_with_the_gate() -> None:
        try:
            with gate.held_by_session() as passage:
                passages.append(passage)
                holding.set()
                looked.wait(patience.SECONDS)
        finally:
            connection.close()

    slow = threading.Thread(target=stand_with_the_gate)
    slow.start()
    holding.wait()
    control = engage()
    slow.join()
    assert passages[0].left_at is not None
    assert passages[0].left_at <= control.engaged_at


def test_an_effect_is_not_handed_over_under_a_stop(runtime: Runtime) -> None:
    run = advanced(start("paying", amount=500), runtime)
    with transaction.atomic():
        question = answers.lock(question_of(run).pk)
        answers.answer(question, verb="approve", answer=question.action, by="Marta")
    engage("stop", "workflow", "paying")
    assert advance(run.pk, runtime) == Nothing(why="held")
    assert flows.CASHBOX.paid == []


def test_a_stop_that_was_released_meanwhile_still_refuses_what_was_under_way(runtime: Runtime) -> None:
    run = start("writing")
    claimed = only(claim(run.pk, worker=runtime.name))
    released(engage())
    with runtime.fly(run.pk, "writing", claimed.fence) as flight:
        outcome = perform(claimed, flight)
    assert isinstance(outcome, Cut)
    assert settle(claimed, outcome) == Nothing(why="held")
    assert (fresh(run).hold, run.calls.count()) == ("stop", 0)


def test_a_stop_that_meets_its_own_release_is_engaged_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    with transaction.atomic():
        first, _ = holds.engage("stop", "everything", by="Ines")
    look = holds.engaged

    def released_meanwhile() -> Any:
        Control.objects.filter(pk=first.pk).update(
            released_at=Now(), released_by="Tom", release_reason="over"
        )
        return look()

    monkeypatch.setattr(holds, "engaged", released_meanwhile)
    with transaction.atomic():
        control, new = holds.engage("stop", "everything", by="Ines")
    assert new
    assert control.pk != first.pk
    assert look().get() == control
