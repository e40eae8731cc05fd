"""The straight way is the long way in one statement: the same rows come of it, and it refuses whatever is not plain."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.db.models import F

from runs import bodies, routing
from runs.engine import holds, questions, straight
from runs.engine.claim import Nothing, claim
from runs.engine.claimed import Claimed
from runs.engine.outcomes import Outcome
from runs.engine.perform import perform
from runs.engine.settle import settle
from runs.engine.worker.runtime import Runtime
from runs.models import Attempt, Control, Event, Question, QuestionKind, Run, Step
from runs.models.run import MOVES
from tests.runs import teams
from tests.runs.at_the_gate import heard_by_eight, met_a_stop
from tests.runs.conftest import advanced, only, start

pytestmark = pytest.mark.django_db(transaction=True)

PLAIN: dict[str, Any] = {"workflow": "plain", "text": "abc"}
ROUND: dict[str, Any] = {"workflow": teams.WRITING_ROUND.name, "text": "2 drafts", "drafts": 0}
LARGE: dict[str, Any] = {**ROUND, "text": "3 " + "x" * straight.KEPT_BYTES}


def long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(straight, "begin", lambda *_: None)
    monkeypatch.setattr(straight, "hand_on", lambda *_: None)


def rows(run: Run) -> dict[str, Any]:
    """Everything that is kept of a run but times and row ids."""
    steps = {step.pk: step.seq for step in run.steps.all()}
    own = Run.objects.filter(pk=run.pk).values(
        *("state", "hold", "output_id", "ending", "fence", "event_seq", "retries", "lease_owner", "due_at")
    )
    return {
        "run": list(own),
        "steps": list(
            run.steps.order_by("seq").values(
                *("seq", "node", "state", "input_id", "output_id", "answered_by", "parent_id", "place"),
                *("fence", "due_at", "by", "losses", "note"),
            )
        ),
        "attempts": list(
            Attempt.objects.filter(step__run=run)
            .order_by("step__seq", "number")
            .values(
                *("step__seq", "number", "agent", "by", "state", "fence", "worker", "note", "error"),
                *("error_class", "error_where", "rejected_output_id", "history_id"),
            )
        ),
        "events": [
            (event.seq, event.kind, steps.get(event.step_id or 0), event.data)
            for event in run.events.order_by("seq")
        ],
        "finished": [
            step.finished_at is not None and step.started_at <= step.finished_at for step in run.steps.all()
        ],
    }


@pytest.mark.parametrize("order", [PLAIN, ROUND, LARGE], ids=["pipeline", "orchestrated", "large outputs"])
def test_both_ways_leave_the_same_rows(
    order: dict[str, Any], runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight_rows = rows(advanced(start(**order), runtime))
    long_way(monkeypatch)
    assert rows(advanced(start(**order), runtime)) == straight_rows


@pytest.mark.parametrize("order", [PLAIN, ROUND, LARGE], ids=["pipeline", "orchestrated", "large outputs"])
def test_a_run_without_surprises_never_takes_the_long_way(
    order: dict[str, Any], runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_here(*_: Any, **__: Any) -> Any:
        raise AssertionError("this run is plain")

    run = start(**order)
    monkeypatch.setattr("runs.engine.claim._claim", not_here)
    monkeypatch.setattr("runs.engine.settle._settled", not_here)
    assert advanced(run, runtime).state == "done"


def under_way(runtime: Runtime) -> tuple[Claimed, Outcome]:
    """A run's first step, performed and not settled yet."""
    with runtime.fly(0, "", 0) as flight:
        claimed = only(claim(start(**PLAIN).pk, worker=runtime.name))
        return claimed, perform(claimed, flight)


def engaged(scope_kind: str, scope: str) -> Control:
    with transaction.atomic():
        return holds.engage("stop", scope_kind, scope, by="Ines")[0]


def asked(run: Run) -> Question:
    with transaction.atomic():
        asking = questions.Asking(kind=QuestionKind.MISSING, title="?", reason="?", action={})
        return questions.ask(Run.objects.select_for_update().get(pk=run.pk), None, asking)


def set_run(**values: Any) -> Callable[[Run], Any]:
    return lambda run: Run.objects.filter(pk=run.pk).update(**values)


def add_a_step(run: Run) -> Step:
    return Step.objects.create(run=run, seq=9, node="second", state="sleeping", input=run.input)


HINDERED: dict[str, Callable[[Run], Any]] = {
    "everything is stopped": lambda run: engaged("everything", ""),
    "its workflow is stopped": lambda run: engaged("workflow", "plain"),
    "it is stopped itself": lambda run: engaged("run", str(run.pk)),
    "it is held": set_run(hold="pause"),
    "another worker holds it": set_run(fence=F("fence") + 1),
    "it is over": set_run(state="ended", due_at=None, lease_until=None),
    "its deadline has passed": set_run(deadline_at=F("created_at") - timedelta(hours=1)),
    "another step of it is open": add_a_step,
    "its step is settled already": lambda run: run.steps.update(state="ended"),
    "its attempt is over already": lambda run: Attempt.objects.filter(step__run=run).update(state="voided"),
}


@pytest.mark.parametrize("hinder", HINDERED.values(), ids=HINDERED)
def test_a_settlement_is_not_plain_when(hinder: Callable[[Run], Any], runtime: Runtime) -> None:
    claimed, outcome = under_way(runtime)
    hinder(claimed.run)
    before = rows(claimed.run)
    assert straight.hand_on(claimed, outcome) is None
    assert rows(claimed.run) == before


def test_a_run_does_not_end_the_straight_way_while_it_asks(runtime: Runtime) -> None:
    claimed, outcome = under_way(runtime)
    for _ in range(2):
        claimed = only(settle(claimed, outcome))
        with runtime.fly(0, "", 0) as flight:
            outcome = perform(claimed, flight)
    asked(claimed.run)
    assert straight.hand_on(claimed, outcome) is None


UNREADY: dict[str, Callable[[Run], Any]] = {
    "everything is stopped": lambda run: engaged("everything", ""),
    "its workflow is stopped": lambda run: engaged("workflow", "plain"),
    "it is stopped itself": lambda run: engaged("run", str(run.pk)),
    "it is held": set_run(hold="stop"),
    "it is not due yet": set_run(due_at=F("created_at") + timedelta(hours=1)),
    "its deadline has passed": set_run(deadline_at=F("created_at") - timedelta(hours=1)),
    "it waits": set_run(state="waiting", due_at=None),
    "it has begun": add_a_step,
    "it has asked before": asked,
    "its version is gone": set_run(version=99),
}


@pytest.mark.parametrize("hinder", UNREADY.values(), ids=UNREADY)
def test_a_first_claim_is_not_plain_when(hinder: Callable[[Run], Any]) -> None:
    run = start(**PLAIN)
    hinder(run)
    before = rows(run)
    assert straight.begin(run.pk, "w") is None
    assert rows(run) == before


def test_every_state_but_ready_is_left_to_the_long_way() -> None:
    run = start(**PLAIN)
    for state in set(MOVES) - {"ready"}:
        lease = F("created_at") if state == "running" else None
        Run.objects.filter(pk=run.pk).update(state=state, lease_until=lease, due_at=None)
        assert straight.begin(run.pk, "w") is None


def test_two_workers_that_hear_of_one_run_do_not_both_begin_it() -> None:
    run = start(**PLAIN)
    assert len(heard_by_eight(run)) == 1
    assert Run.objects.get(pk=run.pk).fence == 1
    assert run.steps.count() == 1


@pytest.mark.parametrize("act", ["begin", "hand on"])
def test_whoever_waits_at_the_gate_meets_the_stop_that_closed_it(act: str, runtime: Runtime) -> None:
    """The gate is the function's first statement: what is checked after it is as it is after the wait."""
    claimed, outcome = under_way(runtime)
    fresh = start(**PLAIN)
    acts = {
        "begin": lambda: straight.begin(fresh.pk, "w"),
        "hand on": lambda: straight.hand_on(claimed, outcome),
    }
    assert met_a_stop(acts[act]) is None
    assert Event.objects.filter(run=fresh, kind="step").count() == 0
    assert Event.objects.filter(run=claimed.run, kind="step done").count() == 0


def test_the_lease_is_extended_when_a_third_of_it_is_over_and_not_with_every_step(runtime: Runtime) -> None:
    claimed, outcome = under_way(runtime)
    before = Run.objects.get(pk=claimed.run.pk)
    following = only(settle(claimed, outcome))
    assert Run.objects.get(pk=before.pk).lease_until == before.lease_until
    worn = before.lease_until - holds.lease() / 2 if before.lease_until else None
    Run.objects.filter(pk=before.pk).update(lease_until=worn, due_at=worn)
    with runtime.fly(0, "", 0) as flight:
        settle(following, perform(following, flight))
    after = Run.objects.get(pk=before.pk)
    assert after.lease_until
    assert worn
    assert after.lease_until > worn
    assert after.due_at == after.lease_until


def test_a_lease_that_ran_out_with_nobody_else_there_is_renewed(runtime: Runtime) -> None:
    claimed, outcome = under_way(runtime)
    Run.objects.filter(pk=claimed.run.pk).update(lease_until=F("created_at"), due_at=F("created_at"))
    following = only(settle(claimed, outcome))
    run = Run.objects.get(pk=claimed.run.pk)
    assert run.lease_until
    assert run.lease_until > run.created_at
    assert following.fence == run.fence == claimed.fence


def test_what_is_not_plain_is_done_at_length_by_the_same_call(runtime: Runtime) -> None:
    claimed, outcome = under_way(runtime)
    engaged("workflow", "plain")
    assert settle(claimed, outcome) == Nothing(why="held")
    run = Run.objects.get(pk=claimed.run.pk)
    assert (run.state, run.hold) == ("ready", "stop")
    assert list(run.steps.values_list("state", flat=True)) == ["done"]


def test_after_a_long_way_the_run_goes_on_the_straight_way(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where rules look at the whole history: the long way hands it on."""
    run = start(**ROUND)
    with monkeypatch.context() as closed:
        long_way(closed)
        claimed = only(claim(run.pk, worker=runtime.name))
        with runtime.fly(0, "", 0) as flight:
            claimed = only(settle(claimed, perform(claimed, flight)))
            outcome = perform(claimed, flight)
    monkeypatch.setattr("runs.engine.settle._settled", None)
    following = only(settle(claimed, outcome))
    assert [one.node for one in following.past or ()] == ["draft", "judge"]


def test_an_orchestrated_run_that_slept_looks_at_its_history_once(runtime: Runtime) -> None:
    run = start(**ROUND)
    claimed = only(claim(run.pk, worker="gone"))
    Run.objects.filter(pk=run.pk).update(lease_until=F("created_at"), due_at=F("created_at"))
    claimed = only(claim(run.pk, worker=runtime.name))
    assert claimed.past is None
    with runtime.fly(0, "", 0) as flight:
        claimed = only(settle(claimed, perform(claimed, flight)))
    assert [one.node for one in claimed.past or ()] == ["draft"]


def test_a_large_output_is_not_kept_in_memory_and_a_rule_that_looks_at_it_gets_it(runtime: Runtime) -> None:
    claimed = only(claim(start(**LARGE).pk, worker=runtime.name))
    for _ in range(2):
        with runtime.fly(0, "", 0) as flight:
            claimed = only(settle(claimed, perform(claimed, flight)))
    kept = [one.output for one in claimed.past or ()]
    assert [type(one) for one in kept] == [routing.Later, routing.Later]
    assert [one.fetch()["text"] for one in kept] == [LARGE["text"]] * 2
    assert bodies.load(claimed.step.input) == {"text": LARGE["text"], "drafts": 1}


def test_only_the_newest_outputs_are_kept_in_memory_and_a_rule_that_looks_at_an_old_one_gets_it(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(straight, "KEPT_STEPS", 2)
    claimed = only(claim(start(**{**ROUND, "text": "4 drafts"}).pk, worker=runtime.name))
    for _ in range(4):
        with runtime.fly(0, "", 0) as flight:
            claimed = only(settle(claimed, perform(claimed, flight)))
    kept = [one.output for one in claimed.past or ()]
    assert [isinstance(one, routing.Later) for one in kept] == [True, True, False, False]
    assert [one.fetch()["drafts"] for one in kept[:2]] == [1, 1]
    assert [one["drafts"] for one in kept[2:]] == [2, 2]
