"""Every misbehaviour that there is, each with the guard that finds it, the card that a person gets, and how often the
agent has been asked by then: at most as often as its limit says, and once more. One without an entry here fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import transaction
from pytest_django import Settings

from runs import registry
from runs.agents import misbehaviour
from runs.agents.misbehaviour import Misbehaviour, misbehaving
from runs.definitions import Ask, ErrorPolicy, Workflow
from runs.engine import starts
from runs.engine.advance import advance
from runs.engine.worker.runtime import Runtime
from runs.models import Call, Event, Question, Run
from runs.testing import run_workflow
from tests.kit import flows
from tests.spend.conftest import limit
from tests.verify.flows import desk

pytestmark = pytest.mark.django_db(transaction=True)
CLAIM = {"text": "a lamp", "amount": 10}
LATE_SECONDS, LATENCY_MS = 1.0, 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """`guard`: of the run's event, or the class of the error that its contract or policy found. `card`: kind and words.
    `limit`: how often the agent may be asked; `acts`: how often a tool that acts may be called."""

    guard: str
    card: tuple[str, str]
    limit: int
    acts: int = 0
    who: str = "kit_proposer"
    workflow: Callable[[], Workflow] = flows.paying
    given: Mapping[str, Any] = field(default_factory=lambda: CLAIM)
    limits: Mapping[str, int] = field(default_factory=dict)


_RESEARCH: dict[str, Any] = {"who": "verify_researcher", "workflow": desk, "given": {"name": "bridge"}}
FOUND = {
    Misbehaviour.PING_PONG: Found(guard="loop", card=("error", "pay: "), limit=2, acts=2, who="kit_payer"),
    Misbehaviour.GROWING_CONTEXT: Found(
        guard="context",
        card=("error", "pay: "),
        limit=0,
        acts=1,
        who="kit_payer",
        limits={"context_tokens/": 1200},
    ),
    Misbehaviour.INVENTED_TOOL: Found(
        guard="unknown_tool", card=("error", "pay: "), limit=0, who="kit_payer"
    ),
    Misbehaviour.WRONG_ARGUMENT: Found(
        guard="schema", card=("error", "of the arguments of purse.spend"), limit=1, who="kit_payer"
    ),
    Misbehaviour.BROKEN_OUTPUT: Found(guard="schema", card=("contract", "the output"), limit=1),
    Misbehaviour.PLAUSIBLE_WRONG: Found(
        guard="data",
        card=("contract", "claimed"),
        limit=0,
        workflow=lambda: flows.paying(accept=flows.exactly, errors=ErrorPolicy(data=Ask())),
    ),
    Misbehaviour.AGREED_INVENTION: Found(guard="verify", card=("claims", ""), limit=1, **_RESEARCH),
    Misbehaviour.INVENTED_EVIDENCE: Found(guard="verify", card=("claims", ""), limit=1, **_RESEARCH),
    Misbehaviour.UNAVAILABLE: Found(guard="recoverable", card=("error", "503"), limit=2),
    Misbehaviour.RATE_LIMITED: Found(guard="recoverable", card=("error", "429"), limit=2),
    Misbehaviour.SLOW: Found(
        guard="step_latency",
        card=("error", "propose has taken"),
        limit=0,
        workflow=lambda: flows.paying(errors=ErrorPolicy(recoverable=Ask())),
        limits={"step_latency/": LATENCY_MS},
    ),
    Misbehaviour.NEVER_RETURNS: Found(guard="recoverable", card=("error", "no answer within 120 s"), limit=2),
}


@pytest.fixture(autouse=True)
def _quick(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.SIMULATED_SECONDS = 0.0
    monkeypatch.setattr(misbehaviour, "SLOW_SECONDS", LATE_SECONDS)
    yield
    flows.SPENT.clear()


@pytest.mark.parametrize("kind", Misbehaviour)
def test_each_is_found_by_its_guard_within_its_limit_and_one_more_and_comes_to_its_card(
    kind: Misbehaviour,
) -> None:
    expected = FOUND[kind]  # a new one says here what finds it
    for what, value in expected.limits.items():
        limit(what, value)
    run = _late(expected) if kind is Misbehaviour.SLOW else _tried(kind, expected)
    assert run.state == "waiting"
    events = Event.objects.filter(run=run, kind__in=("guard", "attempt failed")).order_by("seq")
    guards = [one.data.get("guard") or one.data["error_class"] for one in events]
    assert guards[0] == expected.guard
    question = Question.objects.get(run=run)
    assert (question.kind, expected.card[1] in question.title) == (expected.card[0], True), question.title
    calls = Call.objects.filter(run=run)
    assert calls.filter(kind="model", name=expected.who).count() <= expected.limit + 1
    assert calls.filter(kind="tool", state="done").exclude(effect="none").count() <= expected.acts


def _tried(kind: Misbehaviour, found: Found) -> Run:
    trial = run_workflow(found.workflow(), found.given, misbehave={found.who: kind})
    assert trial.spoilt or kind in (
        Misbehaviour.UNAVAILABLE,
        Misbehaviour.RATE_LIMITED,
        Misbehaviour.NEVER_RETURNS,
    )
    return Run.objects.get(pk=trial.run_id)


def _late(found: Found) -> Run:
    """Outside a trial, where a second is a second."""
    workflow = registry.register(found.workflow())
    runtime = Runtime("late", "agents")
    try:
        with misbehaving({found.who: Misbehaviour.SLOW}), transaction.atomic():
            run = starts.start(workflow.name, found.given, start_key="late", by="test").run
        with misbehaving({found.who: Misbehaviour.SLOW}):
            advance(run.pk, runtime)
    finally:
        runtime.stop()
        registry.forget(workflow)
    return Run.objects.get(pk=run.pk)
