"""`manage.py rehearse policy`, `when-full` and `breaker` over what the engine recorded, and over traces of files."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from opsconsole.management import policies
from runs import registry
from runs.agents import prices
from runs.agents.misbehaviour import Misbehaviour, misbehaving
from runs.definitions import Ask, Fallback, Retry
from runs.engine import breakers
from runs.engine.worker.runtime import Runtime
from runs.limits.kinds import LimitKind
from runs.models import Call, Limit, Run
from tests import factories
from tests.guards.flows import WORLD
from tests.recorded import traces
from tests.runs.conftest import start
from tests.spend import outages

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _quick(settings: Settings) -> Iterator[None]:
    settings.SIMULATED_SECONDS = 0.0
    yield
    WORLD.clear()


def told(*words: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    out = StringIO()
    call_command("rehearse", *words, "--json", stdout=out, stderr=StringIO())
    *found, last = [json.loads(line) for line in out.getvalue().splitlines()]
    return found, last["totals"]


def written(plan: str) -> Run:
    return factories.advanced(factories.started("writing", plan=plan, text=uuid.uuid4().hex))


def test_a_policy_is_tried_on_every_failure_that_its_step_had() -> None:
    once, down = written("provider down once"), written("provider down")
    assert (once.state, down.state) == ("done", "waiting")
    factories.advanced(factories.started("plain"))
    found, totals = told("policy", "writing", "write")
    assert (found, totals["runs"], totals["beside"]) == ([], 2, 1), "as installed nothing differs"
    found, totals = told("policy", "writing", "write", "--recoverable", "ask")
    assert [(one["number"], one["saved"]["calls"], one["success_lost"]) for one in found] == [
        (once.pk, 1, True),
        (down.pk, 2, None),
    ]
    assert [one["extra_escalations"] for one in found] == [1, 0], "one comes earlier, not in addition"
    saved = Call.objects.filter(run=once).order_by("-pk")[0]
    assert totals["saved"]["cost_micros"] == saved.cost_micros
    assert (totals["asked"], totals["successes_lost"], totals["extra_escalations"]) == (2, 1, 1)
    found, totals = told("policy", "writing", "write", "--recoverable", "retry 3, ask")
    assert [(one["number"], one["extra_escalations"]) for one in found] == [(down.pk, -1)]
    assert totals["not_told"][0]["why"].startswith("What it would have come to")


def test_an_output_that_broke_its_contract_follows_the_chain_of_data_errors() -> None:
    run = written("broken once")
    assert run.state == "done"
    assert told("policy", "writing", "write", "--data", "repair 1, ask")[0] == []
    (one,) = told("policy", "writing", "write", "--data", "end")[0]
    assert (one["number"], one["ended"]["step"], one["success_lost"]) == (run.pk, 1, True)


def test_a_persons_limit_of_retries_counts_as_it_held() -> None:
    _limit(LimitKind.RETRIES, 1, window="run")
    down = written("provider down")
    assert down.retries == 1
    assert told("policy", "writing", "write", "--recoverable", "retry 9, ask")[0] == []


def test_what_no_policy_decided_is_no_departure_as_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fallback because a breaker is open, a wait beyond the deadline, a model without a price."""
    breakers.force("model", outages.FIRST, "open", by="Ines", why="provider down")
    policy = Retry(times=2, then=Fallback(models=("simulated/spare-1",), then=Ask()))
    with outages.writing(policy) as name:
        runtime = Runtime("test-worker", "agents")
        run = start(name, text="a")
        outages.woken(run, runtime)
        run = outages.woken(run, runtime)
        assert (run.state, outages.asked(run), run.retries) == ("done", ["simulated/spare-1"], 1)
        _nothing_differs(name)
    with outages.writing(Retry(times=2), deadline_seconds=30.0) as name:
        late = factories.advanced(start(name, text="b"))
        assert (late.state, outages.asked(late)) == ("waiting", [])
        _nothing_differs(name)
    breakers.force("model", outages.FIRST, "", by="Ines", why="back")
    monkeypatch.setattr(prices, "PRICES", {})
    assert written("unpriced").state == "waiting"
    _nothing_differs("writing")
    found, _ = told("policy", "writing", "write", "--data", "end")
    assert found == [], "only a person can mend it"


def _nothing_differs(workflow: str) -> None:
    found, totals = told("policy", workflow, "write")
    assert (found, totals["runs"] > 0) == ([], True)


def test_a_fallback_that_no_policy_decided_is_one_of_the_tries_all_the_same() -> None:
    breakers.force("model", outages.FIRST, "open", by="Ines", why="provider down")
    spares = ("simulated/spare-1", "simulated/spare-2")
    with (
        outages.writing(Fallback(models=spares, then=Ask())) as name,
        misbehaving({spares[0]: Misbehaviour.UNAVAILABLE}),
    ):
        runtime = Runtime("test-worker", "agents")
        run = start(name, text="a")
        for _ in range(3):
            last = outages.woken(run, runtime)
        assert (last.state, outages.asked(run)) == ("done", [*spares])
        _nothing_differs(name)
        (one,) = told("policy", name, "write", "--recoverable", "ask")[0]
        assert one["number"] == run.pk


def test_a_run_that_begins_while_others_are_looked_at_has_its_own_budget_of_retries() -> None:
    at = datetime.now(UTC)
    span = policies.Span(since=at - timedelta(days=1), until=at + timedelta(hours=1))
    budget = policies._budgets("writing", span)
    run, installed = written("broken once"), registry.newest("writing")
    assert installed is not None
    assert budget(run.pk) == installed.retry_budget


def test_asking_where_it_was_compacted_and_the_other_way_round() -> None:
    _limit(LimitKind.CONTEXT_TOKENS, 1500)
    WORLD.shelf = lambda name, number: {"text": f"{name} " * 300}
    WORLD.script = lambda number: (
        ("shelf.look", {"name": f"book {WORLD.asked}"})
        if WORLD.asked < 7
        else ("post.send", {"to": "anna@friends.example"})
        if not WORLD.sent
        else None
    )
    WORLD.letter = "Please write back."
    run = factories.advanced(start("watched_compacting"))
    assert run.state == "done"
    made = Call.objects.filter(run=run, kind="model").latest("pk").name
    compaction = Call.objects.filter(run=run, name="compact by compact").earliest("pk")
    rest = Call.objects.filter(run=run, pk__gte=compaction.pk, kind__in=("model", "tool"))
    assert told("when-full", made, "compact")[0] == []
    (one,) = told("when-full", made, "ask")[0]
    assert (one["number"], one["success_lost"], one["extra_escalations"]) == (run.pk, True, 1)
    assert one["saved"]["calls"] == rest.count()
    assert one["saved"]["tokens_in"] == sum(call.tokens_in or 0 for call in rest)
    WORLD.clear()
    WORLD.shelf = lambda name, number: {"text": f"{name} " * 300}
    WORLD.script = lambda number: ("shelf.look", {"name": f"book {number}"})
    parked = factories.advanced(start("watched"))
    assert parked.state == "waiting"
    (other,) = told("when-full", made, "compact")[0]
    assert (other["number"], other["extra_escalations"]) == (parked.pk, -1)


def test_thresholds_are_played_over_the_calls_that_were() -> None:
    run = written("provider down")
    third = Call.objects.filter(run=run).order_by("pk")[2]
    found, totals = told("breaker", "model", "--consecutive", "2", "--open-seconds", "60")
    (one,) = found
    assert (one["number"], one["waits"]["calls"], one["waits"]["failed"]) == (run.pk, 1, 1)
    assert one["saved"] == {
        "calls": 1,
        "cost_micros": third.cost_micros or 0,
        "tokens_in": third.tokens_in or 0,
        "tokens_out": third.tokens_out or 0,
    }
    assert (totals["openings"]["now"], totals["openings"]["draft"]) == (0, 1)
    assert totals["openings"]["first"][0]["why"] == "2 failures in a row (limit 2)"
    assert told("breaker", "model", "--consecutive", "3")[0] == [], "nothing came after the third"
    assert told("breaker", "tool", "--consecutive", "2")[1]["openings"]["draft"] == 0


def test_traces_are_taken_instead(tmp_path: Path) -> None:
    down: dict[str, Any] = {"error": "503", "error_kind": "provider"}
    moments = [f"2026-11-02T09:00:{second:02}+00:00" for second in range(0, 40, 5)]
    steps = [
        traces.thought(None, ts=moments[0], latency_s=1, **down),
        traces.thought(None, ts=moments[1], latency_s=1, **down),
        traces.thought("I look.", ts=moments[2], latency_s=1, tokens_in=900),
        traces.called("look", {}, ts=moments[3], latency_s=1),
        traces.thought("Done.", ts=moments[4], latency_s=1, tokens_in=950),
    ]
    line = traces.trace(*steps, run_id="a") | {"outcome": {"success": True}}
    files = ("--traces", str(traces.written(tmp_path, line)), "--outcomes")
    (one,) = told("policy", "any", "clerk", "--recoverable", "retry 1, ask", *files)[0]
    assert (one["asked"]["call"], one["success_lost"]) == (2, True)
    assert one["saved"] == {"calls": 3, "cost_micros": 0, "tokens_in": 1850, "tokens_out": 20}
    (one,) = told("when-full", "clerk", "ask", "--tokens", "920", *files)[0]
    assert (one["asked"]["call"], one["saved"]["tokens_in"]) == (4, 950)
    (one,) = told("when-full", "clerk", "compact", "--tokens", "920", *files)[0]
    assert (one["tried"]["call"], one["extra_escalations"]) == (4, 0)
    assert told("policy", "any", "somebody", *files)[1]["beside"] == 1
    # The second fails at 6 s: open until 16 s, so that the call at 10 s waits 6 s and the look at 15 s is no model's.
    found, totals = told("breaker", "model", "--consecutive", "2", "--open-seconds", "10", *files)
    assert found[0]["waits"] == {"calls": 1, "failed": 0, "ms": 6000, "longest_ms": 6000}
    assert totals["openings"]["draft"] == 1


def test_without_json_it_says_it_in_sentences() -> None:
    written("provider down once")
    out = StringIO()
    call_command("rehearse", "policy", "writing", "write", "--recoverable", "ask", stdout=out)
    said = out.getvalue()
    assert "a person is asked where it was tried again" in said
    assert "writing, write: recoverable ask; data repair 1, ask; reasoning ask." in said
    assert "Successes lost: 1 of 1" in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("policy", "writing"), "Write policy WORKFLOW STEP"),
        (("policy", "nobody", "write"), "There is no workflow 'nobody'"),
        (("policy", "writing", "read"), "writing has no step 'read'; it has write"),
        (("policy", "writing", "write", "--data", "hope"), "is no chain"),
        (("when-full", "writer", "panic"), "Write policy WORKFLOW STEP"),
        (("when-full", "writer", "ask", "--traces", "x.jsonl"), "give --tokens N"),
        (("breaker", "planet:mars"), "has no breaker"),
        (("breaker", "model", "--consecutive", "0"), "above 0"),
        (("breaker", "model", "--mode", "warn"), "are for limits"),
        (
            ("policy", "any", "clerk", "--traces", "x.jsonl", "--since", "2026-01-01"),
            "Traces have no span: leave --since and --until out.",
        ),
    ],
)
def test_bad_input_gets_one_sentence(words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        told(*words)


def _limit(kind: LimitKind, value: int, window: str = "") -> None:
    Limit.objects.create(
        kind=kind,
        window=window,
        scope_kind="organisation",
        scope="",
        value=value,
        mode="enforce",
        valid_from="2026-01-01T00:00:00Z",
        set_by="Ada",
    )
