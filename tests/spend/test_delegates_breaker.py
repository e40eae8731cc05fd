from __future__ import annotations

import pytest

from runs import registry
from runs.agents import simulated
from runs.agents.simulated import calls
from runs.definitions import Delegate, ErrorPolicy, Fallback, Node
from runs.engine.worker.runtime import Runtime
from runs.models import Breaker, Wait
from tests.flows import making
from tests.kit import flows
from tests.runs.conftest import start
from tests.spend.outages import asked, woken
from tests.spend.test_outages import SPARES, held

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_open_breaker_of_somebody_who_is_asked_costs_the_asker_no_fallback(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = simulated._rules
    monkeypatch.setitem(rules, "kit_asker", lambda request: calls(request, "ask_adviser", {"text": "may I?"}))
    adviser = flows.agent("kit_adviser")
    asker = flows.agent(
        "kit_asker",
        delegates=(Delegate(name="ask_adviser", agent=adviser, takes=flows.Question, gives=flows.Advice),),
    )
    node = Node(
        name="ask",
        work=asker,
        takes=flows.Proposal,
        gives=flows.Advice,
        errors=ErrorPolicy(recoverable=Fallback(models=SPARES)),
    )
    workflow = registry.register(making.pipeline("asks_adviser", node))
    held(adviser.model)
    try:
        run = start("asks_adviser", amount=1, reason="x")
        run = woken(run, runtime)
        run = woken(run, runtime)
        assert (run.state, run.retries, asked(run)) == ("sleeping", 0, [asker.model])
        assert Wait.objects.get(run=run).breaker_id == Breaker.objects.get(name=adviser.model).pk
    finally:
        registry.forget(workflow)
