"""Every page for every role: empty, with real runs, and with far too much; bounded in queries; nothing inline."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from escalations import controls
from escalations.models import Escalation
from runs.models import Call, Question, Run
from tests import factories
from tests.screens.conftest import signed_in
from tests.screens.reading import Page, read

pytestmark = pytest.mark.django_db(transaction=True)
ROLES = ("operator", "admin", "auditor")
MOST_QUERIES = 12
WHILE_HELD = 5  # more, however many holds: the banner says of every worker whether it has confirmed


def pages() -> list[str]:
    """Every page and fragment that can be looked at now."""
    found = [
        "/",
        "/?filter=mine",
        "/?filter=irreversible&q=pay",
        "/inbox/queue",
        "/frame/places?at=runs",
        "/frame/held",
        "/search",
        "/search?q=pay",
        "/runs/",
        "/runs/?state=waiting&q=pay",
        "/runs/list",
        "/runs/start",
        "/runs/start/paying",
        "/workflows/",
        "/workflows/list",
        "/workflows/paying/",
        "/workflows/plain/v1",
        "/workflows/plain/v1/versions",
        "/controls/",
        "/controls/?scope_kind=workflow&scope=paying",
        "/controls/held",
        "/controls/hits?scope_kind=everything",
        "/controls/left",
        "/interventions/",
        "/interventions/?person=system&outcome=done",
        "/interventions/list",
    ]
    for run in Run.objects.all():
        found += [f"/runs/{run.pk}{rest}" for rest in ("", "/moving", "/inspector", "/events", "/people")]
        found.append(reverse("run-body", args=[run.pk, run.input_id]))
        found.append(f"/controls/?scope_kind=run&scope={run.pk}")
    found += [f"/runs/{call.run_id}?call={call.pk}" for call in Call.objects.all()]
    for escalation in Escalation.objects.all():
        found += [
            f"/escalations/{escalation.pk}{rest}"
            for rest in ("", "/card", "?all=1", "?mode=edit", "?mode=reject")
        ]
    return found


def world() -> None:
    """One run of each kind of question, one that is done, and one that nobody has looked at."""
    factories.approval()
    factories.broken_contract()
    factories.unforeseen_error()
    factories.unknown_effect()
    factories.advanced(factories.started("plain"))
    factories.started("plain")


def well_made(page: Page, where: str) -> None:
    """Ids once each, labels that point somewhere, nothing inline that the content security policy forbids."""
    ids = page.ids()
    assert len(ids) == len(set(ids)), (where, sorted({one for one in ids if ids.count(one) > 1}))
    for tag, attributes in page.tags:
        assert "style" not in attributes, (where, tag, attributes)
        assert not [name for name in attributes if name.startswith("on")], (where, tag, attributes)
        assert tag != "style", where
        assert tag != "script" or attributes.get("src"), (where, attributes)
        assert attributes.get("for", ids[0] if ids else "") in [*ids, ""], (where, attributes)


@pytest.mark.parametrize("role", ROLES)
def test_an_empty_console_has_every_page(role: str, people: dict[str, User]) -> None:
    client = signed_in(people[role])
    for where in pages():
        well_made(read(client.get(where)), where)


@pytest.mark.parametrize("role", ROLES)
def test_every_page_of_a_busy_console_is_well_made_and_costs_few_queries(
    role: str, people: dict[str, User]
) -> None:
    world()
    client = signed_in(people[role])
    for where in pages():
        with CaptureQueriesContext(
            connection,
        ) as queries:
            response = client.get(where)
        well_made(read(response), where)
        said = [query["sql"][:120] for query in queries]
        assert len(said) <= MOST_QUERIES, (where, len(said), said)


def test_many_holds_cost_a_bounded_number_of_queries_more(people: dict[str, User]) -> None:
    world()
    for scope in ("paying", "plain", "writing"):
        controls.engage(actor=people["admin"], kind="stop", scope_kind="workflow", scope=scope, reason="odd")
    for run in Run.objects.all():
        controls.engage(
            actor=people["admin"], kind="pause", scope_kind="run", scope=str(run.pk), reason="odd"
        )
    client = signed_in(people["operator"])
    for where in pages():
        with CaptureQueriesContext(connection) as queries:
            read(client.get(where))
        assert len(queries) <= MOST_QUERIES + WHILE_HELD, (where, len(queries))


def test_auditors_see_everything_and_no_button_that_changes_something(
    auditor: Client, people: dict[str, User]
) -> None:
    world()
    controls.engage(actor=people["admin"], kind="pause", scope_kind="workflow", scope="plain")
    allowed = {"/sign-out", "/interventions/export"}
    for where in pages():
        if "mode=" in where:
            continue
        page = read(auditor.get(where))
        changing = {
            action for action in page.forms if page.forms[action].get("csrfmiddlewaretoken")
        } - allowed
        assert not {action for action in changing if not action.startswith("/runs/start")}, where


@pytest.mark.parametrize(
    "where", ["/", "/runs/", "/workflows/", "/controls/", "/interventions/", "/search", "/runs/start"]
)
def test_a_stranger_is_sent_to_sign_in(where: str, transactional_db: None) -> None:
    response = Client().get(where)
    assert response.status_code == 302
    assert response["Location"].startswith("/sign-in?next=")


def test_signing_in_leads_to_the_inbox_and_out_again(people: dict[str, User]) -> None:
    people["operator"].set_password("pass")
    people["operator"].save()
    client = Client()
    assert "Password" in read(client.get("/sign-in")).text
    wrong = read(client.post("/sign-in", {"username": "marta", "password": "wrong"}))
    assert "do not belong together" in wrong.text
    response = client.post("/sign-in", {"username": "marta", "password": "pass"})
    assert response["Location"] == "/"
    inbox = read(client.get("/"))
    assert "Nothing waits for you." in inbox.text
    assert "Marta Oliveira" in inbox.text
    assert client.post("/sign-out")["Location"] == "/sign-in"
    assert client.get("/").status_code == 302


def test_what_is_not_there_says_so(operator: Client, transactional_db: None) -> None:
    for where, words in [
        ("/escalations/999", "There is no escalation E-999."),
        ("/runs/999", "There is no run 999."),
        ("/interventions/999", "There is no entry 999."),
        ("/runs/start/nowhere", "There is no workflow"),
        ("/nothing/here", "There is nothing at this address."),
        (f"/runs/{10**30}", "There is no run"),
    ]:
        assert words in read(operator.get(where), status=404).text


def test_somebody_without_a_role_is_told_so(transactional_db: None) -> None:
    page = read(signed_in(factories.person("outsider")).get("/"), status=403)
    assert "has no role" in page.text


def overlong(question: Question) -> None:
    """Far too much of everything that comes from outside."""
    word = "Vereinigtepapierundkartonagenfabriken"
    question.title = (word * 9)[:300]
    question.reason = word * 100
    question.words = "reasoning " * 20_000
    question.action = {
        "tool": "cashbox.pay",
        "sentence": word * 50,
        "arguments": {f"field_{number}": word * number for number in range(400)},
    }
    question.evidence = [
        {"ok": bool(number % 2), "title": word * 5, "details": [[word, word * 40]] * 3}
        for number in range(60)
    ]
    question.save()


def test_far_too_much_is_cut_and_can_be_shown_in_full(operator: Client) -> None:
    escalation = factories.approval()
    overlong(Question.objects.get(pk=escalation.question_id))
    Run.objects.filter(pk=escalation.run_id).update(goal="g" * 300)
    page = read(operator.get(f"/escalations/{escalation.pk}"))
    assert "show all 200,000 characters" in page.text
    assert "280 more fields: show all" in page.text
    assert len(page.text) < 500_000
    everything = read(operator.get(f"/escalations/{escalation.pk}?all=1"))
    assert everything.text.count("reasoning") >= 20_000
    assert "field_399" in everything.text
    for where in ("/", "/runs/", f"/runs/{escalation.run_id}", f"/runs/{escalation.run_id}/people"):
        well_made(read(operator.get(where)), where)


def test_a_queue_beyond_the_limit_says_that_there_is_more(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("escalations.inbox.MOST", 2)
    for amount in (300, 400, 500):
        factories.approval(amount)
    page = read(operator.get("/"))
    assert sum(one.startswith("item-") for one in page.ids()) == 2
    assert "These are the first 2." in page.text


def test_the_queue_stands_by_risk_then_time_left(operator: Client) -> None:
    contract, approval, unknown = (
        factories.broken_contract(),
        factories.approval(),
        factories.unknown_effect(),
    )
    items = [one for one in read(operator.get("/")).ids() if one.startswith("item-")]
    assert items == [f"item-{one.pk}" for one in (unknown, approval, contract)]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (lambda e: f"E-{e.pk}", True),
        (lambda e: str(e.run_id), True),
        (lambda e: e.question.title[:8], True),
        (lambda e: "E-99999", False),
        (lambda e: "\x00", True),
    ],
)
def test_the_queue_is_searched_by_number_and_words(
    given: Callable[[Escalation], str], found: bool, operator: Client
) -> None:
    escalation = factories.approval()
    page = read(operator.get("/", {"q": given(escalation)}))
    assert (f"item-{escalation.pk}" in page.ids()) is found


def test_the_search_of_the_bar_finds_runs_and_escalations(operator: Client) -> None:
    escalation = factories.approval()
    links = read(operator.get("/search", {"q": str(escalation.run_id)})).links()
    assert f"/runs/{escalation.run_id}" in links
    assert f"/escalations/{escalation.pk}" in links
    assert "Nothing matches." in read(operator.get("/search", {"q": "no such words"})).text


def test_a_page_that_is_not_there_still_has_stop_and_the_places(operator: Client) -> None:
    for path in ("/runs/999999", "/no/such/page"):
        page = read(operator.get(path), status=404)
        assert {"stop-open", "places", "held"} <= set(page.ids()), path


def test_what_a_part_of_a_page_is_refused_with_is_no_page_in_a_page(operator: Client) -> None:
    refused = operator.get("/runs/999999/moving", headers={"HX-Request": "true"})
    assert refused.status_code == 404
    assert b'id="places"' not in refused.content


def test_somebody_without_a_role_is_refused_without_the_counts_of_others(transactional_db: None) -> None:
    client = signed_in(factories.person("nobody_yet"))
    for path, status in (("/runs/", 403), ("/no/such/page", 404)):
        refused = client.get(path)
        assert refused.status_code == status
        assert b'id="places"' not in refused.content
        assert b"stop-open" not in refused.content


def test_a_search_that_found_as_many_as_it_shows_says_that_there_may_be_more(operator: Client) -> None:
    for _ in range(26):
        factories.started("paying", amount=77)
    assert "25 or more runs for" in read(operator.get("/search?q=Pay")).text
