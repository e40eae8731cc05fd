"""A used-up cap parks the run with a card; with more room it goes on at the same call as if nothing had happened."""

from __future__ import annotations

import pytest

from runs.engine.spend import budgets
from runs.engine.worker.runtime import Runtime
from runs.models import Account, CallKind, Event, Question, QuestionKind, Run, TopUp
from tests.runs import flows
from tests.runs.conftest import advanced, answered, question_of, start
from tests.spend.conftest import limit

pytestmark = pytest.mark.django_db(transaction=True)


def parked(runtime: Runtime) -> Run:
    """A cap is used up before it is done."""
    run = advanced(start("paying", amount=5), runtime)
    assert run.state == "waiting"
    assert question_of(run).kind == QuestionKind.LIMIT
    return run


def topped_up(run: Run, amount: int) -> None:
    question = question_of(run)
    TopUp.objects.create(account_id=question.action["account"], amount=amount, made_by="Ines", reason="go on")
    answered(run, "top up", answer=question.action)


@pytest.mark.parametrize(
    ("what", "value", "more"), [("turns/run", 1, 1), ("model_calls/run", 1, 5), ("tool_calls/run", 0, 1)]
)
def test_it_parks_and_after_a_top_up_goes_on_from_there(
    runtime: Runtime, what: str, value: int, more: int
) -> None:
    limit(what, value)
    run = parked(runtime)
    asked_before = run.calls.filter(kind=CallKind.MODEL).count()
    topped_up(run, more)
    run = advanced(run, runtime)
    assert run.state == "done"
    assert len(flows.CASHBOX.paid) == 1
    assert asked_before == 1
    assert run.calls.filter(kind=CallKind.MODEL).count() == 2
    assert run.retries == 0


def test_the_card_names_guard_scope_and_figure_and_is_on_the_run(runtime: Runtime) -> None:
    made = limit("turns/run", 1, "workflow:paying")
    question = question_of(parked(runtime))
    assert question.title == "Turns of this run are used up (1 of 1)"
    assert "workflow paying" in question.reason
    assert question.action["limit"] == made.pk
    assert Event.objects.filter(run=question.run, kind="asked").exists()


def test_a_top_up_that_is_too_small_asks_again(runtime: Runtime) -> None:
    limit("cost/run", 1)
    run = parked(runtime)
    topped_up(run, 1)
    run = advanced(run, runtime)
    assert question_of(run).kind == QuestionKind.LIMIT
    assert Question.objects.filter(run=run).count() == 2


def test_rejecting_ends_the_run_and_sends_nothing_more(runtime: Runtime) -> None:
    limit("turns/run", 1)
    run = parked(runtime)
    answered(run, "reject", "too dear")
    run = advanced(run, runtime)
    assert (run.state, run.ending) == ("ended", "too dear")
    assert (
        run.calls.count()
        == 2 - 1 + Event.objects.filter(run=run, kind="call", data__name="cashbox.pay").count()
    )


def test_raising_the_limit_takes_the_card_back_and_the_run_goes_on(runtime: Runtime) -> None:
    made = limit("turns/run", 1)
    run = parked(runtime)
    assert budgets.reconsider() == 0
    made.valid_until, made.ended_at, made.ended_by = made.valid_from, made.valid_from, "Ines"
    made.save()
    assert budgets.reconsider() == 1
    assert question_of_state(run) == "withdrawn"
    assert advanced(run, runtime).state == "done"


def question_of_state(run: Run) -> str:
    return Question.objects.get(run=run).state


def test_a_top_up_of_a_shared_budget_takes_the_cards_of_the_others_back(runtime: Runtime) -> None:
    limit("cost/day", 1)
    runs = [parked(runtime) for _ in range(3)]
    TopUp.objects.create(account=Account.objects.get(), amount=10**9, made_by="Ines", reason="payday")
    assert budgets.reconsider() == 3
    assert {advanced(run, runtime).state for run in runs} == {"done"}


def test_a_limit_of_another_run_stops_nobody_else(runtime: Runtime) -> None:
    limit("turns/run", 1, "run:999999")
    assert advanced(start("paying", amount=5), runtime).state == "done"


def test_observing_stops_nothing_and_says_what_it_would_have_said(runtime: Runtime) -> None:
    limit("turns/run", 1, mode="observe")
    run = advanced(start("paying", amount=5), runtime)
    assert run.state == "done"
    (told,) = Event.objects.filter(run=run, kind="guard").values_list("data", flat=True)
    assert (told["guard"], told["mode"], told["value"], told["cap"]) == ("turns", "observe", 2, 1)
