"""What must never be in the hot tables is refused by the database, whoever writes it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, models, transaction
from django.utils import timezone
from psycopg import errors

from runs.models import Attempt, Body, Call, Run, Step
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)
_COUNTS = (models.PositiveIntegerField, models.PositiveBigIntegerField)
_NOT_LOOKED_AT = {"event_seq"}  # of a run, when nothing else of it is written: each step's statement


def _broken_by(rows: models.QuerySet[Any], **values: object) -> str:
    """Which rule an update of those rows breaks."""
    assert rows.exists()
    with pytest.raises(IntegrityError) as refused, transaction.atomic():
        rows.update(**values)
    cause = refused.value.__cause__
    assert isinstance(cause, errors.CheckViolation)
    return cause.diag.constraint_name or ""


def test_a_run_keeps_its_rules() -> None:
    done = Run.objects.filter(pk=factories.advanced(factories.started("plain")).pk)
    fresh = Run.objects.filter(pk=factories.started("plain").pk)
    assert _broken_by(done, due_at=timezone.now()) == "run_final_has_no_due"
    assert _broken_by(fresh, state="running") == "run_running_has_lease"
    assert _broken_by(fresh, state="elsewhere") == "run_state_known"
    assert _broken_by(fresh, hold="maybe") == "run_hold_known"
    fresh.update(due_at=None)
    fresh.update(state="ended")


def test_a_step_keeps_its_rules() -> None:
    run = factories.advanced(factories.started("plain"))
    assert _broken_by(run.steps.all(), output=None) == "step_done_has_output"
    assert _broken_by(run.steps.all(), state="elsewhere") == "step_state_known"


def test_attempts_and_calls_have_known_states() -> None:
    run = factories.approval().run
    assert _broken_by(Attempt.objects.filter(step__run=run), state="elsewhere") == "attempt_state_known"
    assert _broken_by(Call.objects.filter(run=run), state="elsewhere") == "call_state_known"


def test_nobody_takes_a_body_away_that_steps_may_refer_to() -> None:
    step = factories.advanced(factories.started("plain")).steps.get(seq=1)
    for digest in (step.input_id, step.output_id):
        one = Body.objects.filter(pk=digest)
        changes: tuple[Callable[[], Any], ...] = (
            partial(one._raw_delete, using=one.db),
            partial(one.update, digest="0" * 64),
        )
        for change in changes:
            with pytest.raises(IntegrityError) as refused, transaction.atomic():
                change()
            assert isinstance(refused.value.__cause__, errors.RestrictViolation)
        assert one.exists()


@pytest.mark.parametrize("model", [Run, Step, Attempt, Call])
def test_no_count_is_ever_negative(model: type[models.Model]) -> None:
    factories.approval()
    counts = {one.name for one in model._meta.concrete_fields if isinstance(one, _COUNTS)}
    assert counts
    rule = f"{model._meta.model_name}_not_negative"
    assert {
        name: _broken_by(model._default_manager.all(), **{name: -1}) for name in counts - _NOT_LOOKED_AT
    } == (dict.fromkeys(counts - _NOT_LOOKED_AT, rule))
