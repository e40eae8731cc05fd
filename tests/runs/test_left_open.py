"""An effect in flight whose step is over before anybody says how it ended: unknown, on record, never silently lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection
from django.db.models import F

from escalations.models import JournalEntry
from runs import registry
from runs.definitions import EffectGate, Join, Node, Pipeline, Plan, Rest, Results, Supervised, Task, Workflow
from runs.engine.advance import advance
from runs.engine.tools import gateway, looking
from runs.engine.worker.runtime import Runtime
from runs.models import Call, Question, Run
from tests import patience
from tests.flows.making import Closed
from tests.runs import flows
from tests.runs.conftest import advanced, answered, question_of, start

pytestmark = pytest.mark.django_db(transaction=True)


class Slow:
    """A world that has taken the request and does not answer yet."""

    def __init__(self) -> None:
        self.sent = threading.Event()
        self.answer = threading.Event()

    def pay(self, payment: flows.Payment, gate: EffectGate) -> Mapping[str, Any]:
        gate.hand_over(lambda _: self.sent.set())
        assert self.answer.wait(patience.SECONDS), "the test forgot to answer"
        return {"paid": payment.amount}


SLOW = Slow()


class Quick(Closed):
    amount: int = 1


def _both(quick: Quick) -> Plan:
    order = {"text": "a", "plan": "well", "amount": quick.amount}
    return Plan(tasks=(Task(worker="pay", input=order), Task(worker="pass", input={})))


def _pass(quick: Quick) -> Quick:
    assert SLOW.sent.wait(patience.SECONDS), "the payment was never sent"
    return quick


def _tally(results: Results) -> Quick:
    return Quick()


def _slow_node(*, repeatable: bool = False) -> Node:
    tool = replace(flows.tool(), perform=SLOW.pay, repeatable=repeatable)
    return Node(name="pay", work=flows.agent("payer", tool), takes=flows.Draft, gives=flows.Paid)


PAYING_SLOWLY = registry.register(
    Workflow(
        name="paying_slowly",
        version=1,
        team="Testers",
        goal=lambda draft: "pay",
        pattern=Pipeline(nodes=(_slow_node(),)),
    )
)
PAYING_SLOWLY_AGAIN = registry.register(
    replace(PAYING_SLOWLY, name="paying_slowly_again", pattern=Pipeline(nodes=(_slow_node(repeatable=True),)))
)
FIRST_COUNTS = registry.register(
    Workflow(
        name="first_counts",
        version=1,
        team="Testers",
        goal=lambda quick: "the first of two",
        pattern=Supervised(
            supervisor=Node(name="plan", work=_both, takes=Quick, gives=Plan),
            workers=(_slow_node(), Node(name="pass", work=_pass, takes=Quick, gives=Quick)),
            then=(Node(name="tally", work=_tally, takes=Results, gives=Quick),),
            join=Join(need=1, rest=Rest.END),
        ),
    )
)


@pytest.fixture(autouse=True)
def slow() -> Iterator[Slow]:
    SLOW.sent.clear()
    SLOW.answer.clear()
    yield SLOW
    SLOW.answer.set()


@pytest.fixture
def at_work() -> Iterator[list[threading.Thread]]:
    """Threads that advance a run; all of them at their end when the test is."""
    threads: list[threading.Thread] = []
    yield threads
    SLOW.answer.set()
    for thread in threads:
        thread.join(patience.SECONDS)
        assert not thread.is_alive()


def begun(run: Run, threads: list[threading.Thread], worker: str = "slow-worker") -> None:
    """Somebody else has sent the payment of this run and waits for the answer."""

    def work() -> None:
        try:
            advance(run.pk, Runtime(worker, "agents"))
        finally:
            connection.close()

    threads.append(threading.Thread(target=work))
    threads[-1].start()
    assert SLOW.sent.wait(patience.SECONDS)


def effect(run: Run) -> Call:
    return Call.objects.get(run=run, kind="tool")


def lost(run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(lease_until=F("created_at"), due_at=F("created_at"))


def left_open(run: Run) -> list[str]:
    events = run.events.filter(kind="left open").values_list("data", flat=True)
    assert JournalEntry.objects.filter(act="effect left open", run_id=run.pk).count() == len(events)
    return [data["name"] for data in events]


def test_an_effect_in_flight_of_a_run_that_ends_is_unknown_from_then_on(
    runtime: Runtime, at_work: list[threading.Thread]
) -> None:
    run = start("paying_slowly", text="a", plan="well", amount=9)
    begun(run, at_work)
    assert effect(run).state == "permitted"
    lost(run)
    Run.objects.filter(pk=run.pk).update(deadline_at=F("created_at"))
    run = advanced(run, runtime)
    assert (run.state, run.ending) == ("failed", "The run's deadline has passed.")
    assert effect(run).state == "unknown"
    assert effect(run).error == "its step ended while nobody knew how it would end"
    assert left_open(run) == ["cashbox.pay"]


def test_a_worker_that_still_learns_how_it_ended_may_say_so(
    runtime: Runtime, at_work: list[threading.Thread]
) -> None:
    run = start("paying_slowly", text="a", plan="well", amount=9)
    begun(run, at_work)
    lost(run)
    Run.objects.filter(pk=run.pk).update(deadline_at=F("created_at"))
    advanced(run, runtime)
    SLOW.answer.set()
    patience.joined(at_work[0])
    assert effect(run).state == "done"
    assert left_open(run) == ["cashbox.pay"]
    assert run.events.filter(kind="voided").exists()


def test_a_person_who_was_asked_need_not_answer_when_the_first_worker_comes_back_and_knows(
    runtime: Runtime, at_work: list[threading.Thread], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "LATE_MS", 0)
    run = start("paying_slowly", text="a", plan="well", amount=9)
    begun(run, at_work)
    lost(run)
    run = advanced(run, runtime)
    question = question_of(run)
    assert (run.state, question.kind, effect(run).state) == ("waiting", "unknown", "unknown")
    SLOW.answer.set()
    patience.joined(at_work[0])
    question.refresh_from_db()
    assert (question.state, question.answer_text) == ("withdrawn", gateway.SAID_LATE)
    assert JournalEntry.objects.get(act="escalation withdrawn").reason == gateway.SAID_LATE
    run = advanced(run, runtime)
    assert (run.state, effect(run).state) == ("done", "done")


@pytest.mark.parametrize("workflow", [PAYING_SLOWLY.name, PAYING_SLOWLY_AGAIN.name])
def test_a_worker_that_says_how_it_ended_while_another_doubts_it_is_believed(
    workflow: str, runtime: Runtime, at_work: list[threading.Thread], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(workflow, text="a", plan="well", amount=9)
    begun(run, at_work)
    lost(run)
    look = looking.look

    def while_it_looks(*given: Any, **named: Any) -> looking.Happened | looking.DidNot | looking.NotSure:
        SLOW.answer.set()
        patience.joined(at_work[0])
        return look(*given, **named)

    monkeypatch.setattr(looking, "look", while_it_looks)
    run = advanced(run, runtime)
    assert run.state == "done"
    assert (effect(run).state, effect(run).send) == ("done", 1)  # not sent again, and nobody was asked
    assert not Question.objects.filter(run=run).exists()


def test_an_effect_of_a_task_that_is_not_needed_any_more_is_unknown_and_the_run_goes_on(
    runtime: Runtime, at_work: list[threading.Thread]
) -> None:
    run = start("first_counts")
    begun(run, at_work, worker="both-tasks")
    payment = run.steps.filter(node="pay", state="ended")
    patience.until(payment.exists)
    assert effect(run).state == "unknown"
    assert left_open(run) == ["cashbox.pay"]


def test_a_quarantined_step_that_a_person_gives_up_leaves_its_effect_unknown(
    runtime: Runtime, at_work: list[threading.Thread]
) -> None:
    run = start("paying_slowly", text="a", plan="well", amount=9)
    begun(run, at_work)
    lost(run)
    run.steps.update(losses=3)
    advanced(run, runtime)
    assert question_of(run).kind == "error"
    answered(run, "reject", "give it up")
    run = advanced(run, runtime)
    assert (run.state, effect(run).state) == ("ended", "unknown")
    assert left_open(run) == ["cashbox.pay"]


def test_what_a_person_was_asked_about_and_answered_is_not_told_again(runtime: Runtime) -> None:
    flows.CASHBOX.break_after_send = 1
    run = advanced(start("paying", amount=9), runtime)
    answered(run, "reject", "leave it")
    Run.objects.filter(pk=run.pk).update(deadline_at=F("created_at"))
    run = advanced(run, runtime)
    assert run.state == "failed"
    assert left_open(run) == []


def test_a_doubt_whose_question_nobody_needs_answered_any_more_is_told(runtime: Runtime) -> None:
    flows.CASHBOX.break_after_send = 1
    run = advanced(start("paying", amount=9), runtime)
    assert Question.objects.get(run=run).kind == "unknown"
    Run.objects.filter(pk=run.pk).update(deadline_at=F("created_at"), due_at=F("created_at"))
    run = advanced(run, runtime)
    assert run.state == "failed"
    assert left_open(run) == ["cashbox.pay"]
