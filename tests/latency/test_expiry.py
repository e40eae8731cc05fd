"""The text on a card about its deadline is what happens at it: of every kind of question, whatever its run has left.

Each sentence has one meaning here; a text with a sentence that has none fails.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from escalations.expiry import deadline
from escalations.models import Escalation
from runs.engine import bounds, sweep
from runs.engine import holds as held
from runs.engine.spend import budgets
from runs.models import Account, Breaker, Call, Hold, Question, Run, RunState, StepState, TopUp
from tests import factories
from tests.deploys import flows as deploys
from tests.faults import counts
from tests.latency import flows
from tests.limits import setting
from tests.runs.flows import CASHBOX
from tests.screens import patterns
from tests.verify import flows as verify

pytestmark = pytest.mark.django_db(transaction=True)
MINUTE = 60
DAY = 24 * 3600


def a_task() -> Escalation:
    """A task of a plan that asks; the others are done."""
    return factories.escalation_of(factories.advanced(factories.started(patterns.FAN_ASKS.name, ask=(1,))))


def a_cap() -> Escalation:
    """A run that may not make another turn."""
    admin = factories.person(f"ines-{uuid.uuid4().hex}", "admin")
    run = factories.started("paying", amount=50)
    setting.made(admin, scope_kind="run", scope=str(run.pk), value="1")
    return factories.escalation_of(factories.advanced(run))


def undecided() -> Escalation:
    """Nobody can say what comes next of the run."""
    return factories.escalation_of(factories.advanced(factories.started(flows.UNDECIDED.name)))


MADE: dict[str, Callable[[], Escalation]] = {
    "approval": factories.approval,
    "unknown": factories.unknown_effect,
    "contract": factories.broken_contract,
    "error": factories.unforeseen_error,
    "error of a task": a_task,
    "claims": verify.doubted,
    "limit": a_cap,
    "missing": deploys.without_its_version,
    "error of the run itself": undecided,
}


class Outcome:
    """What has become of a question, its run and its effects."""

    def __init__(self, escalation: Escalation, paid: int) -> None:
        self.run = Run.objects.get(pk=escalation.run_id)
        self.question = Question.objects.select_related("step", "run").get(pk=escalation.question_id)
        self.step = self.question.step
        self.paid_more = len(CASHBOX.paid) - paid
        self.calls = Call.objects.filter(run=self.run, key=self.question.call_key or "-").order_by("-send")

    @property
    def over_by_deadline(self) -> bool:
        return (self.run.state, self.run.ending) == (RunState.FAILED, "The run's deadline has passed.")

    def told_the_agent(self) -> bool:
        return "expired: nobody answered in time" in str(
            [call.response.content for call in Call.objects.filter(run=self.run) if call.response]
        )

    def ended_at(self, node: str) -> bool:
        assert self.step is not None
        return (self.step.node, self.step.state) == (node, StepState.ENDED)


MEANS: dict[str, Callable[[Outcome, re.Match[str]], bool]] = {
    r"nothing (is|was) sent": lambda now, _: now.paid_more == 0,
    r"the agent (is|was) told (“expired: nobody answered in time”|that nobody answered in time)": (
        lambda now, _: now.told_the_agent()
    ),
    r"the run goes on": lambda now, _: now.run.state == RunState.DONE,
    r"it (is|was) not repeated": lambda now, _: now.paid_more == 0 and now.calls.count() <= 2,
    r"whether it happened (stays unknown|is still not known)": (
        lambda now, _: not now.calls.filter(state="done").exists()
    ),
    r"the agent is told so": lambda now, _: now.told_the_agent(),
    r"the broken value (is|was) not handed on": lambda now, _: (
        now.step is not None and now.step.output_id is None
    ),
    r"the claims (are|were) not handed on": lambda now, _: (
        now.step is not None and now.step.output_id is None
    ),
    r"none of them": lambda now, _: "write" not in now.run.steps.values_list("node", flat=True),
    r"the run (ends|ended) at (?P<node>\w+)": (
        lambda now, said: now.run.state == RunState.ENDED and now.ended_at(said["node"])
    ),
    r"the run (ends|ended)": lambda now, _: now.run.state == RunState.ENDED,
    r"this task (ends|ended) at (?P<node>\w+)": lambda now, said: now.ended_at(said["node"]),
    r"the others (go|went) on where the join allows it": lambda now, _: now.run.state == RunState.DONE,
    r"the run (fails|failed)": lambda now, _: now.over_by_deadline,
    r"its own deadline is (?P<at>[\w :]+ UTC)": lambda now, _: now.run.final,
    r"because its own deadline had passed": lambda now, _: now.over_by_deadline,
    r"no answer after that lets it go on": lambda now, _: now.run.final,
    r"with room before then, it goes on by itself": lambda now, _: now.run.final,  # there was none; see below
}


def holds(text: str, now: Outcome) -> None:
    """Every part of the text is known here, and true."""
    for part in re.split(r"; |, and |: (?=its own)| and (?=the run)|\. ?|, (?=none|because)", text):
        part = part.strip()
        if not part:
            continue
        found = [(said, means) for words, means in MEANS.items() if (said := re.fullmatch(words, part, re.I))]
        assert found, f"nobody knows what {part!r} means, of {text!r}"
        said, means = found[0]
        assert means(now, said), (
            f"{part!r} is not what happened, of {text!r}: {now.run.state} {now.run.ending}"
        )


def passes(escalation: Escalation, gap: timedelta) -> None:
    """Nobody answers, and the question's time is over; its run has `gap` more, or less."""
    at = timezone.now() - timedelta(seconds=1)
    Question.objects.filter(pk=escalation.question_id).update(expires_at=at)
    Run.objects.filter(pk=escalation.run_id).update(deadline_at=at + gap)
    sweep.expire_questions()
    factories.advanced(escalation.run)


@pytest.mark.parametrize("kind", MADE)
@settings(max_examples=counts.of(fast=2, soak=20), deadline=None, suppress_health_check=list(HealthCheck))
@example(gap=0)
@example(gap=DAY)
@given(gap=st.integers(-DAY, 0) | st.integers(MINUTE, DAY))
def test_what_the_card_says_of_its_deadline_is_what_happens(kind: str, gap: int) -> None:
    for kept, name in (("agent", "writer"), ("model", "simulated/writer"), ("tool", "cashbox.pay")):
        # Examples fail in a row.
        Breaker.objects.update_or_create(kind=kept, name=name, defaults={"forced": "closed"})
    escalation = MADE[kind]()
    paid, left = len(CASHBOX.paid), timedelta(seconds=gap)
    question = Question.objects.select_related("run", "step").get(pk=escalation.question_id)
    question.run.deadline_at = question.expires_at + left
    promised = deadline(question)
    gone: AbstractContextManager[None] = (
        deploys.installed(deploys.TWO) if kind == "missing" else nullcontext()
    )
    with gone:
        passes(escalation, left)
    now = Outcome(escalation, paid)
    holds(promised, now)
    holds(deadline(now.question, Escalation.objects.get(pk=escalation.pk).state), now)


def test_a_run_at_a_cap_goes_on_by_itself_with_room_before_its_deadline() -> None:
    escalation = a_cap()
    question = Question.objects.select_related("run", "step").get(pk=escalation.question_id)
    assert "With room before then, it goes on by itself." in deadline(question)
    account = Account.objects.get(run_id=escalation.run_id, kind="turns")
    TopUp.objects.create(account=account, amount=5, made_by="Ines", reason="once more")
    assert budgets.reconsider() == 1
    assert factories.advanced(escalation.run).state == RunState.DONE


def test_a_run_with_little_left_says_how_little() -> None:
    question = Question.objects.select_related("run", "step").get(pk=factories.approval().question_id)
    question.run.deadline_at = question.expires_at + timedelta(seconds=14)
    assert deadline(question).endswith("the run goes on, with 14 s left before its own deadline.")


def time_passes(run: Run) -> None:
    """As long as it takes until the run's one question is too old, for all that the run's clock says; then a sweep."""
    question = Question.objects.get(run=run, state="open")
    away = question.expires_at - timezone.now() + timedelta(milliseconds=1)
    Question.objects.filter(run=run).update(expires_at=F("expires_at") - away)
    Run.objects.filter(pk=run.pk).update(
        deadline_at=F("deadline_at") - away, created_at=F("created_at") - away
    )
    assert sweep.expire_questions() == 1
    factories.advanced(run)


@pytest.mark.parametrize("kind", ["approval", "contract", "error", "error of a task", "claims", "unknown"])
def test_no_question_outlasts_the_time_that_people_give_its_run_and_the_run_ends_with_it(kind: str) -> None:
    admin = factories.person(f"ines-{uuid.uuid4().hex}", "admin")
    setting.made(admin, what="wall_time/run", scope_kind="organisation", scope="", value="2 min")
    escalation = MADE[kind]()
    question = Question.objects.select_related("run", "step").get(pk=escalation.question_id)
    assert question.expires_at == bounds.ends_by(question.run, timezone.now())
    assert question.expires_at < question.run.deadline_at
    promised, paid = deadline(question), len(CASHBOX.paid)
    time_passes(escalation.run)
    now = Outcome(escalation, paid)
    assert now.run.final
    assert "goes on" not in promised
    assert now.run.finished_at is not None
    assert now.run.ending.startswith("The run's time is up: ")


def test_a_run_that_waits_only_for_people_ends_at_its_own_deadline_by_a_sweep_alone() -> None:
    run = factories.started("paying", amount=500)
    Run.objects.filter(pk=run.pk).update(deadline_at=timezone.now() + timedelta(minutes=2))
    escalation = factories.escalation_of(factories.advanced(run))
    question = Question.objects.select_related("run", "step").get(pk=escalation.question_id)
    assert question.expires_at == question.run.deadline_at
    promised, paid = deadline(question), len(CASHBOX.paid)
    assert promised.startswith("Nothing is sent; the run fails: its own deadline is ")
    time_passes(run)
    now = Outcome(escalation, paid)
    assert now.over_by_deadline
    holds(promised, now)


def test_a_hold_moves_a_question_and_its_run_alike() -> None:
    run = factories.started("paying", amount=500)
    Run.objects.filter(pk=run.pk).update(deadline_at=timezone.now() + timedelta(minutes=2))
    run = factories.advanced(run)
    run.questions.update(asked_at=timezone.now() - timedelta(minutes=6))
    run.hold, run.held_since = Hold.PAUSE, timezone.now() - timedelta(minutes=5)
    held.lift(run)
    question = Question.objects.select_related("run").get(run=run)
    assert question.expires_at == question.run.deadline_at > timezone.now() + timedelta(minutes=6)
