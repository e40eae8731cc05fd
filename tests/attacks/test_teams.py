"""Supervisors, workers and people that do their worst at the same moment, through the engine and the database."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import F

from escalations import controls, decisions
from escalations.expected import AlreadyDecided, Changed, Invalid
from escalations.models import Escalation, JournalEntry
from runs import bodies
from runs.agents.door import ModelReply, ModelRequest, ToolCall
from runs.agents.simulated import calls, says
from runs.definitions import RefusedOutput, Results
from runs.engine.advance import advance
from runs.engine.claim import claim
from runs.engine.perform import perform
from runs.engine.record import now
from runs.engine.settle import settle
from runs.engine.worker import heart
from runs.engine.worker.runtime import Runtime
from runs.errors import DataError, ReasoningError, RecoverableError
from runs.models import Attempt, Call, Event, Question, Run, Step
from tests import factories, patience
from tests.attacks import gangs, rogues
from tests.attacks.gangs import Errand, Told
from tests.runs.conftest import advanced, answered, question_of, start

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _nothing_told() -> Iterator[None]:
    rogues.DONE.clear()
    gangs.DOES["does"] = lambda errand: Told(words="done")
    yield
    gangs.forget()


class Latch:
    """Something that a test lets happen: until then whoever comes here waits."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go = threading.Event()

    def hold(self) -> None:
        self.reached.set()
        assert self.go.wait(patience.SECONDS)


def planned(*errands: tuple[str, str]) -> Callable[[ModelRequest], ModelReply]:
    """A supervisor's reply: (worker, what it does) for each task."""
    tasks = [
        {"worker": worker, "input": {"does": does, "number": n}} for n, (worker, does) in enumerate(errands)
    ]
    return lambda request: says(request, {"tasks": tasks})


def of(workflow: str, *errands: tuple[str, str]) -> Run:
    """A new run with that plan."""
    gangs.PLANS["this"] = planned(*errands)
    return start(workflow, plan="this")


def looking_at(run: Run, runtime: Runtime) -> threading.Thread:
    """A thread that advances the run."""

    def look() -> None:
        advance(run.pk, runtime)
        connection.close()

    thread = threading.Thread(target=look)
    thread.start()
    return thread


def fresh(run: Run) -> Run:
    return Run.objects.get(pk=run.pk)


def ending(run: Run) -> tuple[str, Any]:
    run = fresh(run)
    return run.state, bodies.load(run.output) if run.output else run.ending


def tasks(run: Run) -> list[str]:
    return list(run.steps.filter(parent__isnull=False).order_by("place").values_list("state", flat=True))


def consistent(run: Run) -> None:
    """What must be true of a run at rest, however it came there."""
    run = fresh(run)
    steps = Step.objects.filter(run=run)
    events = Event.objects.filter(run=run)
    assert list(events.order_by("seq").values_list("seq", flat=True)) == list(range(1, run.event_seq + 1))
    for step in steps.filter(state="done"):
        assert events.filter(step=step, kind="step done").count() == 1
    for call in Call.objects.filter(run=run, step__finished_at__isnull=False).select_related("step"):
        assert call.step.finished_at is not None
        assert call.permitted_at <= call.step.finished_at, "a call was permitted after its step was over"
    if run.final:
        assert not steps.filter(state__in=("ready", "running", "sleeping", "waiting")).exists()
        assert not Attempt.objects.filter(step__run=run, state__in=("running", "asked", "cut")).exists()
        assert not run.questions.filter(state="open").exists()
        assert run.due_at is None
    elif not run.hold:
        assert run.due_at is not None or run.questions.filter(state="open").exists(), "nobody will look again"


# what is not needed any more


def test_a_task_that_is_taken_up_in_the_turn_that_ends_the_rest_is_not_performed(runtime: Runtime) -> None:
    begun: list[int] = []

    def notes(errand: Errand) -> Told:
        begun.append(errand.number)
        return Told(words="done")

    gangs.DOES["notes"] = notes
    run = advanced(of("first_of_gang", *[("run", "notes")] * 6), runtime)
    assert run.state == "done", run.ending
    assert sorted(tasks(run)) == ["done"] + ["ended"] * 5
    assert set(begun) <= {0, 1}  # two are performed at once
    consistent(run)


def test_a_task_under_way_that_is_not_needed_any_more_gets_no_permit_and_disturbs_nobody(
    runtime: Runtime,
) -> None:
    late, gather = Latch(), Latch()

    def spend_late(request: ModelRequest) -> ModelReply:
        if request.messages[-1].role == "tool":
            return calls(request, "bank.transfer", {"amount": 5})
        return calls(request, "hold", {"name": "late"})

    def gathers(results: Results) -> Told:
        gather.hold()
        return Told(words="gathered")

    def after_it(errand: Errand) -> Told:
        assert late.reached.wait(patience.SECONDS)
        return Told(words="done")

    gangs.HOLDS["late"], gangs.BEHAVES["spends late"] = late.hold, spend_late
    gangs.GATHERS["this"], gangs.DOES["after it"] = gathers, after_it
    run = of("first_of_gang", ("boy", "spends late"), ("run", "after it"))
    look = looking_at(run, runtime)
    assert gather.reached.wait(patience.SECONDS)  # the join is met, the node after it is under way
    late.go.set()
    patience.until(lambda: Event.objects.filter(run=run, kind="voided").exists())
    gather.go.set()
    patience.joined(look)
    assert ending(run) == ("done", {"words": "gathered", "extra": None})
    assert rogues.DONE == []
    assert fresh(run).fence == 1, "nobody lost the run over it"
    consistent(run)


# plans that break the contract, and people who mend them


def tasks_of(value: list[Any]) -> Callable[[ModelRequest], ModelReply]:
    return lambda request: says(request, {"tasks": value})


def errand(worker: Any = "run", **given: Any) -> dict[str, Any]:
    return {"worker": worker, "input": {"does": "does", **given}}


BROKEN_PLANS: dict[str, list[Any]] = {
    "no task": [],
    "100,000 tasks": [errand(number=n) for n in range(100_000)],
    "51 tasks": [errand(number=n) for n in range(51)],
    "an input of a megabyte": [errand(does="x" * 1_000_000, number="not a number")],
    "odd bytes": [errand("run\x00\ud800\u202e")],
    "a worker named by a number": [errand(7)],
    "the supervisor itself": [errand("boss")],
    "the node after the join": [{"worker": "gather", "input": {"input": {}, "results": []}}],
    "an input that is a list": [{"worker": "run", "input": [1, 2]}],
    "an input that is a text": [{"worker": "run", "input": '{"does": "does"}'}],
    "no input": [{"worker": "run"}],
    "a field too many": [{"worker": "run", "input": {"does": "does"}, "next": "boy"}],
    "an input too many": [errand(hidden=True)],
    "one good and one bad": [errand(), errand("root")],
}


@pytest.mark.parametrize("plan", list(BROKEN_PLANS))
def test_a_plan_that_breaks_its_contract_becomes_no_task_and_a_person_is_asked(
    runtime: Runtime, plan: str
) -> None:
    gangs.PLANS["this"] = tasks_of(BROKEN_PLANS[plan])
    run = advanced(start("gang", plan="this"), runtime)
    assert (run.state, run.questions.get().kind in ("contract", "error")) == ("waiting", True)
    assert path(run) == ["boss"]
    assert len(run.questions.get().title) <= 300
    consistent(run)


def path(run: Run) -> list[str]:
    return list(run.steps.order_by("seq").values_list("node", flat=True))


def test_a_persons_plan_keeps_to_the_same_bounds_and_is_then_acted_on(
    runtime: Runtime, operator: User
) -> None:
    gangs.PLANS["this"] = tasks_of([errand("root")])
    run = advanced(start("gang", plan="this"), runtime)
    escalation = factories.escalation_of(run)
    for wrong in ([errand("root")], [errand(number=n) for n in range(51)], [errand(number="many")]):
        with pytest.raises(Invalid):
            decisions.edit(actor=operator, value={"tasks": json.dumps(wrong)}, **factories.shown(escalation))
    decisions.edit(
        actor=operator, value={"tasks": json.dumps([errand(number=4)])}, **factories.shown(escalation)
    )
    decisions.approve(actor=operator, **factories.shown(escalation))
    run = advanced(run, runtime)
    assert ending(run) == ("done", {"words": "4 done", "extra": None})
    assert run.steps.get(node="boss").answered_by


def test_an_answer_that_slips_past_the_form_is_asked_for_again_and_holds_up_nobody(runtime: Runtime) -> None:
    """A definition may change between the edit and the approval."""
    held = Latch()
    gangs.BEHAVES["is vague"] = lambda request: says(request, {"words": 7, "what": 1})

    def holds_on(errand: Errand) -> Told:
        held.hold()
        return Told(words="done")

    gangs.DOES["holds"] = holds_on
    run = of("gang", ("boy", "is vague"), ("run", "holds"))
    look = looking_at(run, runtime)
    patience.until(lambda: Question.objects.filter(run=run, state="open").exists())
    first = question_of(run)
    answered(run, "approve", answer={**first.action, "value": {"nothing": "of it"}})
    held.go.set()
    patience.joined(look)
    again = question_of(run)
    assert (again.kind, again.pk != first.pk) == ("contract", True)
    assert tasks(run) == ["waiting", "done"]
    assert fresh(run).fence == 1
    answered(run, "approve", answer={**again.action, "value": {"words": "well"}})
    assert ending(advanced(run, runtime))[0] == "done"
    consistent(run)


# chains whose links fail


def claimed_to(workflow: str, runtime: Runtime) -> Run:
    return advanced(start(workflow, does="this"), runtime)


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError("no"),
        SystemExit(3),
        KeyboardInterrupt(),
        RecursionError(),
        StopIteration("stop"),
        MemoryError(),
        LookupError("nowhere"),
        ValueError("\x00\ud800"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_accept_that_raises_anything_ends_at_a_person(runtime: Runtime, error: BaseException) -> None:
    def refuse(claim: Any, told: Any) -> None:
        raise error

    gangs.BEHAVES["this"] = lambda request: says(request, {"words": "fine"})
    gangs.ACCEPTS["this"] = refuse
    run = claimed_to("plain_claim", runtime)
    assert (run.state, question_of(run).kind) == ("waiting", "error"), run.ending
    consistent(run)


@pytest.mark.parametrize("error", [DataError("bad"), ReasoningError("odd"), ZeroDivisionError("no")])
def test_a_mender_that_fails_ends_at_a_person_and_trying_again_asks_the_agent(
    runtime: Runtime, error: Exception
) -> None:
    def fail(refused: RefusedOutput) -> Told:
        raise error

    gangs.BEHAVES["this"] = lambda request: says(request, {"words": 7})
    gangs.MENDS["this"] = fail
    run = claimed_to("mended", runtime)
    assert run.state == "waiting", run.ending
    gangs.BEHAVES["this"] = lambda request: says(request, {"words": "better"})
    answered(run, "respond", text="Say it in words.")
    assert ending(advanced(run, runtime)) == ("done", {"words": "better", "extra": None})


def test_a_mender_that_is_not_there_for_a_moment_is_given_the_same_again(runtime: Runtime) -> None:
    given: list[RefusedOutput] = []

    def late(refused: RefusedOutput) -> Told:
        given.append(refused)
        if len(given) == 1:
            raise RecoverableError("503")
        return Told(words=f"mended {refused.output['words']}")

    gangs.BEHAVES["this"] = lambda request: says(request, {"words": 7})
    gangs.MENDS["this"] = late
    assert ending(claimed_to("mended", runtime)) == ("done", {"words": "mended 7", "extra": None})
    assert given[0] == given[1]


def test_a_mender_whose_value_breaks_the_contract_is_not_believed(runtime: Runtime) -> None:
    gangs.BEHAVES["this"] = lambda request: says(request, {"words": 7})
    gangs.MENDS["this"] = lambda refused: {"words": 8}
    run = claimed_to("mended", runtime)
    assert (run.state, question_of(run).kind) == ("waiting", "contract")


def test_models_that_all_fail_are_each_asked_once_and_then_a_person(runtime: Runtime) -> None:
    def down(request: ModelRequest) -> ModelReply:
        raise RecoverableError(f"{request.model} is down")

    gangs.BEHAVES["this"] = down
    run = claimed_to("fallen", runtime)
    assert run.state == "waiting"
    asked = list(run.calls.order_by("pk").values_list("model", flat=True))
    assert asked == ["simulated/errand_boy", "simulated/errand_boy-b", "simulated/errand_boy-c"]


def test_a_stand_in_that_the_policy_no_longer_names_is_asked_about_and_the_others_go_on(
    runtime: Runtime,
) -> None:
    run = of("gang", ("run", "does"), ("run", "does"), ("run", "does"))
    claim_and_lose(run, runtime)
    theirs = Attempt.objects.filter(step__run=run, step__place=1, step__parent__isnull=False)
    assert theirs.update(by="agent:somebody who left") == 1
    run = advanced(run, runtime)
    assert tasks(run) == ["done", "waiting", "done"]
    assert "names no 'agent:somebody who left'" in question_of(run).title
    answered(run, "approve")
    assert ending(advanced(run, runtime))[0] == "done"
    consistent(run)


def claim_and_lose(run: Run, runtime: Runtime) -> None:
    """Its plan is made and its tasks are claimed by a worker that is never heard of again."""
    (boss,) = claim(run.pk, worker="lost")  # type: ignore[misc]
    with runtime.fly(run.pk, run.workflow, boss.fence) as flight:
        settle(boss, perform(boss, flight))
    Run.objects.filter(pk=run.pk).update(lease_until=F("created_at"), due_at=F("created_at"))


def test_an_outcome_is_recorded_although_nobody_can_say_what_comes_next(runtime: Runtime) -> None:
    run = claimed_to("endless", runtime)
    assert [step.state for step in run.steps.all()] == ["done"]
    assert (run.state, run.fence) == ("waiting", 1)
    assert "cannot go on" in question_of(run).title
    consistent(run)


# people, while runs move


def asking(run_size: int, runtime: Runtime, workflow: str = "gang", *more: tuple[str, str]) -> Run:
    """A run with so many open approvals."""
    gangs.BEHAVES["spends"] = spends
    return advanced(of(workflow, *[("boy", "spends")] * run_size, *more), runtime)


def spends(request: ModelRequest) -> ModelReply:
    number = json.loads(request.messages[0].text)["number"]
    if request.messages[-1].role == "tool":
        return says(request, {"words": request.messages[-1].text})
    return calls(request, "bank.transfer", {"amount": 100 + number, "ask": True})


def open_escalations(run: Run) -> list[Escalation]:
    """In the order of their tasks."""
    return list(Escalation.objects.filter(run=run, state="open").order_by("question__step__place"))


def at_its_end(run: Run, runtime: Runtime) -> Run:
    """The run once it is final; a call that was cut on a busy machine is tried again after a second."""

    def final() -> bool:
        return advanced(run, runtime).final

    patience.until(final)
    return fresh(run)


def test_fifty_questions_of_one_run_are_answered_by_two_people_at_once(
    runtime: Runtime, operator: User, colleague: User
) -> None:
    run = asking(50, runtime)
    patience.until(
        lambda: advanced(run, runtime).state == "waiting"
    )  # a call cut on a busy machine is tried again
    waiting = open_escalations(run)
    assert len(waiting) == 50

    def answer(actor: User, mine: list[Escalation]) -> None:
        for escalation in mine:
            decisions.approve(actor=actor, **factories.shown(escalation))

    done = factories.at_once(
        lambda: answer(operator, waiting[::2]),
        lambda: answer(colleague, waiting[1::2]),
        lambda: [advance(run.pk, runtime) for _ in range(20)],
    )
    assert [one for one in done if isinstance(one, Exception)] == []
    assert at_its_end(run, runtime).state == "done"
    assert sorted(amount for _, amount in rogues.DONE) == [100 + n for n in range(50)]
    assert len({key for key, _ in rogues.DONE}) == 50
    assert len(factories.journal(act="approve", outcome="done")) == 50
    consistent(run)


def test_two_people_who_answer_two_tasks_at_the_same_moment_both_count(
    runtime: Runtime, operator: User, colleague: User
) -> None:
    for _ in range(5):
        rogues.DONE.clear()
        run = asking(2, runtime)
        first, second = open_escalations(run)
        done = factories.at_once(
            partial(decisions.approve, actor=operator, **factories.shown(first)),
            partial(decisions.reject, actor=colleague, reason="no", **factories.shown(second)),
            partial(advance, run.pk, runtime),
        )
        assert [one for one in done if isinstance(one, Exception)] == []
        run = advanced(run, runtime)
        assert run.state == "done", run.ending  # a denied call is an answer, too
        assert len(rogues.DONE) == 1
        consistent(run)


def test_an_answer_that_races_with_the_last_task_is_never_lost(runtime: Runtime, operator: User) -> None:
    for _ in range(8):
        last = Latch()

        def ends(errand: Errand, last: Latch = last) -> Told:
            last.hold()
            return Told(words="done")

        gangs.BEHAVES["spends"], gangs.DOES["ends"] = spends, ends
        run = of("gang", ("boy", "spends"), ("run", "ends"))
        look = looking_at(run, runtime)
        patience.until(partial(open_escalations, run))
        assert last.reached.wait(patience.SECONDS)
        (escalation,) = open_escalations(run)
        done = factories.at_once(
            last.go.set,
            partial(decisions.approve, actor=operator, **factories.shown(escalation)),
        )
        assert [one for one in done if isinstance(one, Exception)] == []
        patience.joined(look)
        run = advanced(run, runtime)
        assert run.state == "done", (run.state, tasks(run))
        consistent(run)


@pytest.mark.parametrize("kind", ["pause", "stop"])
def test_an_answer_to_a_held_run_is_kept_and_obeyed_when_it_goes_on(
    runtime: Runtime, operator: User, kind: str
) -> None:
    run = asking(2, runtime)
    control = controls.engage(actor=operator, kind=kind, scope_kind="run", scope=str(run.pk))
    first, second = open_escalations(run)
    decisions.approve(actor=operator, **factories.shown(first))
    advanced(run, runtime)
    assert rogues.DONE == []
    controls.release(actor=operator, control_id=control.pk, reason="seen")
    if kind == "stop":
        controls.resume(actor=operator, run_id=run.pk)
    run = advanced(run, runtime)
    assert [amount for _, amount in rogues.DONE] == [100]
    assert (run.state, tasks(run)) == ("waiting", ["done", "waiting"])
    decisions.approve(actor=operator, **factories.shown(second))
    assert ending(advanced(run, runtime))[0] == "done"
    consistent(run)


def test_a_run_that_ends_by_its_deadline_withdraws_every_question_and_closes_every_escalation(
    runtime: Runtime, operator: User
) -> None:
    last = Latch()

    def ends(errand: Errand) -> Told:
        last.hold()
        return Told(words="done")

    gangs.BEHAVES["spends"], gangs.DOES["ends"] = spends, ends
    run = of("gang", *[("boy", "spends")] * 3, ("run", "ends"))
    look = looking_at(run, runtime)
    patience.until(lambda: len(open_escalations(run)) == 3)
    shown = [factories.shown(one) for one in open_escalations(run)]
    Run.objects.filter(pk=run.pk).update(deadline_at=F("created_at"))
    last.go.set()
    patience.joined(look)
    assert ending(run) == ("failed", "The run's deadline has passed.")
    assert set(run.questions.values_list("state", flat=True)) == {"withdrawn"}
    assert set(Escalation.objects.filter(run=run).values_list("state", flat=True)) == {"withdrawn"}
    for one in shown:
        with pytest.raises(AlreadyDecided):
            decisions.approve(actor=operator, **one)
    assert rogues.DONE == []
    entries = JournalEntry.objects.order_by("seq")
    assert [one.seq for one in entries] == list(range(1, len(entries) + 1))
    consistent(run)


def test_an_answer_that_comes_while_the_join_ends_the_rest_either_counts_or_is_told_so(
    runtime: Runtime, operator: User
) -> None:
    for _ in range(6):
        rogues.DONE.clear()
        last = Latch()

        def ends(errand: Errand, last: Latch = last) -> Told:
            last.hold()
            return Told(words="done")

        gangs.BEHAVES["spends"], gangs.DOES["ends"] = spends, ends
        run = of("first_of_gang", ("boy", "spends"), ("run", "ends"))
        look = looking_at(run, runtime)
        patience.until(partial(open_escalations, run))
        assert last.reached.wait(patience.SECONDS)
        (escalation,) = open_escalations(run)
        shown = factories.shown(escalation)
        _, decided = factories.at_once(last.go.set, partial(decisions.approve, actor=operator, **shown))
        patience.joined(look)
        run = advanced(run, runtime)
        assert run.state == "done", run.ending
        if isinstance(decided, Exception):
            assert isinstance(decided, (AlreadyDecided, Changed)), repr(decided)
            assert rogues.DONE == []
        assert not open_escalations(run)
        consistent(run)


# leases of runs whose row is always locked


def test_a_lease_is_extended_although_the_runs_row_is_locked_whenever_one_looks(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dozens of steps of one run settle and ask for permits: somebody always holds its row."""
    monkeypatch.setattr(heart, "PATIENCE_SECONDS", patience.SECONDS)  # busy cores
    run = of("gang", ("run", "does"))
    assert isinstance(claim(run.pk, worker=runtime.name), tuple)
    enough = threading.Event()

    def hold_the_row() -> None:
        while not enough.is_set():
            with transaction.atomic():
                Run.objects.select_for_update(no_key=True).get(pk=run.pk)
                enough.wait(0.03)
        connection.close()

    holders = [threading.Thread(target=hold_the_row) for _ in range(4)]
    for holder in holders:
        holder.start()
    try:
        for _ in range(5):
            almost_over = now() + timedelta(seconds=1)
            Run.objects.filter(pk=run.pk).update(lease_until=almost_over)
            assert heart.extend_leases(runtime.name, {run.pk: 1}) == {run.pk}
            left = fresh(run).lease_until
            assert left is not None
            assert left > almost_over
    finally:
        enough.set()
        patience.joined(*holders)


# agents that ask each other


def asks(name: str) -> Callable[[ModelRequest], ModelReply]:
    return lambda request: calls(request, f"ask_{name}", {"word": f"again {len(request.messages)}"})


def test_agents_that_ask_each_other_for_ever_end_at_a_person_after_a_bounded_number_of_calls(
    runtime: Runtime,
) -> None:
    gangs.BEHAVES.update(first=asks("second"), second=asks("third"))
    answers = [0]

    def third(request: ModelRequest) -> ModelReply:
        answers[0] += 1
        return says(request, {"word": f"no end {answers[0]}"})

    gangs.BEHAVES["third"] = third
    run = advanced(start("askers", word="go"), runtime)
    assert (run.state, question_of(run).kind) == ("waiting", "error")
    assert run.calls.count() <= 72
    consistent(run)


def test_agents_that_delegate_deeper_than_anybody_may_end_at_a_person(runtime: Runtime) -> None:
    gangs.BEHAVES.update(
        first=asks("second"), second=asks("third"), third=asks("fourth"), fourth=asks("nobody")
    )
    run = advanced(start("askers", word="go"), runtime)
    assert "delegates deeper than 3 agents" in question_of(run).title
    assert run.calls.count() == 3


@pytest.mark.parametrize(
    "answer", [{"word": 7}, {"words": "x"}, None, "yes", {"word": "x", "approved": True}, [1]], ids=repr
)
def test_a_delegates_answer_that_breaks_its_contract_is_not_believed(runtime: Runtime, answer: Any) -> None:
    gangs.BEHAVES.update(first=asks("second"), second=lambda request: rogues.reply(request, answer))
    run = advanced(start("askers", word="go"), runtime)
    assert (run.state, question_of(run).kind in ("contract", "error")) == ("waiting", True)
    assert not run.steps.filter(state="done").exists()
    assert not Call.objects.filter(run=run, state="permitted").exists()


def test_many_questions_in_one_reply_to_a_delegate_are_bounded_too(runtime: Runtime) -> None:
    def flood(request: ModelRequest) -> ModelReply:
        turn = len(request.messages)
        many = tuple(
            ToolCall(id=f"{turn}-{n}", name="ask_second", arguments={"word": f"{turn} {n}"})
            for n in range(30)
        )
        return ModelReply(model=request.model, tool_calls=many)

    gangs.BEHAVES.update(first=flood, second=lambda request: says(request, {"word": "yes"}))
    run = advanced(start("askers", word="go"), runtime)
    assert (run.state, question_of(run).kind) == ("waiting", "error")
    assert run.calls.count() <= 72
