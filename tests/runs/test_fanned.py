"""A task's settlement in one statement leaves what the long way leaves, and refuses whatever is not plain."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F

from runs import registry
from runs.definitions import Join, Rest
from runs.engine import fanned, holds
from runs.engine.advance import advance
from runs.engine.claim import Nothing, claim
from runs.engine.claimed import Claimed, Next
from runs.engine.outcomes import Outcome
from runs.engine.perform import perform
from runs.engine.settle import settle
from runs.engine.worker.runtime import Runtime
from runs.models import Attempt, Event, Question, Run, Step
from runs.routing import Joined, verdict_of
from tests.runs import teams
from tests.runs.at_the_gate import met_a_stop
from tests.runs.conftest import advanced, only, start
from tests.runs.test_straight import engaged, rows, set_run

pytestmark = pytest.mark.django_db(transaction=True)

THREE = registry.register(teams.supervised("chores_three", join=Join(need=3, rest=Rest.END), width=4))
HALF = registry.register(teams.supervised("chores_half", join=Join(need=0.5, rest=Rest.END), width=4))
MANY = registry.register(teams.supervised("chores_many", most_tasks=1_000, width=4))

ALL: dict[str, Any] = {"workflow": "chores", "does": ["done"] * 20}
MIXED: dict[str, Any] = {"workflow": "chores_most", "does": ["done", "done", "fails", "done"] * 5}
ONE_BY_ONE: dict[str, Any] = {"workflow": "chores_one_by_one", "does": ["done"] * 6}
QUORUM: dict[str, Any] = {"workflow": "chores_three", "does": ["done"] * 9}
SHARE: dict[str, Any] = {"workflow": "chores_half", "does": ["done"] * 9}
PLANS: dict[str, Any] = {"workflow": "areas", "areas": [["done"] * 12, ["done", "fails"] * 6, ["done"] * 3]}
ORDERS = {
    "all": ALL,
    "some fail": MIXED,
    "one by one": ONE_BY_ONE,
    "a number": QUORUM,
    "a share": SHARE,
    "plans inside a plan": PLANS,
}


def in_turn(run: Run, runtime: Runtime) -> Run:
    """Perform a run in this thread, always what was claimed first: the same order every time."""
    todo = deque(taken(claim(run.pk, worker=runtime.name)))
    while todo:
        claimed = todo.popleft()
        with runtime.fly(0, "", 0) as flight:
            outcome = perform(claimed, flight)
        todo += taken(settle(claimed, outcome))
    return Run.objects.get(pk=run.pk)


def taken(claims: Next) -> Sequence[Claimed]:
    return () if isinstance(claims, Nothing) else claims


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_both_ways_leave_the_same_rows(
    order: dict[str, Any], runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = rows(in_turn(start(**order), runtime))
    monkeypatch.setattr(fanned, "hand_on", lambda *_: None)
    at_length = rows(in_turn(start(**order), runtime))
    for one in (straight, at_length):  # ids differ: which plan a task is of is told by its plan's number
        first = min(step["parent_id"] for step in one["steps"] if step["parent_id"])
        for step in one["steps"]:
            step["parent_id"] = step["parent_id"] and step["parent_id"] - first
    assert straight["run"][0]["state"] == "done"
    assert straight == at_length


def test_of_a_plans_tasks_the_last_alone_goes_the_long_way(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_length: list[str] = []
    long_way = settle.__globals__["_settled"]

    def counted(claimed: Claimed, outcome: Outcome, **more: Any) -> Next:
        at_length.append(claimed.node.name)
        found: Next = long_way(claimed, outcome, **more)
        return found

    monkeypatch.setattr("runs.engine.settle._settled", counted)
    assert in_turn(start(**ALL), runtime).state == "done"
    assert at_length == ["plan", "chore", "count"]


# what is not plain


def under_way(
    runtime: Runtime, workflow: str = "chores_many", tasks: int = 9
) -> tuple[list[Claimed], Outcome]:
    """A run's first tasks, claimed; and what the first of them gave, not settled yet."""
    plan = only(claim(start(workflow, does=["done"] * tasks).pk, worker=runtime.name))
    with runtime.fly(0, "", 0) as flight:
        claims = list(taken(settle(plan, perform(plan, flight))))
        return claims, perform(claims[0], flight)


def task(run: Run, place: int) -> Any:
    return Step.objects.filter(run=run, parent__isnull=False, place=place)


def asked_at(run: Run, place: int, state: str) -> None:
    task(run, place).update(state="waiting", fence=0)
    question = {"kind": "error", "title": "?", "reason": "?", "digest": "", "verb": "approve", "state": state}
    Question.objects.create(run=run, step=task(run, place).get(), expires_at=run.deadline_at, **question)


def last_of_its_plan(run: Run) -> None:
    """Every other task of it is done; one of another plan is to begin."""
    others = Step.objects.filter(run=run, parent__isnull=False, place__gt=0)
    others.update(state="done", output=F("input"), fence=0)
    task(run, 4).update(state="ready", parent=task(run, 1).get())


HINDERED: dict[str, Callable[[Run], Any]] = {
    "everything is stopped": lambda run: engaged("everything", ""),
    "its workflow is stopped": lambda run: engaged("workflow", "chores_many"),
    "it is stopped itself": lambda run: engaged("run", str(run.pk)),
    "it is held": set_run(hold="pause"),
    "another worker holds it": set_run(fence=F("fence") + 1),
    "it is over": set_run(state="ended", due_at=None, lease_until=None),
    "its deadline has passed": set_run(deadline_at=F("created_at") - timedelta(hours=1)),
    "the task is settled already": lambda run: task(run, 0).update(state="ended"),
    "its attempt is over already": lambda run: Attempt.objects.filter(step__in=task(run, 0)).update(
        state="voided"
    ),
    "the task was given back": lambda run: task(run, 0).update(fence=0),
    "another task was given back": lambda run: task(run, 2).update(fence=0),
    "a task beside it is suspected": lambda run: task(run, 2).update(losses=2),
    "a task has woken": lambda run: task(run, 8).update(state="sleeping", due_at=run.created_at),
    "a task may go on at any time": lambda run: task(run, 8).update(state="sleeping", due_at=None),
    "a person has answered": lambda run: asked_at(run, 8, "answered"),
    "several may begin": lambda run: task(run, 2).update(state="ended", fence=0),
    "somebody else is to begin the next": lambda run: task(run, 4).update(by="agent:payer"),
    "the next is for nobody on the list": lambda run: task(run, 4).update(node="gone"),
    "it is the last of its plan": lambda run: last_of_its_plan(run),
}


@pytest.mark.parametrize("hinder", HINDERED.values(), ids=HINDERED)
def test_a_settlement_is_not_plain_when(hinder: Callable[[Run], Any], runtime: Runtime) -> None:
    (claimed, *_), outcome = under_way(runtime)
    hinder(claimed.run)
    before = rows(claimed.run)
    assert fanned.hand_on(claimed, outcome) is None
    assert rows(claimed.run) == before


WAITS: dict[str, Callable[[Run], Any]] = {
    "nothing else happens": lambda run: None,
    "a task sleeps": lambda run: task(run, 8).update(
        state="sleeping", due_at=F("started_at") + timedelta(hours=1)
    ),
    "a task waits for a person": lambda run: asked_at(run, 8, "open"),
    "a task has failed": lambda run: task(run, 8).update(state="failed"),
}


@pytest.mark.parametrize("beside", WAITS.values(), ids=WAITS)
def test_the_next_task_begins_while(beside: Callable[[Run], Any], runtime: Runtime) -> None:
    (claimed, *_), outcome = under_way(runtime)
    beside(claimed.run)
    following = only(fanned.hand_on(claimed, outcome) or Nothing(why="refused"))
    assert following.step.place == 4
    kept = Step.objects.get(pk=following.step.pk)
    assert (kept.state, kept.fence, kept.seq) == ("running", following.fence, following.step.seq)
    assert following.step.input.content == kept.input.content


def test_a_task_that_was_tried_before_begins_another_attempt_with_its_note(runtime: Runtime) -> None:
    (claimed, *_), outcome = under_way(runtime)
    ready = task(claimed.run, 4)
    ready.update(note="mind the step")
    Attempt.objects.create(step=ready.get(), number=1, fence=1, worker="before", state="voided")
    following = only(fanned.hand_on(claimed, outcome) or Nothing(why="refused"))
    assert (following.attempt.number, following.attempt.note) == (2, "mind the step")
    assert Attempt.objects.get(pk=following.attempt.pk).note == "mind the step"


def test_without_a_task_to_begin_the_others_go_on(runtime: Runtime) -> None:
    (claimed, *_), outcome = under_way(runtime, tasks=4)
    assert fanned.hand_on(claimed, outcome) == Nothing(why="others")
    assert task(claimed.run, 0).get().state == "done"


@pytest.mark.parametrize(
    "join", [Join(need=3, rest=Rest.END), Join(need=0.34, rest=Rest.END), Join(need=0.5)]
)
def test_the_function_takes_a_join_for_met_exactly_when_routing_does(join: Join, runtime: Runtime) -> None:
    """Of nine tasks so many are done, one more is settled now, the others are open."""
    name = f"chores_{join.need}_{join.rest}"
    registry.register(teams.supervised(name, join=join, width=9))
    for done in range(9):
        (claimed, *_), outcome = under_way(runtime, name)
        for place in range(1, done + 1):
            task(claimed.run, place).update(state="done", output=F("input"), fence=0)
        after = verdict_of(join, 9, ["done"] * (done + 1) + [""] * (8 - done))
        plain = fanned.hand_on(claimed, outcome) is not None
        assert plain == (after == Joined.OPEN), done


# under concurrency


@pytest.mark.parametrize(
    ("workflow", "does", "done"),
    [
        ("chores_many", ["done"] * 60, 60),
        ("chores_three", ["done"] * 40, 3),
        ("chores_half", ["done"] * 40, 20),
    ],
)
def test_a_join_is_met_once_however_many_settle_at_once(
    workflow: str, does: list[str], done: int, runtime: Runtime
) -> None:
    for _ in range(3):
        run = advanced(start(workflow, does=does), runtime)
        assert run.state == "done"
        kinds = list(Event.objects.filter(run=run).order_by("seq").values_list("seq", "kind", "step__node"))
        assert [seq for seq, _, _ in kinds] == list(range(1, len(kinds) + 1))
        assert sum(1 for _, kind, node in kinds if (kind, node) == ("step done", "chore")) == done
        assert [kind for _, kind, node in kinds].count("done") == 1
        assert sum(1 for _, kind, node in kinds if (kind, node) == ("step", "count")) == 1
        assert run.steps.filter(state="done", node="chore").count() == done
        assert not run.steps.exclude(state__in=["done", "ended"]).exists()


def test_a_stop_between_two_tasks_leaves_the_rest_where_it_is_and_all_go_on_afterwards(
    runtime: Runtime,
) -> None:
    claims, outcome = under_way(runtime)
    run = claims[0].run
    control = engaged("workflow", "chores_many")
    assert settle(claims[0], outcome) == Nothing(why="others")
    for claimed in claims[1:]:
        with runtime.fly(0, "", 0) as flight:
            settle(claimed, perform(claimed, flight))
    run.refresh_from_db()
    assert (run.state, run.hold) == ("ready", "stop")
    assert list(task(run, 4).values_list("state", flat=True)) == ["ready"]
    assert Event.objects.filter(run=run, kind="attempt").count() == 5
    with transaction.atomic():
        holds.release(control.pk, by="Ines", reason="")
        holds.resume(run.pk)
    assert advanced(run, runtime).state == "done"


def test_whoever_waits_at_the_gate_meets_the_stop_that_closed_it(runtime: Runtime) -> None:
    (claimed, *_), outcome = under_way(runtime)
    assert met_a_stop(lambda: fanned.hand_on(claimed, outcome)) is None
    assert Event.objects.filter(run=claimed.run, kind="step done").count() == 1  # the plan


# what it costs


def blocks(runtime: Runtime, tasks: int) -> int:
    """Blocks that one settlement touches, the least of several; rolled back."""
    (claimed, *_), outcome = under_way(runtime, tasks=tasks)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE runs_step, runs_attempt, runs_event, runs_run")
    sql, values = statement(claimed, outcome)
    touched: list[int] = []
    for _ in range(3):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) " + sql, values)
            ((found,),) = cursor.fetchall()
            transaction.set_rollback(True)
        plan = found[0]["Plan"]
        assert plan["Actual Rows"] == 1
        touched.append(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
    return min(touched)


def statement(claimed: Claimed, outcome: Outcome) -> tuple[str, list[Any]]:
    """What a settlement would ask."""
    asked: list[tuple[str, list[Any]]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runs.engine.lanes.row", lambda sql, values, **_: asked.append((sql, values)))
        fanned.hand_on(claimed, outcome)
    return asked[0]


def test_a_settlement_costs_as_much_among_many_tasks_as_among_few(runtime: Runtime) -> None:
    few, many = blocks(runtime, 100), blocks(runtime, 900)
    assert many < few + 25, (few, many)


def test_a_plan_of_many_tasks_is_written_down_in_few_statements(
    runtime: Runtime, django_assert_max_num_queries: Any
) -> None:
    plan = only(claim(start("chores_many", does=["done"] * 900).pk, worker=runtime.name))
    with runtime.fly(0, "", 0) as flight:
        outcome = perform(plan, flight)
    with django_assert_max_num_queries(60):
        settle(plan, outcome)
    assert plan.run.steps.count() == 901
    numbers = list(Event.objects.filter(run=plan.run).order_by("seq").values_list("seq", flat=True))
    assert numbers == list(range(1, len(numbers) + 1))


def test_advance_performs_a_fan_out_side_by_side(runtime: Runtime) -> None:
    run = start("chores_many", does=["meets"] * 4)
    assert advance(run.pk, runtime).why == "final"
