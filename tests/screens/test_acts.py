"""People's acts through plain forms: what the page shows is what is sent, and what is refused comes back readable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from escalations import claims, decisions
from escalations.models import Decision, Escalation, JournalEntry
from runs.models import Control, Run
from tests import factories
from tests.runs import flows
from tests.screens.conftest import signed_in
from tests.screens.reading import Answer, Page, read

pytestmark = pytest.mark.django_db(transaction=True)


def card(client: Client, escalation: Escalation, query: str = "") -> Page:
    return read(client.get(f"/escalations/{escalation.pk}{query}"))


def send(
    client: Client,
    page: Page,
    act: str,
    escalation: Escalation,
    *,
    htmx: bool = False,
    fields: Mapping[str, str] | None = None,
    **values: str,
) -> Answer:
    """Send the form of that act as it stands on the page, with some fields filled in."""
    action = f"/escalations/{escalation.pk}/{act}"
    form = page.forms[action]
    given = {**(fields or {}), **values}
    assert set(given) - {"preset"} <= set(form), (set(given), set(form))
    headers = {"HX-Request": "true"} if htmx else {}
    return client.post(action, form | given, headers=headers)


def test_approving_makes_it_happen_and_shows_the_next_item(operator: Client) -> None:
    first, second = factories.approval(500), factories.approval(400)
    page = card(operator, first)
    assert "Approve: pay 500" in page.text
    response = send(operator, page, "approve", first)
    assert response["Location"] == f"/escalations/{second.pk}"
    assert f"E-{first.pk} approved." in read(operator.get(response["Location"])).text
    assert factories.advanced(first.run).state == "done"
    assert [amount for _, amount in flows.CASHBOX.paid] == [500]


def test_an_edit_shows_before_and_after_and_is_approved_as_edited(operator: Client) -> None:
    escalation = factories.approval(500)
    form = card(operator, escalation, "?mode=edit")
    response = send(operator, form, "edit", escalation, fields={"field.amount": "120"})
    page = read(operator.get(response["Location"]))
    assert "before: 500 after: 120" in page.text
    assert "Edited by you" in page.text
    assert "Approve as edited: pay 120" in page.text
    assert "meets its contract as edited" in page.text
    assert "is not made again" not in page.text
    send(operator, page, "approve", escalation)
    factories.advanced(escalation.run)
    assert [amount for _, amount in flows.CASHBOX.paid] == [120]


def test_a_wrong_edit_is_shown_beside_its_field_with_what_was_typed(operator: Client) -> None:
    escalation = factories.approval()
    form = card(operator, escalation, "?mode=edit")
    page = read(send(operator, form, "edit", escalation, fields={"field.amount": "1.204,5O"}), status=422)
    wrong = [attributes for _, attributes in page.tags if attributes.get("aria-invalid") == "true"]
    assert [(one["name"], one["value"]) for one in wrong] == [("field.amount", "1.204,5O")]
    assert "Nothing was done." in page.text
    assert not Decision.objects.exists()


def test_a_broken_contract_shows_both_sides_and_is_answered_with_an_edited_value(operator: Client) -> None:
    escalation = factories.broken_contract()
    page = card(operator, escalation)
    assert "From write by contract Draft to the end of the run" in page.text
    assert f"/escalations/{escalation.pk}/approve" not in page.forms  # nothing to approve before the edit
    form = card(operator, escalation, "?mode=edit")
    response = send(operator, form, "edit", escalation, fields={"field.amount": "7"})
    page = read(operator.get(response["Location"]))
    assert "Use the edited value, go on to the end of the run" in page.text
    assert "meets its contract as edited" in page.text
    send(operator, page, "approve", escalation)
    assert factories.advanced(escalation.run).state == "done"


def test_a_rejection_carries_the_preset_and_the_own_words(operator: Client) -> None:
    escalation = factories.approval()
    page = card(operator, escalation)
    send(operator, page, "reject", escalation, preset="Wrong amount", reason="Should be 120.")
    assert Decision.objects.get().reason == "Wrong amount. Should be 120."


def test_a_rejection_without_a_reason_is_asked_for_one(operator: Client) -> None:
    escalation = factories.approval()
    page = read(send(operator, card(operator, escalation), "reject", escalation), status=422)
    assert "Say why: the run receives the reason." in page.text
    assert f"/escalations/{escalation.pk}/reject" in page.forms
    assert Escalation.objects.get(pk=escalation.pk).state == "open"


def test_an_answer_in_words_reaches_the_run(operator: Client) -> None:
    escalation = factories.unknown_effect()
    page = card(operator, escalation)
    assert "It is recorded as done, with your words as the note" in page.text
    send(operator, page, "respond", escalation, text="The bank confirms it.")
    assert factories.advanced(escalation.run).state == "done"
    assert len(flows.CASHBOX.paid) == 1


def test_a_doubt_is_looked_at_again_by_the_tool_that_can(operator: Client) -> None:
    escalation = factories.doubted()
    page = card(operator, escalation)
    assert "Its tool looked and is not sure" in page.text
    assert "the bank answers 503" in page.text
    assert "cashbox.pay looks by its key. When it is sure, the run goes on by itself" in page.text
    send(operator, page, "look", escalation)
    assert factories.advanced(escalation.run).state == "done"
    assert len(flows.CASHBOX.paid) == 1
    assert "Marta Oliveira had its tool look again at this" in card(operator, escalation).text


def test_a_card_of_a_tool_that_cannot_look_says_so_and_offers_none(operator: Client) -> None:
    escalation = factories.unknown_effect()
    page = card(operator, escalation)
    assert "cashbox.pay cannot look for itself: its definition names no way to." in page.text
    assert f"/escalations/{escalation.pk}/look" not in page.forms


def test_taking_and_giving_back_stay_on_the_card(operator: Client) -> None:
    escalation = factories.approval()
    response = send(operator, card(operator, escalation), "take", escalation)
    assert response["Location"] == f"/escalations/{escalation.pk}"
    page = card(operator, escalation)
    assert "You hold it" in page.text
    send(operator, page, "release", escalation)
    assert "Nobody has taken it." in card(operator, escalation).text


def test_who_comes_second_is_told_who_was_first_and_keeps_the_words(
    operator: Client, people: dict[str, User]
) -> None:
    escalation = factories.approval()
    page = card(operator, escalation)
    decisions.approve(actor=people["admin"], **factories.shown(escalation))
    response = send(operator, page, "respond", escalation, text="Please check the amount.")
    again = read(response, status=409)
    assert "was approved by Ines Okafor" in again.text
    assert "You had written: Please check the amount." in again.text
    assert Decision.objects.get().verb == "approve"
    assert JournalEntry.objects.filter(act="respond", outcome="conflict").count() == 1


def test_what_has_changed_since_must_be_read_again(operator: Client, people: dict[str, User]) -> None:
    escalation = factories.approval()
    page = card(operator, escalation)
    decisions.edit(actor=people["operator"], **factories.shown(escalation), value={"amount": 300, "note": ""})
    again = read(send(operator, page, "approve", escalation), status=409)
    assert "has changed since you read it" in again.text
    assert "before: 500 after: 300" in again.text
    assert not Decision.objects.exists()


def test_who_wants_what_another_holds_is_told_who(operator: Client, people: dict[str, User]) -> None:
    escalation = factories.approval()
    page = card(operator, escalation)
    claims.take(actor=people["admin"], escalation_id=escalation.pk)
    again = read(send(operator, page, "approve", escalation), status=409)
    assert "Ines Okafor holds" in again.text
    assert f"/escalations/{escalation.pk}/approve" not in card(operator, escalation).forms


@pytest.mark.parametrize("act", ["approve", "edit", "reject", "respond", "look", "take", "release"])
def test_an_auditor_who_sends_a_form_all_the_same_is_told_who_may(
    act: str, operator: Client, auditor: Client
) -> None:
    escalation = factories.approval()
    sent = factories.shown(escalation) | {"reason": "because", "text": "because"}
    page = read(auditor.post(f"/escalations/{escalation.pk}/{act}", sent), status=403)
    assert "it needs admin or operator" in page.text
    assert JournalEntry.objects.filter(outcome="refused").count() == 1


def test_a_form_that_shows_nothing_decides_nothing(operator: Client) -> None:
    escalation = factories.approval()
    for sent in ({}, {"version": "x", "digest": ""}, {"version": "9" * 40, "digest": "f" * 999}):
        read(operator.post(f"/escalations/{escalation.pk}/approve", sent), status=409)
    assert not Decision.objects.exists()


def test_with_htmx_the_same_components_come_back_alone(operator: Client) -> None:
    first, second = factories.approval(500), factories.approval(400)
    page = card(operator, first, "?filter=free")
    form = page.forms[f"/escalations/{first.pk}/approve?filter=free"]
    response = operator.post(
        f"/escalations/{first.pk}/approve?filter=free", form, headers={"HX-Request": "true"}
    )
    parts = read(response)
    assert response["HX-Push-Url"] == f"/escalations/{second.pk}?filter=free"
    assert {"card", "queue", "messages", "stop-scopes"} <= set(parts.ids())
    assert "bar" not in parts.classes()
    assert f"This run, {second.run_id}" in parts.text  # Stop names what is on screen now
    last = send(operator, card(operator, second), "approve", second, htmx=True)
    assert "Nothing waits for you." in read(last).text


def test_nothing_is_done_by_looking(operator: Client) -> None:
    escalation = factories.approval()
    for act in ("approve", "edit", "reject", "respond", "look", "take", "release"):
        assert operator.get(f"/escalations/{escalation.pk}/{act}").status_code == 405
    for where in ("/controls/engage", "/controls/1/release", "/interventions/export", "/sign-out"):
        assert operator.get(where).status_code == 405


def test_a_form_without_its_token_is_refused(people: dict[str, User]) -> None:
    escalation = factories.approval()
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(people["operator"])
    page = read(strict.post(f"/escalations/{escalation.pk}/take", {}), status=403)
    assert "was not sent from a page of yours" in page.text


def start(client: Client, **values: str) -> Answer:
    fields = read(client.get("/runs/start/plain")).forms["/runs/start/plain"]
    return client.post("/runs/start/plain", fields | values)


def test_a_run_starts_from_a_form_made_of_its_contract(operator: Client) -> None:
    response = start(operator, **{"field.text": "hello", "field.plan": "well", "field.amount": "3"})
    run = Run.objects.get()
    assert response["Location"] == f"/runs/{run.pk}"
    assert (run.goal, run.started_by) == ("hello", "Marta Oliveira")


def test_a_form_sent_twice_starts_one_run(operator: Client) -> None:
    fields = read(operator.get("/runs/start/plain")).forms["/runs/start/plain"]
    first = operator.post("/runs/start/plain", fields)
    second = operator.post("/runs/start/plain", fields)
    assert first["Location"] == second["Location"]
    assert Run.objects.count() == 1
    assert "nothing was started twice" in read(operator.get(second["Location"])).text


def test_a_wrong_input_stands_beside_its_field(operator: Client) -> None:
    page = read(start(operator, **{"field.amount": "lots"}), status=422)
    wrong = [attributes["name"] for _, attributes in page.tags if attributes.get("aria-invalid") == "true"]
    assert wrong == ["field.amount"]
    assert not Run.objects.exists()


def test_a_full_intake_says_when_to_come_back(operator: Client, settings: Any) -> None:
    settings.RUNS_INTAKE_LIMIT = 0
    response = start(operator)
    page = read(response, status=503)
    assert int(response["Retry-After"]) > 0
    assert "Try again in" in page.text


def test_stopping_everything_needs_no_reason_and_shows_the_receipt(operator: Client) -> None:
    escalation = factories.approval()
    form = read(operator.get(f"/runs/{escalation.run_id}")).forms["/controls/engage"]
    assert form["kind"] == "stop"
    response = operator.post("/controls/engage", form | {"scope_kind": "everything", "scope": ""})
    control = Control.objects.get()
    assert response["Location"] == f"/controls/?control={control.pk}#receipt"
    page = read(operator.get(response["Location"]))
    assert "Receipt: stop everything" in page.text
    for where in ("/", "/runs/", "/interventions/", f"/runs/{escalation.run_id}"):
        assert "Stopped: everything" in read(operator.get(where)).text
    assert "clock stands" in card(operator, escalation).text


def test_a_release_needs_a_reason_and_leaves_stopped_runs_until_they_are_resumed(operator: Client) -> None:
    escalation = factories.approval()
    operator.post("/controls/engage", {"kind": "stop", "scope_kind": "workflow", "scope": "paying"})
    control = Control.objects.get()
    refused = read(operator.post(f"/controls/{control.pk}/release", {"reason": " "}), status=422)
    assert "Say why it may go on." in refused.text
    operator.post(f"/controls/{control.pk}/release", {"reason": "All fine."})
    page = read(operator.get("/controls/"))
    assert "Nothing is held." in page.text
    assert "1 run stays where it is" in page.text
    operator.post(f"/controls/{control.pk}/resume", page.forms[f"/controls/{control.pk}/resume"])
    assert Run.objects.get(pk=escalation.run_id).hold == ""


def test_one_run_is_paused_and_goes_on(operator: Client) -> None:
    escalation = factories.approval()
    run = escalation.run_id
    sent = {"kind": "pause", "scope_kind": "run", "scope": str(run), "next": "run"}
    assert operator.post("/controls/engage", sent)["Location"] == f"/runs/{run}"
    assert "paused" in read(operator.get(f"/runs/{run}")).text
    operator.post(f"/controls/{Control.objects.get().pk}/release", {"reason": "Go on."})
    assert Run.objects.get(pk=run).hold == ""


@pytest.mark.parametrize(
    "sent",
    [
        {"kind": "stop", "scope_kind": "run", "scope": "999999"},
        {"kind": "stop", "scope_kind": "workflow", "scope": "nowhere"},
        {"kind": "explode", "scope_kind": "everything"},
        {},
    ],
)
def test_a_hold_over_nothing_is_refused(sent: dict[str, str], operator: Client) -> None:
    assert "Nothing was changed" in read(operator.post("/controls/engage", sent), status=422).text
    assert not Control.objects.exists()


def test_an_auditor_cannot_stop_or_release(auditor: Client, people: dict[str, User]) -> None:
    read(auditor.post("/controls/engage", {"kind": "stop", "scope_kind": "everything"}), status=403)
    signed_in(people["admin"]).post("/controls/engage", {"kind": "stop", "scope_kind": "everything"})
    control = Control.objects.get()
    read(auditor.post(f"/controls/{control.pk}/release", {"reason": "x"}), status=403)
    assert Control.objects.get().engaged


def test_a_preview_says_what_would_be_hit_and_holds_nothing(operator: Client) -> None:
    factories.approval()
    page = read(operator.get("/controls/?scope_kind=workflow&scope=paying"))
    assert "Hold workflow paying" in page.text
    assert "Runs 1 Open model calls 0 Open effects 0 People waiting 1" in page.text
    assert "There is no run “4711”" in read(operator.get("/controls/?scope_kind=run&scope=4711")).text
    assert not Control.objects.exists()


def test_an_open_effect_is_listed_with_what_becomes_of_it(operator: Client) -> None:
    escalation = factories.unknown_effect()
    page = read(operator.get(f"/controls/?scope_kind=run&scope={escalation.run_id}"))
    assert "reply not in, a person is asked" in page.text


def test_what_is_exported_is_what_is_filtered_and_the_export_is_on_record(operator: Client) -> None:
    escalation = factories.approval()
    send(operator, card(operator, escalation), "take", escalation)
    form = read(operator.get("/interventions/?act=take")).forms["/interventions/export"]
    response = operator.post("/interventions/export", form)
    lines = b"".join(response.streaming_content).decode().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 2
    assert '"take"' in lines[1]
    assert response["Content-Type"].startswith("text/csv")
    assert JournalEntry.objects.filter(act="export").count() == 1
