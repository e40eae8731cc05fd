"""A run that a person has answered goes on by one read and one function: the same rows as at length, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.db.models import F

from runs import bodies
from runs.engine import answers, taken_up
from runs.engine.claim import claim
from runs.engine.worker.runtime import Runtime
from runs.models import Attempt, Event, Question, QuestionState, Run, Step
from runs.models.run import MOVES
from tests import factories
from tests.runs.at_the_gate import heard_by_eight, met_a_stop
from tests.runs.conftest import advanced, only
from tests.runs.test_straight import add_a_step, asked, engaged, rows, set_run

pytestmark = pytest.mark.django_db(transaction=True)


def waiting(make: Callable[[], Any]) -> Question:
    question: Question = make().question
    return question


def answered(question: Question, *, verb: str = "respond", **answer: Any) -> Run:
    with transaction.atomic():
        return answers.answer(answers.lock(question.pk), verb=verb, by="Marta", **answer).run


def approved() -> Run:
    question = waiting(factories.approval)
    return answered(question, verb="approve", answer=question.action)


def told() -> Run:
    return answered(waiting(factories.unforeseen_error), text="try it again")


def mended(name: str, drafts: Any = 3) -> Run:
    """A run whose first step a person has given its output; the judge comes next."""
    question = waiting(
        lambda: factories.escalation_of(
            factories.advanced(factories.started(name, text="2 drafts", drafts=0))
        )
    )
    return answered(question, verb="approve", answer={"value": {"text": "2 drafts", "drafts": drafts}})


GOING_ON: dict[str, Callable[[], Run]] = {
    "an approval": approved,
    "words to a broken contract": lambda: answered(waiting(factories.broken_contract), text="shorter"),
    "an error that is tried again": told,
    "an unknown effect that did happen": lambda: answered(
        waiting(factories.unknown_effect), verb="respond", text="it happened"
    ),
    "a person's own value in a chain": lambda: mended("mended_chain"),
    "a person's own value by rules": lambda: mended("mended_round"),
}


@pytest.mark.parametrize("make", GOING_ON.values(), ids=GOING_ON)
def test_both_ways_leave_the_same_rows(
    make: Callable[[], Run], runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = []
    for long_way in (False, True):
        run = make()
        with monkeypatch.context() as patched:
            if long_way:
                patched.setattr(taken_up, "take_up", lambda *_: None)
            else:
                patched.setattr("runs.engine.claim._claim", None)
            only(claim(run.pk, worker=runtime.name))
        shown = rows(run)
        for *_, data in shown["events"]:  # numbers of other rows, and a reason with a time in it
            for name in ("question", "call", "reason"):
                data.pop(name, None)
        for one in (*shown["run"], *shown["steps"]):
            one.pop("due_at")
        ways.append(shown)
    assert ways[0] == ways[1]


def test_the_claim_has_what_the_long_way_gives(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    short = only(claim(told().pk, worker=runtime.name))
    monkeypatch.setattr(taken_up, "take_up", lambda *_: None)
    long = only(claim(told().pk, worker=runtime.name))
    assert (short.node, short.stand_in, short.fence, short.worker) == (
        long.node,
        long.stand_in,
        long.fence,
        long.worker,
    )
    assert short.attempt.note == long.attempt.note == "try it again"
    assert (short.step.input.content, short.run.input.content) == (
        long.step.input.content,
        long.run.input.content,
    )
    assert abs(short.seconds_left - long.seconds_left) < 60
    for one in (short, long):
        kept = Attempt.objects.get(pk=one.attempt.pk)
        assert (kept.number, kept.agent, kept.fence) == (
            one.attempt.number,
            one.attempt.agent,
            one.attempt.fence,
        )


def test_a_run_that_was_answered_ends_as_it_should(runtime: Runtime) -> None:
    assert advanced(approved(), runtime).state == "done"


def deny(run: Run) -> None:
    Question.objects.filter(run=run).update(verb="reject")


def expire(run: Run) -> None:
    Question.objects.filter(run=run).update(state=QuestionState.EXPIRED)


HINDERED: dict[str, Callable[[Run], Any]] = {
    "everything is stopped": lambda run: engaged("everything", ""),
    "its workflow is stopped": lambda run: engaged("workflow", run.workflow),
    "it is stopped itself": lambda run: engaged("run", str(run.pk)),
    "it is held": set_run(hold="stop"),
    "it is not due yet": set_run(due_at=F("created_at") + timedelta(hours=1)),
    "its deadline has passed": set_run(deadline_at=F("created_at") - timedelta(hours=1)),
    "another step of it is open": add_a_step,
    "it asks about itself": asked,
    "its version is gone": set_run(version=99),
    "it is a recording": set_run(recorded=True),
    "it was denied": deny,
    "nobody answered in time": expire,
    "a person gave the value": lambda run: Question.objects.filter(run=run).update(
        kind="contract", verb="approve"
    ),
    "a stand-in made the attempt": lambda run: Attempt.objects.filter(step__run=run).update(by="agent:other"),
    "its attempt did not ask": lambda run: Attempt.objects.filter(step__run=run).update(state="voided"),
    "its step does not wait": lambda run: run.steps.update(state="sleeping"),
}


@pytest.mark.parametrize("hinder", HINDERED.values(), ids=HINDERED)
def test_going_on_is_not_plain_when(hinder: Callable[[Run], Any]) -> None:
    run = approved()
    hinder(run)
    before = rows(run)
    assert taken_up.take_up(run.pk, "w") is None
    assert rows(run) == before


def test_every_state_but_ready_is_left_to_the_long_way() -> None:
    run = approved()
    for state in set(MOVES) - {"ready"}:
        lease = F("created_at") if state == "running" else None
        Run.objects.filter(pk=run.pk).update(state=state, lease_until=lease, due_at=None)
        assert taken_up.take_up(run.pk, "w") is None


CHANGED_MEANWHILE: dict[str, Callable[[Run], Any]] = {
    "somebody else has it": set_run(fence=F("fence") + 1),
    "its step does not wait any more": lambda run: run.steps.update(state="ended"),
    "its attempt is over": lambda run: Attempt.objects.filter(step__run=run).update(state="voided"),
    "it asks about itself": asked,
    "everything is stopped": lambda run: engaged("everything", ""),
}


def after_the_read(monkeypatch: pytest.MonkeyPatch, change: Callable[[], Any]) -> None:
    """Somebody is quicker than who has read a run that waited."""
    read = taken_up._read

    def then_changed(row: tuple[Any, ...]) -> Any:
        waited = read(row)
        change()
        return waited

    monkeypatch.setattr(taken_up, "_read", then_changed)


@pytest.mark.parametrize("change", CHANGED_MEANWHILE.values(), ids=CHANGED_MEANWHILE)
def test_what_changed_after_the_read_is_seen_by_the_function(
    change: Callable[[Run], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = approved()
    after_the_read(monkeypatch, lambda: change(run))
    assert taken_up.take_up(run.pk, "w") is None
    assert not Event.objects.filter(run=run, kind="went on").exists()
    assert Run.objects.get(pk=run.pk).lease_owner == ""


def test_two_workers_that_hear_of_one_answer_do_not_both_go_on() -> None:
    run = approved()
    assert len(heard_by_eight(run)) == 1
    assert Event.objects.filter(run=run, kind="went on").count() == 1


def test_whoever_waits_at_the_gate_meets_the_stop_that_closed_it() -> None:
    run = approved()
    assert met_a_stop(lambda: taken_up.take_up(run.pk, "w")) is None
    assert Step.objects.get(run=run, state="waiting")


@pytest.mark.parametrize("name", ["mended_chain", "mended_round"])
def test_a_run_goes_on_with_the_value_that_a_person_gave(name: str, runtime: Runtime) -> None:
    run = advanced(mended(name), runtime)
    assert (run.state, run.output and bodies.load(run.output)["drafts"]) == ("done", 3)
    assert run.steps.get(node="draft").answered_by == "Marta"


def test_a_persons_value_that_breaks_the_contract_too_is_asked_for_again(runtime: Runtime) -> None:
    run = mended("mended_chain", drafts="some")
    assert taken_up.take_up(run.pk, "w") is None
    question = Question.objects.get(run=advanced(run, runtime), state="open")
    assert (question.kind, question.action["value"]["drafts"]) == ("contract", "some")


@pytest.mark.parametrize(
    "change",
    [
        set_run(fence=F("fence") + 1),
        lambda run: run.steps.update(state="ended"),
        asked,
        lambda run: engaged("everything", ""),
        lambda run: add_a_step(run),
    ],
    ids=["somebody else has it", "its step waits no more", "it asks", "everything is stopped", "a step came"],
)
def test_what_changed_after_a_persons_value_was_read_is_seen_by_the_function(
    change: Callable[[Run], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = mended("mended_chain")
    after_the_read(monkeypatch, lambda: change(run))
    assert taken_up.take_up(run.pk, "w") is None
    assert not Event.objects.filter(run=run, kind="step done").exists()
    assert Run.objects.get(pk=run.pk).lease_owner == ""


def test_two_workers_that_hear_of_a_persons_value_do_not_both_go_on() -> None:
    run = mended("mended_chain")
    assert len(heard_by_eight(run)) == 1
    assert Event.objects.filter(run=run, kind="step done").count() == 1
