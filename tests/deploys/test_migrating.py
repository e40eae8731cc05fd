"""A run whose version is gone goes on with another one, where a person says; nothing is lost, repeated or guessed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import User

from escalations import decisions
from escalations.expected import AlreadyDecided, IllegalMove, Invalid
from escalations.models import Escalation, JournalEntry
from runs import bodies, registry
from runs.engine.claim import claim
from runs.engine.perform import perform
from runs.engine.places import Place, places
from runs.engine.settle import settle
from runs.engine.worker.runtime import Runtime
from runs.models import Call, Definition, Event, Question, Run, Step
from tests import factories
from tests.deploys.flows import (
    CLOSE,
    DRAFT,
    ONE,
    REVIEW,
    STRICT,
    TWO,
    installed,
    machine,
    paying,
    pipeline,
    team,
    without_its_version,
)
from tests.factories import at_once, journal, person, shown
from tests.runs import flows
from tests.runs.conftest import advanced, answered, only, question_of, start

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def operator() -> User:
    return person("marta", "operator", full_name="Marta Olsen")


def _offered(run: Run) -> dict[tuple[int, str], Place]:
    return {(place.version, place.node): place for place in places(Run.objects.get(pk=run.pk))}


def _migrate(operator: User, run: Run, version: int, node: str, reason: str = "") -> Any:
    escalation = Escalation.objects.get(run=run, question__kind="missing", state="open")
    place = _offered(run)[version, node]
    return decisions.migrate(actor=operator, place=place.key, reason=reason, **shown(escalation))


def _missing(run: Run, runtime: Runtime) -> Run:
    """The run after somebody has looked at it without finding its version."""
    run = advanced(run, runtime)
    assert Question.objects.filter(run=run, kind="missing", state="open").exists()
    return run


def _after_first(runtime: Runtime, workflow: str, **order: Any) -> Run:
    """A run whose first step is done and whose second has lost its worker."""
    run = start(workflow, **order)
    flight = runtime.take_off(run.pk, workflow, 1)
    first = only(claim(run.pk, worker=runtime.name))
    settle(first, perform(first, flight))
    runtime.land(flight)
    Run.objects.filter(pk=run.pk).update(lease_until="2000-01-01T00:00Z", due_at="2000-01-01T00:00Z")
    return run


# where it could go on


def test_where_it_stands_is_suggested_when_its_input_fits(runtime: Runtime) -> None:
    with installed(ONE):
        run = _after_first(runtime, "deployed")
    with installed(TWO):
        found = _offered(_missing(run, runtime))
    assert [place.node for place in found.values() if place.suggested] == [""]
    assert found[2, ""].words == "review (step 2)"
    assert found[2, "draft"].fits
    assert found[2, "draft"].given == "what it was given before (step 1)"
    assert found[2, "pay"].why_not == "nothing in this run is meant for it"


def test_where_its_contract_is_broken_it_cannot_stay(runtime: Runtime, operator: User) -> None:
    with installed(ONE):
        run = _after_first(runtime, "deployed")
    with installed(pipeline(2, DRAFT, STRICT, paying(), CLOSE)):
        _missing(run, runtime)
        assert _offered(run)[2, ""].why_not.startswith("currency of the input of review: Field required")
        with pytest.raises(IllegalMove, match="currency"):
            _migrate(operator, run, 2, "")
        assert Run.objects.get(pk=run.pk).version == 1


def test_what_follows_is_suggested_when_the_node_it_stands_at_is_gone(
    runtime: Runtime, operator: User
) -> None:
    with installed(ONE):
        run = _after_first(runtime, "deployed")
    with installed(pipeline(2, DRAFT, paying(), CLOSE)):
        _missing(run, runtime)
        found = _offered(run)
        assert found[2, ""].why_not == "it has no node review"
        assert (found[2, "pay"].suggested, found[2, "pay"].given) == (True, "what draft gave (step 1)")
        _migrate(operator, run, 2, "pay")
        run = advanced(run, runtime)
    assert run.state == "done"
    assert list(run.steps.order_by("seq").values_list("node", "state")) == [
        ("draft", "done"),
        ("review", "ended"),
        ("pay", "done"),
        ("close", "done"),
    ]


def test_a_run_that_has_not_begun_begins_with_the_other_version(runtime: Runtime, operator: User) -> None:
    with installed(ONE):
        run = start("deployed")
    with installed(TWO):
        _missing(run, runtime)
        assert _offered(run)[2, ""].suggested
        _migrate(operator, run, 2, "")
        assert advanced(run, runtime).state == "done"


def test_of_several_versions_the_newest_that_fits_is_suggested(runtime: Runtime) -> None:
    with installed(ONE):
        run = _after_first(runtime, "deployed")
    with installed(TWO, pipeline(3), pipeline(4, DRAFT, STRICT, paying(), CLOSE)):
        found = _offered(_missing(run, runtime))
    assert [place.version for place in found.values() if place.suggested] == [3]


def test_the_same_version_as_it_is_now_is_one_of_the_places(runtime: Runtime, operator: User) -> None:
    changed = pipeline(1, DRAFT, REVIEW, paying("Pay it at once."), CLOSE)
    with installed(ONE):
        run = _after_first(runtime, "deployed")
    with installed(changed):
        _migrate(operator, _missing(run, runtime), 1, "")
        assert Run.objects.get(pk=run.pk).definition == registry.content(changed).digest
        assert advanced(run, runtime).state == "done"


def test_going_back_says_what_may_be_done_again_and_is_not_suggested(runtime: Runtime) -> None:
    with installed(ONE):
        run = start("deployed", amount=50)
        flows.CASHBOX.break_after_send = 0
        advanced_to_close(run, runtime)
    with installed(TWO):
        _missing(run, runtime)
        found = _offered(run)
    assert found[2, "pay"].again == ("Pay 50",)
    assert found[2, ""].again == ()
    assert [place.node for place in found.values() if place.suggested] == [""]


def advanced_to_close(run: Run, runtime: Runtime) -> None:
    """Everything but the last step is done; that one has lost its worker."""
    claims = claim(run.pk, worker=runtime.name)
    while isinstance(claims, tuple) and claims[0].node.name != "close":
        flight = runtime.take_off(run.pk, run.workflow, claims[0].fence)
        claims = settle(claims[0], perform(claims[0], flight))
        runtime.land(flight)
    Run.objects.filter(pk=run.pk).update(lease_until="2000-01-01T00:00Z", due_at="2000-01-01T00:00Z")


# doing it


def test_a_migration_is_on_record_with_before_and_after(operator: User) -> None:
    escalation = without_its_version()
    run = Run.objects.get(pk=escalation.run_id)
    with installed(TWO):
        _migrate(operator, run, 2, "", "v1 was wrong")
    after = Run.objects.get(pk=run.pk)
    two = registry.content(TWO).digest
    assert (after.version, after.definition, after.state) == (2, two, "ready")
    assert after.fence == run.fence + 1
    (entry,) = journal(act="migrate")
    assert (entry.actor_name, entry.reason, entry.outcome) == ("Marta Olsen", "v1 was wrong", "done")
    told = JournalEntry.objects.get(pk=entry.pk).body
    assert all(part in told for part in (run.definition[:12], two[:12], '"version"'))
    event = Event.objects.get(run=run, kind="migrated")
    assert event.data == {
        "by": "Marta Olsen",
        "at": "pay (step 3)",
        "from_version": 1,
        "from_definition": run.definition[:12],
        "to_version": 2,
        "to_definition": two[:12],
    }
    assert Definition.objects.filter(workflow="deployed", version=2, digest=two).exists()
    decision = Escalation.objects.get(pk=escalation.pk).decision
    assert (decision.verb, decision.before["version"], decision.after["version"]) == ("migrate", 1, 2)


def test_an_effect_that_is_on_record_is_not_done_again_by_the_other_version(
    runtime: Runtime, operator: User
) -> None:
    """The worker dies between the payment and the end of the step."""
    with installed(ONE):
        run = start("deployed", amount=50)
        claims = claim(run.pk, worker=runtime.name)
        while isinstance(claims, tuple):
            flight = runtime.take_off(run.pk, run.workflow, claims[0].fence)
            outcome = perform(claims[0], flight)
            runtime.land(flight)
            if claims[0].node.name == "pay":
                break
            claims = settle(claims[0], outcome)
        assert len(flows.CASHBOX.paid) == 1
        Run.objects.filter(pk=run.pk).update(lease_until="2000-01-01T00:00Z", due_at="2000-01-01T00:00Z")
    with installed(pipeline(2, DRAFT, REVIEW, paying("Pay it, please."), CLOSE)):
        _migrate(operator, _missing(run, runtime), 2, "")
        assert advanced(run, runtime).state == "done"
    assert len(flows.CASHBOX.paid) == 1


def test_an_effect_in_doubt_keeps_the_run_where_it_stands(runtime: Runtime, operator: User) -> None:
    unsure = replace(flows.tool(), look=None)
    work = replace(paying().work, tools=(unsure,))  # type: ignore[type-var]
    nodes = (DRAFT, REVIEW, replace(paying(), work=work), CLOSE)
    with installed(pipeline(1, *nodes)):
        flows.CASHBOX.break_after_send = 1
        run = advanced(start("deployed", amount=50), runtime)
        assert question_of(run).kind == "unknown"
    with installed(pipeline(2, *nodes)):
        answered(run, "respond", "it is in the book")
        _missing(run, runtime)
        found = _offered(run)
        assert [place.node for place in found.values() if place.fits] == [""]
        assert "may have happened" in found[2, "draft"].why_not
        _migrate(operator, run, 2, "")
        assert advanced(run, runtime).state == "done"
    assert len(flows.CASHBOX.paid) == 1


def test_an_approval_given_to_one_version_is_asked_for_again_by_the_other(
    runtime: Runtime, operator: User
) -> None:
    escalation = without_its_version()
    with installed(TWO):
        _migrate(operator, escalation.run, 2, "")
        run = advanced(escalation.run, runtime)
        assert question_of(run).kind == "approval"
        assert flows.CASHBOX.paid == []
        answered(run, "approve")
        assert advanced(run, runtime).state == "done"
    assert len(flows.CASHBOX.paid) == 1


def test_a_state_machine_goes_on_with_what_the_other_version_can_read(
    runtime: Runtime, operator: User
) -> None:
    with installed(machine(1)):
        run = _after_first(runtime, "deployed_machine", amount=50)
    with installed(machine(2)):
        _missing(run, runtime)
        assert _offered(run)[2, ""].suggested
        _migrate(operator, run, 2, "")
        run = advanced(run, runtime)
    assert (run.state, len(flows.CASHBOX.paid)) == ("done", 1)


def test_a_state_machine_is_not_offered_what_its_rules_cannot_read(runtime: Runtime) -> None:
    """Its draft is called otherwise, and what is paid comes from there."""
    with installed(machine(1)):
        run = _after_first(runtime, "deployed_machine", amount=50)
    renamed = machine(2, first=replace(DRAFT, name="sketch"))
    with installed(renamed):
        found = _offered(_missing(run, runtime))
    assert found[2, ""].fits  # review stands with its input; what its rules miss later, a person is asked
    assert found[2, "pay"].why_not == "nothing in this run is meant for it"


def test_a_state_machine_looks_past_steps_that_it_has_no_node_for(runtime: Runtime, operator: User) -> None:
    with installed(machine(1)):
        run = _after_first(runtime, "deployed_machine", amount=50)
    with installed(machine(2, first=replace(DRAFT, name="sketch"), hands=False)):
        _migrate(operator, _missing(run, runtime), 2, "")
        assert advanced(run, runtime).state == "done"


def test_a_plan_goes_on_with_its_open_tasks_alone(runtime: Runtime, operator: User) -> None:
    with installed(team(1)):
        run = advanced(start_team("one", "asks", "two"), runtime)
        assert question_of(run).kind == "error"
    with installed(team(2)):
        answered(run, "approve")
        _missing(run, runtime)
        found = _offered(run)
        assert found[2, ""].suggested
        assert (2, "write") not in found
        before = list(Step.objects.filter(run=run, state="done").values_list("pk", "finished_at"))
        _migrate(operator, run, 2, "")
        run = advanced(run, runtime)
        answered(run, "reject", "leave it", question=question_of(run))
        run = advanced(run, runtime)
    kept = Step.objects.filter(pk__in=[pk for pk, _ in before]).values_list("pk", "finished_at")
    assert sorted(kept) == sorted(before)
    assert run.steps.filter(node="write").count() == 3


def test_a_plan_begins_anew_when_its_worker_is_gone(runtime: Runtime, operator: User) -> None:
    with installed(team(1)):
        run = advanced(start_team("one", "asks"), runtime)
    with installed(team(2, worker="author")):
        answered(run, "approve")
        _missing(run, runtime)
        found = _offered(run)
        assert found[2, ""].why_not == "it has no node write"
        assert found[2, "plan"].fits
        assert not any(place.suggested for place in found.values())
        _migrate(operator, run, 2, "plan")
        run = advanced(run, runtime)
        open_ones = list(Question.objects.filter(run=run, state="open").values_list("step__node", flat=True))
        assert open_ones == ["author"]
        answered(run, "reject", "leave it", question=question_of(run))
        run = advanced(run, runtime)
    assert run.steps.filter(node="plan").count() == 2
    assert run.state == "failed"  # its join needs both tasks


def start_team(*texts: str) -> Run:
    return factories.started("deployed_team", texts=list(texts))


# what stands against it


def test_a_place_must_be_chosen(operator: User) -> None:
    escalation = without_its_version()
    with installed(TWO), pytest.raises(Invalid, match="Choose where the run goes on"):
        decisions.migrate(actor=operator, place="", **shown(escalation))


def test_a_version_that_has_changed_since_it_was_shown_is_not_taken(operator: User) -> None:
    escalation = without_its_version()
    with installed(TWO):
        key = next(place.key for place in places(escalation.run) if place.suggested)
    with (
        installed(pipeline(2, DRAFT, REVIEW, paying("Otherwise."), CLOSE)),
        pytest.raises(IllegalMove, match="read the card again"),
    ):
        decisions.migrate(actor=operator, place=key, **shown(escalation))


def test_two_people_migrate_once(operator: User) -> None:
    escalation = without_its_version()
    other = person("ida", "operator", full_name="Ida Berg")
    with installed(TWO):
        key = next(place.key for place in places(escalation.run) if place.suggested)
        told = shown(escalation)

        def by(actor: User) -> Callable[[], Any]:
            return lambda: decisions.migrate(actor=actor, place=key, **told)

        results = at_once(by(operator), by(other))
    assert sum(isinstance(one, AlreadyDecided) for one in results) == 1
    assert Event.objects.filter(run=escalation.run, kind="migrated").count() == 1


def test_a_run_that_a_worker_performs_is_not_migrated(operator: User) -> None:
    escalation = without_its_version()
    Run.objects.filter(pk=escalation.run_id).update(state="running", lease_until="2099-01-01T00:00Z")
    with installed(TWO), pytest.raises(IllegalMove, match="performs run"):
        _migrate(operator, escalation.run, 2, "")


def test_other_questions_are_not_answered_by_migrating(operator: User) -> None:
    escalation = factories.approval()
    with pytest.raises(IllegalMove, match="cannot be answered with migrate"):
        decisions.migrate(actor=operator, place="2::", **shown(escalation))


def test_a_late_worker_of_the_old_version_changes_nothing(runtime: Runtime, operator: User) -> None:
    with installed(ONE):
        run = _after_first(runtime, "deployed")
        late = only(claim(run.pk, worker="late"))
        outcome = perform(late, runtime.take_off(run.pk, run.workflow, late.fence))
        Run.objects.filter(pk=run.pk).update(lease_until="2000-01-01T00:00Z", due_at="2000-01-01T00:00Z")
    with installed(TWO):
        _migrate(operator, _missing(run, runtime), 2, "")
        settle(late, outcome)
        assert Event.objects.filter(run=run, kind="voided").exists()
        assert Step.objects.get(run=run, node="review").state == "sleeping"
        assert advanced(run, runtime).state == "done"


def test_cancelling_ends_the_run(runtime: Runtime, operator: User) -> None:
    escalation = without_its_version()
    with installed(TWO):
        decisions.reject(actor=operator, reason="nobody needs it", **shown(escalation))
        run = advanced(escalation.run, runtime)
    assert (run.state, run.ending) == ("ended", "nobody needs it")
    assert flows.CASHBOX.paid == []


def test_a_run_may_be_migrated_more_than_once(runtime: Runtime, operator: User) -> None:
    with installed(machine(1)):
        run = _after_first(runtime, "deployed_machine", amount=50)
    for version in (2, 3):
        with installed(machine(version)):
            _migrate(operator, _missing(run, runtime), version, "")
    with installed(machine(3)):
        run = advanced(run, runtime)
    assert (run.state, run.version) == ("done", 3)
    assert [
        one.data["to_version"] for one in Event.objects.filter(run=run, kind="migrated").order_by("seq")
    ] == [2, 3]


def test_events_have_no_gaps_and_calls_belong_to_their_steps(runtime: Runtime, operator: User) -> None:
    escalation = without_its_version()
    with installed(TWO):
        _migrate(operator, escalation.run, 2, "draft")
        run = advanced(escalation.run, runtime)
        answered(run, "approve")
        run = advanced(run, runtime)
    assert run.state == "done"
    seqs = list(Event.objects.filter(run=run).order_by("seq").values_list("seq", flat=True))
    assert seqs == list(range(1, run.event_seq + 1))
    assert bodies.load(run.output)["done"] is True if run.output else False
    assert Call.objects.filter(run=run, kind="tool", state="done").count() == 1
