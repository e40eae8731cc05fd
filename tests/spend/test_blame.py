"""Whose fault it was: what a tool could not do now is no fault of the agent that asked for it."""

from __future__ import annotations

from collections import Counter

import pytest
from pytest_django import Settings

from runs import registry
from runs.agents import simulated
from runs.agents.door import ModelReply, ModelRequest
from runs.agents.simulated import calls, says
from runs.definitions import Delegate, Node
from runs.engine.worker.runtime import Runtime
from runs.models import Breaker, Call
from tests.flows import making
from tests.kit import flows as kit
from tests.runs import flows
from tests.runs.conftest import advanced, start

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def worded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """An agent that words its payment anew whenever it is asked, as a model does; how often it was asked."""
    asked: Counter[str] = Counter()

    def pay(request: ModelRequest) -> ModelReply:
        if request.messages[-1].role == "tool":
            return flows.pay(request)
        asked["payer"] += 1
        return calls(request, "cashbox.pay", {"amount": 9, "note": f"wording {asked['payer']}"})

    monkeypatch.setitem(simulated._rules, "payer", pay)
    return asked


def test_a_tool_that_may_be_repeated_is_sent_again_as_it_was_worded_first(
    runtime: Runtime, worded: Counter[str]
) -> None:
    flows.CASHBOX.break_after_send = 1
    run = advanced(start("paying_repeatable", amount=9), runtime)
    assert run.state == "done"
    assert len(flows.CASHBOX.paid) == 2
    assert len({key for key, _ in flows.CASHBOX.paid}) == 1  # whoever is paid can tell that it is the same
    assert worded["payer"] == 1


def test_what_a_tool_could_not_do_now_is_not_counted_against_its_agent(
    runtime: Runtime, settings: Settings, worded: Counter[str]
) -> None:
    settings.RUNS_BREAKERS = {**settings.RUNS_BREAKERS, "consecutive": 3}
    flows.CASHBOX.lose = True
    run = advanced(start("paying_found", amount=9), runtime, times=4)
    assert Call.objects.filter(run=run, kind="tool", state="failed").count() == 3
    assert list(Breaker.objects.values_list("kind", "name")) == [("tool", "cashbox.pay")]
    assert worded["payer"] == 1


def test_what_somebody_answers_badly_who_is_asked_counts_against_him_and_not_the_asker(
    runtime: Runtime, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RUNS_BREAKERS = {**settings.RUNS_BREAKERS, "consecutive": 1}
    monkeypatch.setitem(
        simulated._rules, "blame_asker", lambda request: calls(request, "ask_adviser", {"text": "may I?"})
    )
    monkeypatch.setitem(simulated._rules, "blame_adviser", lambda request: says(request, {"advice": 5}))
    adviser = kit.agent("blame_adviser")
    asks = Delegate(name="ask_adviser", agent=adviser, takes=kit.Question, gives=kit.Advice)
    node = Node(
        name="ask", work=kit.agent("blame_asker", delegates=(asks,)), takes=kit.Proposal, gives=kit.Advice
    )
    workflow = registry.register(making.pipeline("blames_adviser", node))
    try:
        advanced(start("blames_adviser", amount=1, reason="x"), runtime, times=1)
    finally:
        registry.forget(workflow)
    assert list(Breaker.objects.values_list("kind", "name")) == [("agent", "blame_adviser")]
