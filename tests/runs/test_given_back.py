"""A run that its worker let go of, alive: nobody's step is blamed, and who comes back late is as late as any other."""

from __future__ import annotations

import pytest
from django.db.models import F
from django.db.models.functions import Now

from runs import tasks
from runs.engine.claim import Nothing, claim
from runs.engine.claimed import Claimed
from runs.engine.outcomes import Output, Refused
from runs.engine.settle import settle
from runs.engine.spend import permits
from runs.engine.spend.wanted import Wanted
from runs.engine.worker import adrift, heart
from runs.engine.worker.runtime import Runtime
from runs.models import CallKind, Run, Step, Worker
from tests import patience
from tests.factories import started

pytestmark = pytest.mark.django_db(transaction=True)


def claimed(run_id: int, worker: str) -> Claimed:
    claims = claim(run_id, worker=worker)
    assert not isinstance(claims, Nothing), claims
    return claims[0]


def output(one: Claimed) -> Output:
    return Output(value=one.node.takes.model_validate_json(one.step.input.content))


def test_a_run_that_is_given_back_goes_on_at_once_with_no_step_blamed() -> None:
    run = started()
    first = claimed(run.pk, "shaken")
    assert heart.give_back("shaken", run.pk, first.fence)
    again = claimed(run.pk, "other")
    assert (again.step.pk, again.attempt.pk) == (first.step.pk, first.attempt.pk)
    assert again.fence > first.fence
    assert Step.objects.get(pk=first.step.pk).losses == 0
    kinds = list(Run.objects.get(pk=run.pk).events.values_list("kind", flat=True))
    assert "given back" in kinds
    assert "worker lost" not in kinds


def test_a_thread_that_was_given_up_and_comes_back_before_the_next_claim_changes_nothing() -> None:
    """Else it would have the lease again, and whoever then takes up the step would work beside it."""
    run = started()
    first = claimed(run.pk, "shaken")
    assert heart.give_back("shaken", run.pk, first.fence)
    late = settle(first, output(first))
    assert isinstance(late, Nothing)
    assert Step.objects.get(pk=first.step.pk).state == "running"
    assert Run.objects.get(pk=run.pk).events.filter(kind="voided").count() == 1
    wanted = Wanted(kind=CallKind.MODEL, name="late", key="late", request={})
    with pytest.raises(Refused):
        permits.permit(first, wanted)


def test_only_what_is_held_here_is_given_back() -> None:
    run = started()
    first = claimed(run.pk, "holder")
    assert not heart.give_back("stranger", run.pk, first.fence)
    assert not heart.give_back("holder", run.pk, first.fence - 1)
    assert heart.give_back("holder", run.pk, first.fence)
    assert not heart.give_back("holder", run.pk, first.fence)


def test_a_run_with_an_effect_that_may_be_on_its_way_is_kept_until_its_lease_ends() -> None:
    run = started()
    first = claimed(run.pk, "holder")
    wanted = Wanted(kind=CallKind.TOOL, name="send", key="send", request={}, effect="irreversible")
    permits.permit(first, wanted)
    assert not heart.give_back("holder", run.pk, first.fence)


@pytest.fixture
def holder(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """A worker whose heart gives back at its second look."""
    monkeypatch.setattr(adrift, "ADRIFT_SECONDS", 1e-9)
    return Runtime("holder", "agents")


def test_a_run_that_is_found_between_two_of_its_steps_at_every_look_is_not_given_back(
    holder: Runtime,
) -> None:
    """Its steps take a millisecond each, and most of that is their settlement."""
    run = started()
    first = claimed(run.pk, "holder")
    for _ in range(4):
        holder._adrift.give_back_runs()
        with holder.fly(run.pk, "", first.fence):
            pass
    assert Run.objects.get(pk=run.pk).fence == first.fence


def test_a_run_of_which_nothing_was_performed_between_two_looks_is_given_back(holder: Runtime) -> None:
    run = started()
    first = claimed(run.pk, "holder")
    with holder.fly(run.pk, "", first.fence):
        holder._adrift.give_back_runs()
    holder._adrift.give_back_runs()
    assert Run.objects.get(pk=run.pk).fence == first.fence
    holder._adrift.give_back_runs()
    assert Run.objects.get(pk=run.pk).fence == first.fence + 1


@pytest.fixture
def restarted() -> Runtime:
    """What a container that starts again has: the same host, the same pid, the same place, and nothing in memory."""
    before = tasks.runtime_of("agents@console-1")
    before.start()
    run = started()
    claimed(run.pk, before.name)
    before._stopping.set()  # it dies and says nothing
    before.nudge()
    for thread in before._threads:
        patience.joined(thread)
    Worker.objects.update(born=F("born") - 1)  # another process had the number
    after = tasks.runtime_of("agents@console-1")
    after._register()
    return after


def test_a_container_that_starts_again_is_somebody_else_and_what_died_counts_as_a_loss(
    restarted: Runtime,
) -> None:
    """Else a step that kills its worker would be begun again for ever, and no person asked."""
    run = Run.objects.get()
    restarted.beat()
    restarted._adrift._adrift = {key: (fence, 0.0) for key, (fence, _) in restarted._adrift._adrift.items()}
    restarted.beat()
    assert Step.objects.get().fence == run.fence
    Run.objects.update(lease_until=Now(), due_at=Now())
    claimed(run.pk, restarted.name)
    assert Step.objects.get().losses == 1
    assert list(run.events.filter(kind__in=("given back", "worker lost")).values_list("kind", flat=True)) == [
        "worker lost"
    ]


def test_whoever_had_the_pid_of_a_process_that_starts_is_gone_and_its_run_is_free(restarted: Runtime) -> None:
    """Its place may be the same again, and numbers come round: then its pid seems to live."""
    before = Worker.objects.exclude(name=restarted.name).get()
    assert before.gone_at is not None
    claimed(Run.objects.get().pk, restarted.name)
    assert Step.objects.get().losses == 1
