"""Runs of orchestrated and supervised workflows, through the engine and the database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.models import F

from runs import bodies
from runs.engine import edits, sweep
from runs.engine.advance import advance
from runs.engine.claim import claim
from runs.engine.worker.runtime import Runtime
from runs.models import Body, Event, Question, Run, Step
from tests import patience
from tests.runs import flows, teams
from tests.runs.conftest import advanced, answered, question_of, start

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    teams.GO.clear()
    teams.SEEN.clear()
    teams.TOGETHER.reset()
    yield
    teams.GO.set()


def _advance_and_close(run: Run, runtime: Runtime) -> None:
    advance(run.pk, runtime)
    connection.close()


def output(run: Run) -> Any:
    assert run.output, (run.state, run.ending)
    return bodies.load(run.output)


def loaded(body: Body | None) -> Any:
    assert body is not None
    return bodies.load(body)


def path(run: Run) -> list[str]:
    return list(run.steps.order_by("seq").values_list("node", flat=True))


def states(run: Run) -> list[str]:
    return list(run.steps.filter(parent__isnull=False).order_by("place").values_list("state", flat=True))


# orchestrated


def test_rules_over_outputs_decide_the_way(runtime: Runtime) -> None:
    run = advanced(start("writing_round", text="2 drafts"), runtime)
    assert path(run) == ["draft", "judge", "draft", "judge"]
    assert output(run) == {"text": "2 drafts", "drafts": 2, "good": True}


def test_an_edge_is_taken_no_more_often_than_it_says_and_then_a_person_is_asked(runtime: Runtime) -> None:
    run = advanced(start("writing_round", text="9 drafts"), runtime)
    assert path(run).count("draft") == 4
    question = run.questions.get()
    assert run.state == "waiting"
    assert "no edge out of judge holds" in question.title
    assert "used up: to draft (3 times)" in question.title


def test_a_rule_that_fails_asks_a_person_and_keeps_what_was_done(runtime: Runtime) -> None:
    run = advanced(start("writing_round", text="1 rule breaks"), runtime)
    assert [step.state for step in run.steps.all()] == ["done", "done"]
    assert "a rule that fails" in run.questions.get().title
    answered(run, "reject", text="mend the rule")
    run = advanced(run, runtime)
    assert (run.state, run.ending) == ("ended", "mend the rule")


# supervised


def test_every_task_of_a_plan_is_a_step_under_it_and_the_join_gets_them_in_order(runtime: Runtime) -> None:
    run = advanced(start("chores", does=["done"] * 5), runtime)
    plan = run.steps.get(node="plan")
    assert list(plan.tasks.order_by("place").values_list("place", flat=True)) == [0, 1, 2, 3, 4]
    assert output(run) == {"done": 5, "words": "0 done, 1 done, 2 done, 3 done, 4 done"}


def test_tasks_are_performed_side_by_side(runtime: Runtime) -> None:
    run = advanced(start("chores", does=["meets", "meets"]), runtime)  # each waits for the other
    assert output(run)["done"] == 2
    assert len(teams.SEEN) == 2


def test_no_more_tasks_than_the_width_are_performed_at_once(runtime: Runtime) -> None:
    run = advanced(start("chores_two_by_two", does=["counts"] * 6), runtime)
    assert output(run)["done"] == 6
    assert teams.CROWD.most == 2


def test_a_width_of_one_is_one_after_the_other(runtime: Runtime) -> None:
    run = start("chores_one_by_one", does=["done"] * 4)
    advanced(run, runtime)
    begun = list(Event.objects.filter(run=run, kind__in=["attempt", "step done"]).order_by("seq"))
    kinds = [one.kind for one in begun if one.step and one.step.parent_id]
    assert kinds == ["attempt", "step done"] * 4


def test_fifty_tasks_at_once_are_each_recorded_once(runtime: Runtime) -> None:
    run = advanced(start("chores", does=["done"] * 50), runtime)
    assert output(run)["done"] == 50
    numbers = list(Event.objects.filter(run=run).order_by("seq").values_list("seq", flat=True))
    assert numbers == list(range(1, len(numbers) + 1))
    assert Event.objects.filter(run=run, kind="step done").count() == 52


def test_a_failed_task_ends_the_run_only_when_the_join_cannot_be_met(runtime: Runtime) -> None:
    run = advanced(start("chores_most", does=["done", "fails", "done", "fails"]), runtime)
    assert output(run) == {"done": 2, "words": "0 done, 1 failed, 2 done, 3 failed"}
    run = advanced(start("chores_most", does=["done", "fails", "fails", "fails"]), runtime)
    assert run.state == "failed"
    assert "2 of 4 tasks are needed" in run.ending
    run = advanced(start("chores", does=["done", "fails"]), runtime)
    assert run.state == "failed"


def test_when_enough_are_done_the_rest_is_dropped_and_its_question_withdrawn(runtime: Runtime) -> None:
    run = start("chores_first", does=["asks", "waits"])
    look = threading.Thread(target=_advance_and_close, args=(run, runtime))
    look.start()
    patience.until(lambda: Question.objects.filter(run=run, state="open").exists())
    teams.GO.set()
    patience.joined(look)
    run.refresh_from_db()
    assert run.state == "done", run.ending
    assert output(run) == {"done": 1, "words": "0 ended, 1 done"}
    assert states(run) == ["ended", "done"]
    question = Question.objects.get(run=run)
    assert question.state == "withdrawn"
    assert question.escalation.state == "withdrawn"


def test_one_task_waits_for_a_person_while_the_others_go_on(runtime: Runtime) -> None:
    run = advanced(start("chores", does=["done", "asks", "done", "asks"]), runtime)
    assert run.state == "waiting"
    assert states(run) == ["done", "waiting", "done", "waiting"]
    assert Question.objects.filter(run=run, state="open").count() == 2


def test_a_task_that_a_person_ends_does_not_end_the_run(runtime: Runtime) -> None:
    run = advanced(start("chores_most", does=["done", "asks", "done"]), runtime)
    answered(run, "reject", text="not this one")
    run = advanced(run, runtime)
    assert output(run) == {"done": 2, "words": "0 done, 1 ended, 2 done"}


def test_approvals_of_several_tasks_are_answered_in_any_order(runtime: Runtime) -> None:
    run = advanced(start("chores", does=["a", "b"], worker="payer"), runtime)
    first, second = Question.objects.filter(run=run, state="open").order_by("pk")
    answered(run, "approve", question=second)
    run = advanced(run, runtime)
    assert sorted(states(run)) == ["done", "waiting"]
    answered(run, "approve", question=first)
    run = advanced(run, runtime)
    assert output(run)["done"] == 2
    assert sorted(amount for _, amount in flows.CASHBOX.paid) == [200, 201]


def test_an_answer_is_taken_up_while_another_task_is_under_way(runtime: Runtime) -> None:
    run = start("chores_most", does=["asks", "waits"])
    look = threading.Thread(target=_advance_and_close, args=(run, runtime))
    look.start()
    patience.until(lambda: Question.objects.filter(run=run, state="open").exists())
    answered(run, "reject", text="no")
    run.refresh_from_db()
    assert run.state == "running"
    assert sweep.due_beside(runtime.name) == [run.pk]
    advance(run.pk, runtime)
    assert states(run) == ["ended", "running"]
    teams.GO.set()
    patience.joined(look)
    run.refresh_from_db()
    assert output(run)["words"] == "0 ended, 1 done"


def test_a_plan_may_only_name_workers_on_the_list(runtime: Runtime) -> None:
    run = advanced(start("chores", does=["done"], worker="root"), runtime)
    question = run.questions.get()
    assert question.kind == "contract"
    assert "there is no worker 'root'; allowed: chore, payer" in question.title
    assert run.steps.count() == 1


def test_a_plan_is_bounded(runtime: Runtime) -> None:
    run = advanced(start("chores", does=["done"] * 61), runtime)
    assert "61 tasks, at most 60 are allowed" in run.questions.get().title
    assert run.steps.count() == 1


def test_plans_of_tasks_are_joined_under_their_own_plan(runtime: Runtime) -> None:
    run = advanced(start("areas", areas=[["done", "done"], ["done", "fails"], ["fails", "fails"]]), runtime)
    assert output(run) == {"done": 3, "words": "done, done, failed"}
    run = advanced(start("areas", areas=[["fails"], ["fails", "fails"], ["done"]]), runtime)
    assert run.state == "failed"


def test_a_lost_worker_loses_no_task_and_repeats_none_that_is_recorded(runtime: Runtime) -> None:
    run = start("chores", does=["done"] * 3)
    (plan,) = claim(run.pk, worker="lost")  # type: ignore[misc]
    Run.objects.filter(pk=run.pk).update(lease_until=F("created_at"), due_at=F("created_at"))
    del plan
    run = advanced(run, runtime)
    assert output(run)["done"] == 3
    assert Step.objects.filter(run=run).count() == 5
    assert Event.objects.filter(run=run, kind="step done").count() == 5


# error policies


@pytest.mark.parametrize(
    ("plan", "total", "by", "attempts"),
    [
        (
            "well",
            3,
            "simulated/adder",
            [
                "",
            ],
        ),
        ("provider down", 3, "simulated/adder-b", ["", "", "model:simulated/adder-b"]),
        ("broken", 3, "mended: total of the output", ["", "repair:_mend"]),
        ("wrong", 3, "verified 99", ["", "verify:_verify"]),
    ],
)
def test_the_error_policy_says_who_tries_next(
    runtime: Runtime, plan: str, total: int, by: str, attempts: list[str]
) -> None:
    run = advanced(start("adding", plan=plan), runtime)
    assert output(run)["total"] == total
    assert output(run)["by"].startswith(by)
    made = run.steps.get().attempts.order_by("number").values_list("by", flat=True)
    assert list(made) == attempts


@pytest.mark.parametrize("plan", ["broken", "wrong"])
def test_another_agent_does_the_step_afresh(runtime: Runtime, plan: str) -> None:
    run = advanced(start("adding_another", plan=plan), runtime)
    assert output(run) == {"total": 3, "by": "second"}
    agents = run.steps.get().attempts.order_by("number").values_list("agent", flat=True)
    assert list(agents) == ["adder", "second_adder"]


def test_a_persons_edit_is_held_to_the_nodes_own_check_but_may_be_taken_as_it_is(runtime: Runtime) -> None:
    run = advanced(start("adding_checked", plan="wrong"), runtime)
    question = run.questions.get()
    assert (question.kind, question.action["value"]["total"]) == ("contract", 99)
    with pytest.raises(edits.Broken) as wrong:
        edits.check(question, {"total": "5", "by": "Marta"})
    assert wrong.value.errors == [("total", "5 is not the sum of [1, 2]")]
    with pytest.raises(edits.Broken, match="own check of this value failed"):
        edits.check(question, {"total": "3", "by": "a check that fails"})
    assert edits.check(question, {"total": "99", "by": ""})["value"]["total"] == 99
    answered(run, "approve", answer=edits.check(question, {"total": " 3 ", "by": "Marta "}))
    assert output(advanced(run, runtime)) == {"total": 3, "by": "Marta"}


def test_who_begins_afresh_is_not_told_what_the_first_one_did_wrong(runtime: Runtime) -> None:
    run = advanced(start("adding_told", plan="broken"), runtime)
    assert output(run)["by"] == "second"
    notes = list(run.steps.get().attempts.order_by("number").values_list("agent", "note"))
    assert [agent for agent, _ in notes] == ["adder", "adder", "second_adder"]
    assert "not accepted at total" in notes[1][1]
    assert notes[2][1] == ""


# delegates


def test_a_delegates_effect_passes_the_same_approval_and_the_run_goes_on_from_there(runtime: Runtime) -> None:
    run = advanced(start("delegating", amount=500), runtime)
    question = run.questions.get()
    assert (question.kind, question.tool) == ("approval", "cashbox.pay")
    parked = run.steps.get().attempts.get()
    assert [one["agent"] for one in loaded(parked.history)] == ["manager", "clerk"]
    asked_before = run.calls.filter(kind="model").count()
    answered(run, "approve")
    run = advanced(run, Runtime("after a restart", "agents"))
    assert output(run)["said"].startswith("clerk: ")
    assert [amount for _, amount in flows.CASHBOX.paid] == [500]
    assert (
        run.calls.filter(kind="model").count() == asked_before + 2
    )  # the recorded ones are replayed, not sent


def test_a_conversation_that_is_not_the_parked_one_asks_a_person(runtime: Runtime) -> None:
    run = advanced(start("delegating", amount=500), runtime)
    attempt = run.steps.get().attempts.get()
    history = loaded(attempt.history)
    history[0]["messages"][0]["text"] = "something else"
    attempt.history = bodies.store(history)
    attempt.save()
    answered(run, "approve")
    run = advanced(run, runtime)
    assert "Message 1 is not the one" in run.questions.order_by("-pk")[0].title
    assert flows.CASHBOX.paid == []


def test_a_card_says_that_trying_again_has_changed_nothing(runtime: Runtime) -> None:
    run = advanced(start("chores_most", does=["done", "asks", "done"]), runtime)
    assert question_of(run).evidence == []
    answered(run, "approve")
    run = advanced(run, runtime)
    (said,) = question_of(run).evidence
    assert said["title"] == "Trying again has changed nothing"
    assert said["details"] == [["tried again by people", "1"], ["attempts with this error", "2"]]
