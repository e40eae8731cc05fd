"""An operator in a hurry, and whoever types what no form would send: no 500, no act without its entry."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from escalations import controls, decisions
from escalations.models import Escalation, JournalEntry
from runs.models import Control, Run
from tests import factories
from tests.attacks import rogues
from tests.factories import journal

pytestmark = pytest.mark.django_db(transaction=True)

NUL = "a\x00b"
ODD = {
    "NUL": NUL,
    "very long": "9" * 5000,
    "beyond bigint": "9" * 30,
    "arabic digits": "\u0661\u0662",
    "bidi": "\u202eabc\u0000",
    "markup": "<script>alert(1)</script>",
    "percent": "%00%0a",
    "last day": "9999-12-31",
    "first day": "0001-01-01",
    "negative": "-1",
}
PAGES = [
    "/",
    "/inbox/queue",
    "/search",
    "/runs/",
    "/runs/list",
    "/controls/",
    "/controls/hits",
    "/controls/held",
    "/controls/left",
    "/interventions/",
    "/interventions/list",
    "/frame/places",
    "/runs/start/plain",
]
NAMES = [
    *("q", "filter", "at", "mode", "all", "text", "person", "act", "outcome", "workflow", "team", "run"),
    *(
        "escalation",
        "from",
        "to",
        "before",
        "upto",
        "after",
        "state",
        "held_by",
        "attempt",
        "call",
        "control",
    ),
    *("scope_kind", "scope"),
]


@pytest.fixture
def client(operator: User) -> Client:
    """An operator's browser; an error of the server is a 500, not an exception."""
    made = Client(raise_request_exception=False)
    made.force_login(operator)
    return made


@pytest.mark.parametrize("odd", list(ODD))
def test_no_page_fails_because_of_its_query(client: Client, odd: str) -> None:
    queries: list[dict[str, str]] = [dict.fromkeys(NAMES, ODD[odd])]
    queries += [{"scope": ODD[odd], "scope_kind": kind} for kind in ("run", "workflow")]
    if odd == "NUL":  # one by one, so that no name hides behind another
        queries += [{name: ODD[odd]} for name in NAMES]
    failed = [(page, sent) for page in PAGES for sent in queries if client.get(page, sent).status_code >= 500]
    assert failed == []


def test_no_page_of_a_run_or_an_entry_fails_because_of_its_query(client: Client) -> None:
    run = factories.advanced(factories.started("writing", plan="broken"))
    pages = [
        f"/runs/{run.pk}",
        f"/runs/{run.pk}/inspector",
        f"/runs/{run.pk}/events",
        f"/runs/{run.pk}/people",
    ]
    for page in pages:
        for name in ("attempt", "call", "after"):
            for odd in ODD.values():
                assert client.get(page, {name: odd}).status_code < 500, (page, name, odd)


HUGE = "9" * 30


NOWHERE = [
    f"/runs/{HUGE}",
    f"/runs/{HUGE}/moving",
    f"/runs/{HUGE}/inspector",
    f"/runs/{HUGE}/events",
    f"/runs/{HUGE}/people",
    f"/runs/1/bodies/{'0' * 64}",
    "/runs/1/bodies/%00",
    f"/escalations/{HUGE}",
    f"/escalations/{HUGE}/card",
    f"/questions/{HUGE}",
    f"/interventions/{HUGE}",
    f"/controls/receipt/{HUGE}",
    "/runs/start/%00",
    f"/runs/{'9' * 5000}",
]


def test_an_address_that_names_nothing_is_not_found(client: Client) -> None:
    assert [path for path in NOWHERE if client.get(path).status_code != 404] == []


@pytest.mark.parametrize(
    "path",
    [
        "/breakers/model/a%00b",
        "/breakers/%00/x",
        "/workflows/a%00b/",
        "/runs/{run}/bodies/%00",
        f"/limits/{HUGE}",
        f"/budgets/{HUGE}",
    ],
)
def test_no_address_of_something_fails_because_of_a_sign_that_nothing_is_called(
    client: Client, path: str
) -> None:
    run = factories.advanced(factories.started("writing", plan="broken"))
    assert client.get(path.format(run=run.pk)).status_code == 404


ACTS: list[tuple[str, dict[str, str]]] = [
    (f"/escalations/{HUGE}/approve", {"version": "1", "digest": "x"}),
    (f"/escalations/{HUGE}/reject", {"version": "1", "digest": "x", "reason": "no"}),
    (f"/escalations/{HUGE}/edit", {"version": "1", "digest": "x", "field.a": "1"}),
    (f"/escalations/{HUGE}/take", {}),
    (f"/escalations/{HUGE}/release", {}),
    (f"/controls/{HUGE}/release", {"reason": "because"}),
    (f"/controls/{HUGE}/resume", {}),
    (f"/controls/runs/{HUGE}/resume", {}),
    ("/controls/engage", {"kind": NUL, "scope_kind": NUL, "scope": NUL, "reason": NUL}),
    ("/controls/engage", {"kind": "stop", "scope_kind": "run", "scope": "9" * 5000}),
    ("/controls/engage", {"kind": "stop", "scope_kind": "run", "scope": HUGE}),
    ("/controls/engage", {"kind": "stop", "scope_kind": "run", "scope": "\u0661"}),
    ("/controls/engage", {"kind": "stop", "scope_kind": "workflow", "scope": NUL}),
    ("/controls/engage", {"kind": "stop", "scope_kind": "workflow", "scope": "x" * 500}),
    ("/runs/start/plain", {"start_key": NUL, "field.text": "a", "field.plan": "well", "field.amount": "1"}),
    ("/runs/start/plain", {"start_key": "k" * 5000, "field.text": "a"}),
    ("/runs/start/plain", {"start_key": "k", "field.text": "a", "field.amount": "[" * 50_000}),
    ("/runs/start/plain", {"start_key": "k", "field.text": "a", "field.amount": "9" * 6000}),
    ("/runs/start/plain", {"start_key": "k", "field.text": "a", "field.amount": "NaN"}),
    ("/interventions/export", {"person": NUL, "act": NUL, "workflow": NUL, "outcome": NUL}),
    ("/interventions/export", {"to": "9999-12-31", "run": HUGE, "escalation": HUGE}),
    ("/sign-in", {"username": NUL, "password": NUL}),
    ("/breakers/force", {"kind": NUL, "name": NUL, "to": NUL, "reason": NUL}),
    ("/breakers/force", {"kind": "model", "name": NUL, "to": "closed", "reason": ""}),
    (f"/limits/{HUGE}/end", {"seen": NUL, "reason": NUL}),
    ("/limits/set", {"what": "turns/run", "scope_kind": "team", "scope": NUL, "value": NUL, "mode": NUL}),
    (f"/budgets/{HUGE}/top-up", {"amount": NUL, "until": NUL, "reason": NUL, "seen": NUL}),
]


def test_no_act_fails_because_of_what_was_sent_and_each_refused_one_is_recorded(client: Client) -> None:
    for path, sent in ACTS:
        before = JournalEntry.objects.count()
        answer = client.post(path, sent)
        assert answer.status_code < 500, (path, sent)
        assert not answer.streaming or b"".join(getattr(answer, "streaming_content", ()))
        if answer.status_code >= 400 and path.startswith(("/escalations", "/controls")):
            assert JournalEntry.objects.count() == before + 1, (path, sent)


def test_a_stop_with_control_characters_and_a_long_reason_stops(client: Client) -> None:
    answer = client.post(
        "/controls/engage",
        {"kind": "stop", "scope_kind": "everything", "reason": "\x00\u202e" + "r" * 100_000},
    )
    assert answer.status_code == 302
    assert Control.objects.get().kind == "stop"


def test_somebody_with_a_very_long_name_can_stop_decide_and_start(client: Client) -> None:
    person = factories.person("long", "operator")
    User.objects.filter(pk=person.pk).update(first_name="F" * 150, last_name="L" * 150)
    person = User.objects.get(pk=person.pk)
    decisions.approve(actor=person, **factories.shown(factories.approval()))
    controls.engage(actor=person, kind="stop", scope_kind="everything")
    assert journal(act="engage stop")


def test_an_edit_of_any_text_is_taken_or_refused(client: Client) -> None:
    escalation = factories.approval()
    for text in ("[" * 50_000, "[" * 300 + "]" * 300, "{" * 1000, "1e999", "9" * 6000, NUL, "-0"):
        shown = factories.shown(escalation)
        sent: dict[str, Any] = {"version": shown["version"], "digest": shown["digest"], "field.amount": text}
        assert client.post(f"/escalations/{escalation.pk}/edit", sent).status_code in (302, 422), text[:20]


def test_a_second_click_changes_nothing_and_says_who_was_first(client: Client) -> None:
    escalation = factories.approval()
    shown = factories.shown(escalation)
    sent = {"version": shown["version"], "digest": shown["digest"]}
    first = client.post(f"/escalations/{escalation.pk}/approve", sent)
    second = client.post(f"/escalations/{escalation.pk}/approve", sent)
    third = client.post(f"/escalations/{escalation.pk}/reject", {**sent, "reason": "no"})
    assert [first.status_code, second.status_code, third.status_code] == [302, 409, 409]
    assert "Marta Oliveira" in second.content.decode()
    assert len(journal(act="approve", outcome="done")) == 1


def test_a_card_of_before_an_edit_cannot_approve_what_it_did_not_show(client: Client) -> None:
    escalation = factories.approval()
    old = factories.shown(escalation)
    decisions.edit(actor=User.objects.get(username="marta"), value={"amount": "7"}, **old)
    answer = client.post(
        f"/escalations/{escalation.pk}/approve", {"version": old["version"], "digest": old["digest"]}
    )
    assert answer.status_code == 409
    assert Escalation.objects.get(pk=escalation.pk).state == "open"


def test_a_digest_of_another_card_approves_nothing(client: Client) -> None:
    mine, other = factories.approval(amount=500), factories.approval(amount=501)
    shown = factories.shown(other)
    answer = client.post(
        f"/escalations/{mine.pk}/approve", {"version": shown["version"], "digest": shown["digest"]}
    )
    assert answer.status_code == 409


def test_the_same_start_form_sent_twice_starts_one_run(client: Client) -> None:
    sent = {"start_key": "once", "field.text": "a", "field.plan": "well", "field.amount": "1"}
    first, second = client.post("/runs/start/plain", sent), client.post("/runs/start/plain", sent)
    assert first["Location"] == second["Location"]
    assert Run.objects.count() == 1


def deep_card(client: Client, things: Any) -> str:
    rogues.BEHAVES["this"] = lambda request: rogues.reply(request, {"amount": "lots", "things": things})
    escalation = factories.escalation_of(factories.advanced(factories.started("rogue", plan="this")))
    answer = client.get(f"/escalations/{escalation.pk}")
    assert answer.status_code == 200
    assert client.get(f"/escalations/{escalation.pk}?mode=edit").status_code == 200
    assert client.get(f"/runs/{escalation.run_id}").status_code == 200
    return answer.content.decode()


def test_a_card_of_the_deepest_value_that_is_taken_can_be_read(client: Client) -> None:
    value: Any = "deep"
    for _ in range(40):
        value = {"in": [value]} if _ % 2 else [value]
    deep_card(client, [value])


def test_a_card_of_the_largest_value_that_is_taken_can_be_read(client: Client) -> None:
    page = deep_card(client, "\u202e" * 200_000)
    assert len(page) < 1_000_000


def test_fields_that_do_not_fit_on_the_card_can_all_be_shown(client: Client) -> None:
    """What is approved must be readable where it is approved."""
    rogues.BEHAVES["this"] = lambda request: rogues.reply(
        request, {"amount": "lots", "things": {f"field{n:03}": n for n in range(300)}}
    )
    escalation = factories.escalation_of(factories.advanced(factories.started("rogue", plan="this")))
    first = client.get(f"/escalations/{escalation.pk}").content.decode()
    assert "field299" not in first
    assert f"/escalations/{escalation.pk}?all=1" in first
    assert "field299" in client.get(f"/escalations/{escalation.pk}?all=1").content.decode()
