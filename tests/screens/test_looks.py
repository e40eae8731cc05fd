"""Pages that hold much, little or only what this person may do: what is bounded, what is named, what is left out."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client

from escalations import controls
from escalations.audit.record import about_run, append
from runs.models import Question, Run
from tests import factories
from tests.screens.reading import read

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_page_of_a_recorded_workflow_lists_its_newest_runs_and_draws_nothing(operator: Client) -> None:
    runs = [factories.started("plain") for _ in range(22)]
    Run.objects.all().update(workflow="recorded:airline", goal="Book a flight")
    page = read(operator.get("/workflows/recorded:airline/"))
    named = [one for one in page.ids() if one.startswith("its-run-")]
    assert named == [f"its-run-{run.pk}" for run in reversed(runs)][:20]
    assert "/runs/?workflow=recorded%3Aairline&version=1" in page.links()
    assert "There is no drawing" in page.text
    assert "graph" not in page.classes()


def test_a_plain_data_error_is_not_called_a_broken_contract(operator: Client) -> None:
    broken, failed = factories.broken_contract(), factories.unforeseen_error()
    assert "attempt 1 · contract broken" in read(operator.get(f"/runs/{broken.run_id}")).text
    page = read(operator.get(f"/runs/{failed.run_id}"))
    assert "contract broken" not in page.text
    assert "attempt 1 · unforeseen error" in page.text


def test_what_people_did_about_a_run_is_a_short_list_that_leads_to_the_whole(
    operator: Client, people: dict[str, User]
) -> None:
    escalation = factories.approval()
    for _ in range(12):
        with transaction.atomic():
            append(actor=people["admin"], act="look", subject=about_run(escalation.run))
    page = read(operator.get(f"/runs/{escalation.run_id}/people"))
    assert len([one for one in page.ids() if one.startswith("entry-")]) == 5
    assert f"/interventions/?run={escalation.run_id}" in page.links()
    assert "All 13 entries about this run" in page.text


def test_a_long_reason_leaves_the_action_in_sight_and_can_be_read_in_full(operator: Client) -> None:
    escalation = factories.approval()
    Question.objects.filter(pk=escalation.question_id).update(
        reason=f"{'the rule says so, ' * 60}and that is all"
    )
    brief = read(operator.get(f"/escalations/{escalation.pk}"))
    assert "and that is all" not in brief.text
    assert f"/escalations/{escalation.pk}?all=1" in brief.links()
    assert "and that is all." in read(operator.get(f"/escalations/{escalation.pk}?all=1")).text


def test_who_may_not_hold_anything_is_not_told_to_try(auditor: Client, operator: Client) -> None:
    assert "To try a stop" in read(operator.get("/controls/")).text
    page = read(auditor.get("/controls/"))
    assert "To try a stop" not in page.text
    assert "If somebody held everything" in page.text


def test_many_holds_stand_in_a_region_that_scrolls(operator: Client, people: dict[str, User]) -> None:
    for _ in range(3):
        run = factories.started("plain")
        controls.engage(actor=people["admin"], kind="pause", scope_kind="run", scope=str(run.pk))
    page = read(operator.get("/controls/"))
    regions = [given for _, given in page.tags if "many" in given.get("class", "").split()]
    assert [(one["role"], one["tabindex"], one["aria-label"]) for one in regions] == [
        ("region", "0", "Holds")
    ]


def test_the_newest_entry_that_is_shown_unasked_is_marked_in_the_list(operator: Client) -> None:
    factories.approval()
    page = read(operator.get("/interventions/"))
    assert len([given for _, given in page.tags if given.get("aria-selected") == "true"]) == 1
