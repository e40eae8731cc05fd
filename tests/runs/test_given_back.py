"""A run that its worker let go of, alive: nobody's step is blamed, and who comes back late is as late as any other."""

from __future__ import annotations

import pytest

from runs.engine import heart, permits
from runs.engine.claim import Nothing, claim
from runs.engine.claimed import Claimed
from runs.engine.outcomes import Output, Refused
from runs.engine.settle import settle
from runs.engine.wanted import Wanted
from runs.models import CallKind, Run, Step
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
