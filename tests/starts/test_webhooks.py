"""Signed deliveries: who may start what, what a redelivery is, and one sentence for everything that goes wrong."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from pytest_django import Settings
from standardwebhooks import Webhook as Signature

from escalations.models import JournalEntry
from runs import bodies
from runs.engine import holds
from runs.engine.triggers import turned_away
from runs.shown.triggers import triggers_of
from runs.starts_by import Webhook
from tests.factories import at_once
from tests.starts.conftest import (
    NAME,
    OTHER_SECRET,
    SECRET,
    Register,
    database_away,
    first_event,
    runs,
    trigger,
)

pytestmark = pytest.mark.django_db(transaction=True)
HOOK = Webhook(name="orders")
ADDRESS = f"/hooks/{NAME}/orders"
NOT_SIGNED = (
    "This delivery is not signed with a secret of this hook, "
    "or its webhook-timestamp is more than 5 minutes from now."
)


@pytest.fixture(autouse=True)
def _secret(settings: Settings) -> None:
    settings.WEBHOOK_SECRETS = {f"{NAME}/orders": (SECRET,)}


def signed(
    body: str, *, id: str = "msg_1", secret: str = SECRET, age: timedelta = timedelta(0)
) -> dict[str, str]:
    moment = datetime.now(UTC) - age
    return {
        "webhook-id": id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Signature(secret).sign(msg_id=id, timestamp=moment, data=body),
    }


def send(
    body: str | bytes, headers: dict[str, str], address: str = ADDRESS
) -> tuple[int, dict[str, Any], Any]:
    """A POST as a stranger's: no session, and the CSRF check of a real server."""
    client = Client(enforce_csrf_checks=True)
    response = client.post(address, body, content_type="application/json", headers=headers)
    return response.status_code, response.json(), response


def deliver(payload: Any = None, **signing: Any) -> tuple[int, dict[str, Any], Any]:
    body = json.dumps({"text": "delivered"} if payload is None else payload)
    return send(body, signed(body, **signing))


def test_a_signed_delivery_starts_a_run_that_says_what_started_it(registered: Register) -> None:
    registered(HOOK)
    status, answer, _ = deliver()
    (run,) = runs()
    assert (status, answer) == (202, {"says": f"Run {run.pk} was started.", "run": run.pk, "created": True})
    assert (run.started_by, run.start_key) == ("webhook orders", "webhook:orders:msg_1")
    assert bodies.load(run.input)["text"] == "delivered"
    assert (first_event(run)["trigger"], first_event(run)["key"]) == ("webhook orders", run.start_key)
    assert trigger().last_run == run
    assert JournalEntry.objects.count() == 0  # a machine's start is no intervention


def test_a_redelivery_is_the_same_run(registered: Register) -> None:
    registered(HOOK)
    deliver()
    status, answer, _ = deliver(age=timedelta(minutes=-1))  # signed anew, as senders do
    assert (status, answer["run"], answer["created"]) == (200, runs()[0].pk, False)
    assert len(runs()) == 1


def test_twenty_deliveries_at_once_start_one_run(registered: Register) -> None:
    registered(HOOK)
    statuses = sorted(status for status, _, _ in at_once(*[deliver] * 20))
    assert statuses == [200] * 19 + [202]
    assert len(runs()) == 1


def test_an_id_that_comes_again_with_another_payload_is_told(registered: Register) -> None:
    registered(HOOK)
    deliver()
    status, answer, _ = deliver({"text": "another"})
    assert status == 409
    assert f"has started run {runs()[0].pk} with another payload" in answer["says"]
    assert len(runs()) == 1


def test_a_redelivery_is_still_known_when_a_new_version_takes_other_inputs(registered: Register) -> None:
    registered(HOOK)
    deliver()

    def fails(payload: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("gone")

    registered(Webhook(name="orders", input=fails), version=2)
    assert deliver()[0] == 200


def test_the_input_may_be_a_function_of_the_payload(registered: Register) -> None:
    registered(Webhook(name="orders", input=lambda payload: {"text": payload["order"]["id"]}))
    assert deliver({"order": {"id": "4711"}})[0] == 202
    assert bodies.load(runs()[0].input)["text"] == "4711"
    status, answer, _ = deliver({"order": {}}, id="msg_2")
    assert (status, answer["says"]) == (422, "No input can be made of this payload: KeyError: 'id'")


BODY = json.dumps({"text": "delivered"})
UNSIGNED: dict[str, dict[str, str]] = {
    "no headers at all": {},
    "another secret": signed(BODY, secret=OTHER_SECRET),
    "another body": signed(BODY + " "),
    "another id": signed(BODY) | {"webhook-id": "msg_2"},
    "no id": signed(BODY) | {"webhook-id": ""},
    "another timestamp": signed(BODY) | {"webhook-timestamp": str(int(datetime.now(UTC).timestamp()) + 60)},
    "no number as timestamp": signed(BODY) | {"webhook-timestamp": "now"},
    "an endless timestamp": signed(BODY) | {"webhook-timestamp": "inf"},
    "no timestamp that can be": signed(BODY) | {"webhook-timestamp": "nan"},
    "a signature without a version": signed(BODY) | {"webhook-signature": "abc"},
    "a signature of another version": signed(BODY)
    | {"webhook-signature": signed(BODY)["webhook-signature"].replace("v1,", "v2,")},
    "a signature that is no base64": signed(BODY) | {"webhook-signature": "v1,ä€"[:4]},
    "many signatures, none of them good": signed(BODY) | {"webhook-signature": "v1,AAAA v1,BBBB v1a,x"},
}


@pytest.mark.parametrize("case", UNSIGNED)
def test_what_is_not_signed_is_refused_in_always_the_same_words(case: str, registered: Register) -> None:
    registered(HOOK)
    status, answer, _ = send(BODY, UNSIGNED[case])
    assert (status, answer) == (401, {"says": NOT_SIGNED})
    assert runs() == []


@pytest.mark.parametrize("minutes", [-6, 6, 60 * 24 * 365])
def test_an_old_delivery_and_one_from_the_future_are_refused(minutes: int, registered: Register) -> None:
    registered(HOOK)
    assert deliver(age=timedelta(minutes=minutes))[:2] == (401, {"says": NOT_SIGNED})
    assert deliver(age=timedelta(minutes=minutes / abs(minutes) * 4))[0] == 202


def test_a_tampered_body_is_refused(registered: Register) -> None:
    registered(HOOK)
    headers = signed(BODY)
    for place in range(len(BODY)):
        changed = BODY[:place] + chr(ord(BODY[place]) ^ 1) + BODY[place + 1 :]
        assert send(changed, headers)[0] == 401
    assert send(BODY, headers)[0] == 202


def test_while_a_secret_is_changed_both_are_good_and_then_only_the_new_one(
    registered: Register, settings: Settings
) -> None:
    registered(HOOK)
    settings.WEBHOOK_SECRETS = {f"{NAME}/orders": (SECRET, OTHER_SECRET)}
    assert deliver(id="a")[0] == 202
    assert deliver(id="b", secret=OTHER_SECRET)[0] == 202
    settings.WEBHOOK_SECRETS = {f"{NAME}/orders": (OTHER_SECRET,)}
    assert deliver(id="c")[0] == 401
    assert deliver(id="d", secret=OTHER_SECRET)[0] == 202


def test_a_secret_of_another_hook_is_not_good_here(registered: Register, settings: Settings) -> None:
    settings.WEBHOOK_SECRETS = {f"{NAME}/orders": (SECRET,), f"{NAME}/returns": (OTHER_SECRET,)}
    registered(HOOK, Webhook(name="returns"))
    assert deliver(secret=OTHER_SECRET)[0] == 401


def test_one_good_signature_among_several_is_enough(registered: Register) -> None:
    registered(HOOK)
    headers = signed(BODY)
    headers["webhook-signature"] = "v1,AAAA " + headers["webhook-signature"]
    assert send(BODY, headers)[0] == 202


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("{", "The body is not JSON that can be kept: "),
        ("", "The body is not JSON that can be kept: "),
        ("[1]", "The body is not a JSON object."),
        ('"text"', "The body is not a JSON object."),
        ('{"a": NaN}', "The body is not JSON that can be kept: "),
        ('{"a":' * 100 + "1" + "}" * 100, "The body is not JSON that can be kept: nested deeper than 64"),
        ("[" * 100_000, "The body is not JSON that can be kept: "),
    ],
)
def test_a_signed_body_that_is_no_json_object_is_refused(body: str, says: str, registered: Register) -> None:
    registered(HOOK)
    status, answer, _ = send(body, signed(body))
    assert status == 400
    assert answer["says"].startswith(says)


def test_an_id_too_long_to_be_a_key_is_refused_and_a_long_one_is_known_again(registered: Register) -> None:
    registered(HOOK)
    assert deliver(id="x" * 201)[0] == 400
    assert [deliver(id="x" * 200)[0] for _ in range(2)] == [202, 200]
    assert len(runs()[0].start_key) <= 200


def test_every_wrong_value_is_told_with_its_path(registered: Register) -> None:
    registered(HOOK)
    status, answer, _ = deliver({"amount": "many", "colour": "red"})
    assert status == 422
    assert [one["path"] for one in answer["errors"]] == ["amount", "colour"]
    assert all(one["message"] for one in answer["errors"])
    assert runs() == []


@pytest.mark.parametrize("address", ["/hooks/starting/nothing", "/hooks/nothing/orders", "/hooks/%00/%0a"])
def test_an_unknown_hook_is_not_there(address: str, registered: Register) -> None:
    registered(HOOK)
    assert send(BODY, signed(BODY), address)[:2] == (404, {"says": "There is no such hook."})


def test_only_post_is_a_delivery(registered: Register) -> None:
    registered(HOOK)
    response = Client().get(ADDRESS)
    assert (response.status_code, response["Allow"]) == (405, "POST")


def test_a_hook_of_an_older_version_is_gone(registered: Register) -> None:
    registered(version=2)
    assert deliver()[0] == 404


def test_a_body_that_is_too_large_is_refused(registered: Register) -> None:
    registered(HOOK)
    body = json.dumps({"text": "x" * 1_000_000})
    status, answer, _ = send(body, signed(body))
    assert (status, answer) == (413, {"says": "The body is larger than 1000000 bytes."})


def test_without_a_secret_the_hook_says_that_it_is_not_set_up(
    registered: Register, settings: Settings
) -> None:
    settings.WEBHOOK_SECRETS = {}
    registered(HOOK)
    status, answer, response = deliver()
    assert (status, response["Retry-After"]) == (503, "30")
    assert "not set up yet" in answer["says"]
    assert not triggers_of(NAME)[0].ready


def test_a_full_intake_says_when_to_come_back(registered: Register, settings: Settings) -> None:
    registered(HOOK)
    settings.RUNS_INTAKE_LIMIT = 0
    status, answer, response = deliver()
    assert (status, int(response["Retry-After"]) > 0) == (429, True)
    assert "the limit is 0" in answer["says"]
    assert "the limit is 0" in trigger().last_error
    settings.RUNS_INTAKE_LIMIT = 10
    assert deliver()[0] == 202
    assert trigger().last_error == ""


def test_under_a_stop_nothing_starts_and_a_known_delivery_is_still_known(registered: Register) -> None:
    registered(HOOK)
    deliver(id="before")
    with transaction.atomic():
        holds.engage("stop", "workflow", NAME, by="Marta")
    status, answer, response = deliver()
    assert (status, response["Retry-After"]) == (423, "30")
    assert "is stopped by Marta" in answer["says"]
    assert deliver(id="before")[0] == 200
    assert len(runs()) == 1


def test_without_a_database_the_sender_is_asked_to_come_back(
    registered: Register, settings: Settings
) -> None:
    registered(HOOK)
    with database_away():
        status, _, response = deliver()
        assert send(BODY, {})[0] == 401  # who has not signed never gets as far as the database
    assert (status, response["Retry-After"]) == (503, "30")
    assert deliver()[0] == 202


def test_a_flood_of_refusals_is_counted_and_said_twice(
    registered: Register, caplog: pytest.LogCaptureFixture
) -> None:
    registered(HOOK)
    with caplog.at_level(logging.WARNING, "opsconsole.webhooks"):
        for number in range(50):
            send('{"card": "4111 1111"}', {"webhook-id": f"guess {number}"})
        assert trigger().refused == 1
        turned_away.flush()
    said = [record.getMessage() for record in caplog.records if record.name == "opsconsole.webhooks"]
    assert said == [
        "webhook orders of starting refused a delivery: no good signature",
        "webhook orders of starting refused 49 more: no good signature",
    ]
    assert (trigger().refused, trigger().last_refusal) == (50, "no good signature")
    assert triggers_of(NAME)[0].refused == 50
    assert "4111" not in caplog.text


def test_made_up_addresses_fill_nothing(registered: Register, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "opsconsole.webhooks"):
        for number in range(50):
            send(BODY, {}, f"/hooks/guess{number}/x")
    assert [r.getMessage() for r in caplog.records if r.name == "opsconsole.webhooks"] == [
        "an unknown webhook refused a delivery: There is no such hook."
    ]


def test_a_delivery_sets_no_cookie_and_reads_none(registered: Register) -> None:
    registered(HOOK)
    _, _, response = deliver()
    assert response.cookies == {}
    assert response["Cache-Control"].startswith("max-age=0")


def test_what_goes_wrong_in_a_workflow_is_said_without_its_words(registered: Register) -> None:
    def goal(order: Any) -> str:
        raise ZeroDivisionError("an inner matter")

    registered(HOOK, goal=goal)
    status, answer, _ = deliver()
    assert status == 500
    assert "inner matter" not in answer["says"]
    assert runs() == []
