"""What a run began with is what it goes on by: at starts, at claims, and beside workers that have something else."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from django.db import transaction
from django.db.models import F
from pytest_django import Settings

from escalations.models import Escalation
from runs import bodies, registry
from runs.definitions import Workflow
from runs.engine import starts, sweep, versions
from runs.engine.claim import claim
from runs.engine.claimed import Nothing
from runs.engine.worker import heart
from runs.engine.worker.runtime import Runtime
from runs.models import Definition, Event, Question, Run, Step, Worker
from tests.deploys.flows import CLOSE, DRAFT, REVIEW, close_otherwise, installed, paying, pipeline
from tests.runs.conftest import advanced, answered, question_of, start

pytestmark = pytest.mark.django_db(transaction=True)

ONE = pipeline(1)
CHANGED = pipeline(1, DRAFT, REVIEW, paying("Pay it at once."), CLOSE)
CLOSED_OTHERWISE = pipeline(1, DRAFT, REVIEW, paying(), replace(CLOSE, work=close_otherwise))
TWO = pipeline(2)


@pytest.fixture
def frozen(settings: Settings) -> None:
    settings.RUNS_FREEZE_VERSIONS = True


@pytest.fixture
def parked(runtime: Runtime) -> Iterator[Run]:
    """A run of v1 that waits for an approval."""
    with installed(ONE):
        run = advanced(start("deployed", amount=500), runtime)
        assert question_of(run).kind == "approval"
        yield run


def _worker(name: str, *workflows: Workflow, silent_for: float = 0.0) -> None:
    """Another worker that has said so many seconds ago what it has."""
    with installed(*workflows):
        heart.register(name, "agents", 0, registry.contents())
    Worker.objects.filter(name=name).update(seen_at=F("seen_at") - silent_for * versions.ONE_SECOND)


# starts


def test_a_version_is_noted_when_it_is_first_used() -> None:
    with installed(ONE):
        first, second = start("deployed"), start("deployed")
        noted = Definition.objects.get(workflow="deployed")
        assert (noted.version, noted.digest) == (1, registry.content(ONE).digest)
        assert {first.definition, second.definition} == {noted.digest}


@pytest.mark.usefixtures("frozen")
def test_a_used_version_with_other_content_starts_nothing_and_says_what_to_do() -> None:
    with installed(ONE):
        start("deployed")
    with installed(CHANGED), transaction.atomic(), pytest.raises(starts.Changed) as refused:
        starts.start("deployed", {}, start_key="two", by="test")
    digest = registry.content(ONE).digest[:12]
    assert refused.value.sentence == (
        "Nothing was started: deployed v1 is not what it was when it was first used (node pay, agent deployed_payer: "
        "prompt). Raise its version and keep the old one registered until its runs are over; or, where the change only "
        f'mends an error and runs under way may go on with it, give it replaces=("{digest}",).'
    )
    assert Run.objects.count() == 1


@pytest.mark.usefixtures("frozen")
def test_what_the_version_was_or_a_new_one_starts() -> None:
    with installed(ONE):
        start("deployed")
    with installed(CHANGED, TWO):
        assert start("deployed").version == 2
    with installed(ONE):
        assert start("deployed").version == 1


@pytest.mark.usefixtures("frozen")
def test_a_mended_version_starts_and_goes_on_with_what_it_mends(parked: Run, runtime: Runtime) -> None:
    mended = replace(CLOSED_OTHERWISE, replaces=(parked.definition[:12],))
    with installed(mended):
        assert start("deployed").definition == registry.content(mended).digest
        answered(parked, "approve")
        run = advanced(parked, runtime)
    assert run.output is not None
    assert (run.state, bodies.load(run.output)["answer"]) == ("done", "closed otherwise")


def test_while_one_writes_workflows_an_unused_version_is_taken_anew_without_a_word(
    runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    with installed(ONE):
        assert advanced(start("deployed"), runtime).state == "done"
    with caplog.at_level(logging.INFO, "opsconsole"), installed(CHANGED):
        assert advanced(start("deployed"), runtime).state == "done"
    here = [one for one in caplog.records if one.thread == threading.get_ident()]
    assert not here  # threads that send hints may have something to say of the tests before
    noted = Definition.objects.filter(workflow="deployed").order_by("pk")
    assert [one.replaced_at is None for one in noted] == [False, True]


def test_while_one_writes_workflows_runs_under_way_ask_and_that_is_said(
    parked: Run, runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    with installed(CHANGED):
        assert advanced(start("deployed"), runtime).state == "done"
        answered(parked, "approve")
        run = advanced(parked, runtime)
    assert "1 runs that began before it will ask a person" in caplog.text
    assert question_of(run).kind == "missing"


# claims


def test_a_parked_run_goes_on_with_its_own_version_after_a_deploy(parked: Run, runtime: Runtime) -> None:
    with installed(ONE, TWO):
        answered(parked, "approve")
        run = advanced(parked, runtime)
    assert (run.state, run.version) == ("done", 1)


def test_a_run_whose_content_has_changed_asks_and_names_what(parked: Run, runtime: Runtime) -> None:
    with installed(CHANGED):
        answered(parked, "approve")
        run = advanced(parked, runtime)
        asked = question_of(run)
    assert (asked.kind, asked.step) == ("missing", None)
    assert asked.reason == (
        "what it began with has changed under its version (node pay, agent deployed_payer: prompt)"
    )
    assert Escalation.objects.filter(question=asked, state="open").exists()


def test_a_fresh_run_whose_content_has_changed_asks_as_well(runtime: Runtime) -> None:
    with installed(ONE):
        run = start("deployed")
    with installed(CHANGED):
        assert question_of(advanced(run, runtime)).kind == "missing"
    assert not Step.objects.filter(run=run).exists()


def test_a_run_from_before_digests_goes_on_by_its_version_alone(parked: Run, runtime: Runtime) -> None:
    Run.objects.filter(pk=parked.pk).update(definition="")
    with installed(CHANGED):
        answered(parked, "reject", "not now")
        assert advanced(parked, runtime).state == "done"


# beside others


def test_a_run_is_left_to_a_worker_that_has_its_version(parked: Run, runtime: Runtime) -> None:
    _worker("old", ONE)
    answered(parked, "approve")
    due_at = Run.objects.get(pk=parked.pk).due_at
    with installed(TWO):
        assert claim(parked.pk, worker="new") == Nothing(why="elsewhere")
    run = Run.objects.get(pk=parked.pk)
    assert (run.state, run.due_at, run.lease_owner) == ("ready", due_at, "")  # its place in the line stays
    assert not Question.objects.filter(kind="missing").exists()
    assert advanced(run, runtime).state == "done"


def test_a_fresh_run_is_left_to_a_worker_that_has_its_version() -> None:
    _worker("old", ONE)
    with installed(ONE):
        run = start("deployed")
    with installed(TWO):
        assert claim(run.pk, worker="new") == Nothing(why="elsewhere")
    assert not Step.objects.filter(run=run).exists()


def test_a_lost_run_is_left_without_counting_the_loss_again_and_again(parked: Run) -> None:
    _worker("old", ONE)
    answered(parked, "approve")
    assert isinstance(claim(parked.pk, worker="doomed"), tuple)
    Run.objects.filter(pk=parked.pk).update(lease_until=F("created_at"), due_at=F("created_at"))
    with installed(TWO):
        for _ in range(4):
            assert claim(parked.pk, worker="new") == Nothing(why="elsewhere")
    assert Step.objects.get(run=parked, node="pay").losses == 1
    assert Event.objects.filter(run=parked, kind="worker lost").count() == 1


def test_a_person_is_asked_when_the_last_worker_that_had_it_is_gone_for_long(
    parked: Run, settings: Settings
) -> None:
    settings.RUNS_VERSION_GRACE_SECONDS = 30
    answered(parked, "approve")
    with installed(TWO):
        _worker("old", ONE, silent_for=29)
        assert claim(parked.pk, worker="new") == Nothing(why="elsewhere")
        Worker.objects.filter(name="old").update(seen_at=F("seen_at") - 2 * versions.ONE_SECOND)
        assert claim(parked.pk, worker="new") == Nothing(why="waits")
    assert question_of(parked).reason == (
        "the run keeps the version it started with, and no worker has that version any more"
    )


def test_a_worker_that_mends_the_content_counts_as_one_that_has_it(parked: Run) -> None:
    _worker("mended", replace(CLOSED_OTHERWISE, replaces=(parked.definition[:12],)))
    answered(parked, "approve")
    with installed(TWO):
        assert claim(parked.pk, worker="new") == Nothing(why="elsewhere")


def test_a_poller_looks_past_the_runs_of_others(parked: Run) -> None:
    _worker("old", ONE)
    answered(parked, "approve")
    with installed(TWO):
        others = versions.left_to_others()
        assert sweep.due(leave=others) == []
        own = start("deployed")
        assert sweep.due(leave=others) == [own.pk]
    assert parked.pk in sweep.due()


def test_the_question_is_withdrawn_when_the_version_is_there_again(parked: Run, runtime: Runtime) -> None:
    answered(parked, "approve")
    with installed(TWO):
        assert question_of(advanced(parked, runtime)).kind == "missing"
        assert versions.come_back() == 0
    assert versions.come_back() == 1
    withdrawn = Question.objects.get(run=parked, kind="missing")
    assert (withdrawn.state, withdrawn.answer_text) == ("withdrawn", "its version is there again")
    assert Escalation.objects.get(question=withdrawn).state == "withdrawn"
    assert advanced(parked, runtime).state == "done"
    assert versions.come_back() == 0


def test_a_worker_says_what_it_has() -> None:
    worker = Runtime("saying", "agents")
    try:
        worker.start()
        assert Worker.objects.get(name="saying").definitions == registry.contents()
    finally:
        worker.stop()
