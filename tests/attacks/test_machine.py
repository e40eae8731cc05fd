"""A machine that fails at the wrong moment: lost connections, work that never ends, rows nobody can settle."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.db.models.functions import Now

from runs import registry, tasks
from runs.agents.door import ModelReply, ModelRequest
from runs.agents.simulated import calls, says
from runs.definitions import EffectGate, Node, Pipeline, Workflow
from runs.engine import answers, holds, sweep
from runs.engine.advance import advance
from runs.engine.worker import heart
from runs.engine.worker.flights import Flight
from runs.engine.worker.runtime import Runtime
from runs.models import Call, ControlReceipt, Event, Question, Run
from tests import patience
from tests.attacks import rogues
from tests.runs import flows
from tests.runs.conftest import advanced, question_of, start
from tests.runs.flows import Draft, Order

pytestmark = pytest.mark.django_db(transaction=True)

ENTERED = threading.Event()
GO_ON = threading.Event()
CUT_LINES: list[int] = []


def _lose_the_line() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def _work(order: Order) -> Draft:
    if order.plan == "stuck":
        ENTERED.set()
        GO_ON.wait(patience.SECONDS)
    if order.plan == "line lost once" and not CUT_LINES:
        CUT_LINES.append(1)
        _lose_the_line()
    if order.plan == "line lost":
        _lose_the_line()
    return Draft(text=order.text, plan=order.plan, amount=order.amount)


STUCK = registry.register(
    Workflow(
        name="machine",
        version=1,
        team="Testers",
        goal=lambda order: order.text,
        pattern=Pipeline(nodes=(Node(name="work", work=_work, takes=Order, gives=Draft),)),
    )
)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    ENTERED.clear()
    GO_ON.clear()
    CUT_LINES.clear()
    rogues.DONE.clear()
    yield
    GO_ON.set()
    rogues.BEHAVES.clear()


@pytest.fixture
def worker() -> Runtime:
    """A worker that is known to the others."""
    made = Runtime(f"attacked-{uuid.uuid4().hex[:8]}", "agents")
    heart.register(made.name, made.kind, 1)
    return made


@contextlib.contextmanager
def beside(run: Run, runtime: Runtime) -> Iterator[threading.Thread]:
    """Advance a run in a thread of its own; joined at the end."""

    def perform() -> None:
        try:
            advance(run.pk, runtime)
        finally:
            connection.close()

    thread = threading.Thread(target=perform)
    thread.start()
    try:
        yield thread
    finally:
        GO_ON.set()
        patience.joined(thread)


class LateRuntime(Runtime):
    """Takes its time between a claim and saying that it flies."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "agents")
        self.claimed = threading.Event()
        self.fly_now = threading.Event()

    def take_off(self, *args: Any, **more: Any) -> Flight:
        self.claimed.set()
        self.fly_now.wait(patience.SECONDS)
        return super().take_off(*args, **more)


def engaged(kind: str = "stop") -> int:
    with transaction.atomic():
        return holds.engage(kind, "everything", "", by="Marta")[0].pk


def test_a_worker_confirms_no_stop_while_a_claim_of_before_is_about_to_fly() -> None:
    late = LateRuntime(f"late-{uuid.uuid4().hex[:8]}")
    heart.register(late.name, late.kind, 1)
    run = start("machine", plan="stuck")
    with beside(run, late):
        assert late.claimed.wait(patience.SECONDS)
        control = engaged()
        late.beat()
        assert not ControlReceipt.objects.filter(control=control).exists()
        late.fly_now.set()
        assert ENTERED.wait(patience.SECONDS)
        late.beat()
        assert not ControlReceipt.objects.filter(control=control).exists()
    late.beat()
    assert ControlReceipt.objects.filter(control=control).exists()


def test_a_worker_confirms_although_it_looks_at_runs_that_came_later(worker: Runtime) -> None:
    control = engaged()
    with worker.looking():  # whoever began before the control was heard of may have claimed before it
        worker.beat()
        assert not ControlReceipt.objects.filter(control=control).exists()
    with worker.looking():
        worker.beat()
        assert ControlReceipt.objects.filter(control=control).exists()


def test_a_step_that_never_ends_loses_its_lease_when_the_run_has_no_time_left(
    worker: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start("machine", plan="stuck")
    Run.objects.filter(pk=run.pk).update(deadline_at=Now() + timedelta(seconds=600))

    def extended(*, seconds_later: float) -> bool:
        monkeypatch.setattr("runs.engine.worker.runtime.OVERDUE_SECONDS", -seconds_later)
        before = Run.objects.get(pk=run.pk).lease_until
        worker.beat()
        return Run.objects.get(pk=run.pk).lease_until != before

    with beside(run, worker):
        assert ENTERED.wait(patience.SECONDS)
        assert extended(seconds_later=500)
        assert not extended(seconds_later=700)
        Run.objects.filter(pk=run.pk).update(deadline_at=Now(), lease_until=Now(), due_at=Now())
        other = Runtime("somebody-else", "agents")
        advance(run.pk, other)
        assert Run.objects.get(pk=run.pk).state == "failed"
    run = Run.objects.get(pk=run.pk)
    assert (run.state, run.output) == ("failed", None)


def test_what_is_left_of_the_deadline_grows_less_from_turn_to_turn(runtime: Runtime) -> None:
    left: list[float] = []

    def slowly(request: ModelRequest) -> ModelReply:
        left.append(request.seconds_left)
        time.sleep(0.2)
        if len(left) > 1:
            return says(request, {"amount": 1})
        return calls(request, "bank.transfer", {"amount": 1})

    rogues.BEHAVES["this"] = slowly
    run = start("rogue", plan="this")
    Run.objects.filter(pk=run.pk).update(deadline_at=Now() + timedelta(seconds=60))
    assert advanced(run, runtime).state == "done"
    assert left[1] <= left[0] - 0.2


def test_a_lost_database_line_asks_nobody_and_the_step_is_done_again(runtime: Runtime) -> None:
    run = start("machine", plan="line lost once")
    advance(run.pk, runtime)
    run = Run.objects.get(pk=run.pk)
    assert (run.state, Question.objects.filter(run=run).exists()) == ("running", False)
    Run.objects.filter(pk=run.pk).update(lease_until=Now(), due_at=Now())
    assert advanced(run, runtime).state == "done"


def test_a_step_that_loses_the_line_every_time_comes_to_a_person(runtime: Runtime) -> None:
    run = start("machine", plan="line lost")
    for _ in range(6):
        advance(run.pk, runtime)
        Run.objects.filter(pk=run.pk, state="running").update(lease_until=Now(), due_at=Now())
    assert Run.objects.get(pk=run.pk).state == "waiting"


def test_a_line_lost_while_the_gate_is_held_leaves_one_effect_and_its_outcome(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pay_and_lose(payment: flows.Payment, gate: EffectGate) -> dict[str, Any]:
        def send(_: float) -> None:
            pid = connection.connection.info.backend_pid
            other = connections.create_connection("default")
            with other.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
            other.close()
            flows.CASHBOX.paid.append((gate.key, payment.amount))

        gate.hand_over(send)
        return {"paid": payment.amount}

    monkeypatch.setattr(flows, "_pay", pay_and_lose)
    registry.register(flows.paying("paying_line"))
    run = advanced(start("paying_line", amount=5), runtime)
    assert len(flows.CASHBOX.paid) == 1
    assert run.state == "done"
    assert Call.objects.get(run=run, kind="tool").state == "done"


def passed(run: Run) -> Question:
    question = question_of(run)
    Question.objects.filter(pk=question.pk).update(expires_at=Now() - timedelta(seconds=5))
    return question


def test_one_question_that_cannot_expire_keeps_no_other_from_expiring(runtime: Runtime) -> None:
    broken = advanced(start("writing", plan="broken"), runtime)
    whole = advanced(start("writing", plan="broken"), runtime)
    first, second = passed(broken), passed(whole)
    Run.objects.filter(pk=broken.pk).update(state="done")  # nothing can follow from this
    sweep.expire_questions()
    assert Question.objects.get(pk=first.pk).state == "open"
    assert Question.objects.get(pk=second.pk).state == "expired"


def test_the_sweep_goes_on_to_due_runs_whatever_one_of_its_parts_meets(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(tasks.advance_run, "apply_async", lambda args, **_: seen.append(args[0]))

    def fails() -> int:
        raise RuntimeError("this part is broken")

    for part in ("expire_questions", "mark_controls", "lift_pauses"):
        monkeypatch.setattr(sweep, part, fails)
    run = start("machine")
    Run.objects.filter(pk=run.pk).update(due_at=Now() - timedelta(seconds=60))
    tasks.sweep_runs()
    assert seen == [run.pk]


def test_a_deadline_does_not_deny_while_a_stop_is_engaged_that_has_not_marked_the_run(
    runtime: Runtime,
) -> None:
    run = advanced(start("writing", plan="broken"), runtime)
    question = passed(run)
    engaged()
    assert not answers.expire(question.pk)
    assert Question.objects.get(pk=question.pk).state == "open"


def test_a_run_that_cannot_be_claimed_asks_a_person_instead_of_failing_for_ever(runtime: Runtime) -> None:
    run = advanced(start("writing", plan="broken"), runtime)
    with transaction.atomic():
        question = answers.lock(question_of(run).pk)
        wrong = {**question.action, "value": {"text": 1}}
        answers.answer(question, verb="approve", answer=wrong, by="Marta")
    run = advanced(run, runtime)
    assert run.state == "waiting"
    with transaction.atomic():
        answers.answer(answers.lock(question_of(run).pk), verb="reject", text="no use", by="Marta")
    run = advanced(run, runtime)
    assert (run.state, run.ending) == ("ended", "no use")


def test_a_hint_at_a_run_that_does_not_exist_is_nothing(runtime: Runtime) -> None:
    for number in (0, -1, 10**9, 2**62, 2**70):
        assert advance(number, runtime).why == "taken"


def test_events_say_why_an_attempt_was_given_up(runtime: Runtime) -> None:
    run = start("machine", plan="line lost once")
    advance(run.pk, runtime)
    voided = Event.objects.get(run=run, kind="voided")
    assert "another worker" not in voided.data["why"]
