"""What remains of a run's deadline bounds what it does: tools send nothing after it, looks and children are left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from runs.agents.door import ToolCall
from runs.engine.advance import advance
from runs.engine.claim import claim
from runs.engine.claimed import Claimed
from runs.engine.outcomes import Cut, Refused
from runs.engine.perform import perform
from runs.engine.spend import permits
from runs.engine.spend.wanted import Wanted
from runs.engine.tools import calling, gateway
from runs.models import Account, Call, Chunk, Question, Run
from tests import factories, patience
from tests.latency import flows
from tests.limits import setting
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


def ended(run: Run) -> Run:
    """The run when it is over."""

    def over() -> bool:
        advance(run.pk, factories.runtime())
        return Run.objects.get(pk=run.pk).final

    patience.until(over)
    return Run.objects.get(pk=run.pk)


def test_an_effect_that_was_prepared_for_too_long_is_not_sent() -> None:
    run = ended(start(flows.SLOW_TOOL.name, amount=5))
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


def test_a_model_is_not_asked_when_nothing_is_left_and_nothing_is_reserved_for_it() -> None:
    """Its caps are open: what was reserved would be seen in them."""
    admin = factories.person("ines", "admin")
    for what in ("cost/day", "tokens/minute", "turns/run"):
        setting.made(admin, what=what, scope_kind="organisation", scope="", value="9000")
    assert factories.advanced(factories.started("writing", text="a")).state == "done"
    before = list(Account.objects.order_by("pk").values("pk", "spent", "reserved"))
    calls = Call.objects.count()
    claimed = only(claim(start("writing", text="b").pk, worker=factories.runtime().name))
    late = replace(claimed, seconds_left=0.0)
    with factories.runtime().fly(claimed.run.pk, claimed.run.workflow, claimed.fence) as flight:
        outcome = perform(late, flight)
    assert outcome == Cut(why=gateway.OVER)
    assert Call.objects.count() == calls
    assert list(Account.objects.order_by("pk").values("pk", "spent", "reserved")) == before
    assert not Chunk.objects.filter(run=claimed.run).exists()


def test_a_model_call_whose_permit_took_what_was_left_is_not_sent_and_reserves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setting.made(
        factories.person("ines", "admin"), what="cost/day", scope_kind="organisation", scope="", value="900"
    )
    claimed = only(claim(start("writing", text="b").pk, worker=factories.runtime().name))
    short = replace(claimed, seconds_left=60.0)
    allowed = permits.permit

    def slow(one: Claimed, wanted: Wanted) -> Call:
        call = allowed(one, wanted)
        object.__setattr__(short, "seconds_left", 0.0)
        return call

    monkeypatch.setattr(permits, "permit", slow)
    with factories.runtime().fly(claimed.run.pk, claimed.run.workflow, claimed.fence) as flight:
        assert perform(short, flight) == Cut(why=gateway.OVER)
    call = Call.objects.get(run=claimed.run)
    assert (call.state, call.error, call.response, call.reserved) == ("refused", gateway.OVER, None, None)
    assert sum(Chunk.objects.values_list("spent", flat=True)) == 0
    assert sum(Account.objects.values_list("spent", flat=True)) == 0


def test_a_run_whose_time_ends_between_two_calls_asks_the_model_no_more() -> None:
    run = ended(start(flows.SLOW_READ.name, amount=5))
    assert (run.state, run.ending) == ("failed", PASSED)
    assert list(Call.objects.filter(run=run).values_list("kind", "state")) == [
        ("model", "done"),
        ("tool", "done"),
    ]
    assert run.events.filter(kind="cut", data__why=gateway.OVER).exists()


def test_a_look_that_never_answers_is_left_when_the_time_is_over() -> None:
    CASHBOX.break_after_send = 1
    run = ended(start(flows.SLOW_LOOK.name, amount=5))
    assert flows.ASKED_TO_LOOK.is_set()
    assert (run.state, run.ending) == ("failed", PASSED)
    look = Call.objects.get(run=run, kind="look")
    assert look.state == "failed"
    assert "it did not answer within" in look.error
    assert Call.objects.get(run=run, kind="tool").state == "unknown"
    assert len(CASHBOX.paid) == 1


def test_a_child_is_killed_when_the_time_is_over() -> None:
    run = ended(start(flows.SLOW_CHILD.name, text="a"))
    assert (run.state, run.ending) == ("failed", PASSED)
