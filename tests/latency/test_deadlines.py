"""What remains of a run's deadline bounds what it does: tools send nothing after it, looks and children are left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from runs.agents.door import ToolCall
from runs.engine.advance import advance
from runs.engine.claim import claim
from runs.engine.outcomes import Refused
from runs.engine.tools import calling, gateway
from runs.models import Call, Question, Run
from tests import factories
from tests.latency import flows
from tests.runs.conftest import only, start
from tests.runs.flows import CASHBOX, tool

pytestmark = pytest.mark.django_db(transaction=True)
PASSED = "The run's deadline has passed."


@pytest.fixture(autouse=True)
def _let_go() -> Iterator[None]:
    flows.ENDLESS.clear()
    flows.ASKED_TO_LOOK.clear()
    yield
    flows.ENDLESS.set()


def ended(run: Run, within: float) -> Run:
    """The run when it is over; it must be, so many seconds from now."""
    until = time.monotonic() + within
    while True:
        advance(run.pk, factories.runtime())
        found = Run.objects.get(pk=run.pk)
        if found.final or time.monotonic() > until:
            return found
        time.sleep(0.05)


def test_an_effect_that_was_prepared_for_too_long_is_not_sent() -> None:
    run = ended(start(flows.SLOW_TOOL.name, amount=5), within=8)
    assert (run.state, run.ending) == ("failed", PASSED)
    assert CASHBOX.paid == []
    call = Call.objects.get(run=run, kind="tool")
    assert (call.state, call.error) == ("refused", gateway.OVER)
    assert run.events.filter(kind="cut", data__why=gateway.OVER).exists()


def test_a_tool_is_not_called_when_nothing_is_left_and_nobody_is_asked_for_it() -> None:
    claimed = only(claim(start("paying", amount=500).pk, worker="w"))
    late = replace(claimed, seconds_left=0.0)
    asked = ToolCall(id="1", name="cashbox.pay", arguments={"amount": 500})
    with pytest.raises(Refused, match="deadline has passed"):
        calling.call(late, tool(), asked, None, "", Counter())
    assert not Call.objects.exists()
    assert not Question.objects.exists()


def test_a_look_that_never_answers_is_left_when_the_time_is_over() -> None:
    CASHBOX.break_after_send = 1
    run = ended(start(flows.SLOW_LOOK.name, amount=5), within=8)
    assert flows.ASKED_TO_LOOK.is_set()
    assert (run.state, run.ending) == ("failed", PASSED)
    look = Call.objects.get(run=run, kind="look")
    assert look.state == "failed"
    assert "it did not answer within" in look.error
    assert Call.objects.get(run=run, kind="tool").state == "unknown"
    assert len(CASHBOX.paid) == 1


def test_a_child_is_killed_when_the_time_is_over() -> None:
    run = ended(start(flows.SLOW_CHILD.name, text="a"), within=15)
    assert (run.state, run.ending) == ("failed", PASSED)
    assert run.finished_at is not None
    assert (run.finished_at - run.deadline_at).total_seconds() < 2.5
